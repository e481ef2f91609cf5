import unittest

from bot.components.details import CARD, EMAIL, ORDER_NUMBER, PHONE, TRACKING, details_in, only_details


def found(text: str, kind: str) -> list[str]:
    return [detail.value for detail in details_in(text) if detail.kind == kind]


class OrderNumbers(unittest.TestCase):
    def test_an_order_number_is_read_however_it_is_typed(self) -> None:
        for text in (
            "10023",
            "#10023",
            "# 10023",
            "nr 10023",
            "no. 10023",
            "№10023",
            "order no. 10 023",
            "Order number: 10023",
            "order number:10023",
            "ORDER#10023",
            "ord-10023",
            "ORD10023",
            "order10023",
            "my order is 10023",
            "my order's number is #10023!",
            "its 10023",
            "where is order 10023?",
            "where's my order (10023)",
            "Where is my parcel, it is 10023, thanks",
            "hi, 10023 mina@example.com",
            "status 10023",
            "order id=10023",
            "order 10023 2 weeks ago and nothing yet",
            "I need order 10-023 asap",
            "cancel 10023 please",
        ):
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == ["10023"]

    def test_a_shops_own_letters_stay_part_of_the_number(self) -> None:
        for text, number in {
            "order A-10023": "A-10023",
            "where is a-10023?": "A-10023",
            "LL20411": "LL20411",
        }.items():
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == [number]

    def test_long_and_zero_padded_numbers_are_order_numbers_when_called_so(self) -> None:
        assert found("cancel purchase 00004587345", ORDER_NUMBER) == ["00004587345"]
        assert found("check order 370795561790 status", ORDER_NUMBER) == ["370795561790"]

    def test_nothing_else_is_taken_for_an_order_number(self) -> None:
        for text in (
            "call me on 0170 1234567",
            "my phone is 5551234567",
            "my order is late, ring me: 010-1234-5678",
            "+49 170 1234567",
            "(555) 123-4567",
            "I paid with 4111 1111 1111 1111",
            "card 4111111111111111",
            "is the order $10023",
            "it cost 12000 won for my order",
            "an order of 1200 euros",
            "I ordered in 2023",
            "I ordered on 12/05/2026",
            "do you ship my order to 90210",
            "do you deliver to New York 10023",
            "zip code 10023",
            "postcode 10115",
            "pincode 560001 delivery?",
            "can I order 150 chairs",
            "order 2 blankets",
            "a 160x200 mattress, can I order it",
            "140 cm",
            "your hours 9-18?",
            "tracking number 12345678901234",
            "where is my parcel 1Z999AA10123456784",
            "RM123456789GB",
            "invoice 85632",
            "do you have 1200 of them",
        ):
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == []

    def test_an_order_number_is_read_in_korean(self) -> None:
        for text in (
            "주문번호 10023이요",
            "주문번호는 #10023 입니다",
            "주문번호:10023",
            "10023번 주문 어디쯤 왔나요",
            "10023번이요",
            "10023 이에요",
            "10023인데요",
            "제 주문 10023 언제 와요?",
            "주문 10023, 15,000원 결제했어요",
            "10023주문 취소해주세요",
            "11월 22일에 주문한 10023 배송 조회요",
            "10023 배송 언제 되나요 연락처 010-1234-5678",
            "주문번호가10023이고메일은mina@example.com이에요",
            "택배 10023 아직이에요?",
        ):
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == ["10023"]

    def test_an_order_number_is_read_in_japanese(self) -> None:
        for text in (
            "注文番号10023です",
            "注文番号：１００２３",
            "注文番号は＃１００２３です。",
            "ご注文No.10023",
            "ご注文番号は10023になります",
            "10023の注文はいつ届きますか",
            "10023番の商品について",
            "10023です",
            "注文（10023）の配送状況を教えてください",
            "11月22日に注文した10023ですが、まだ届きません",
            "注文番号10023、メールはmina@example.comです。よろしくお願いします",
            "オーダー10023はどうなっていますか",
            "10023キャンセルお願いします",
        ):
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == ["10023"]

    def test_in_korean_and_japanese_nothing_else_is_taken_for_one(self) -> None:
        for text in (
            "15,000원 주문했는데 배송비 있나요",
            "주문 금액 150,000원이요",
            "주문 15000원",
            "3만원 이상 주문하면 무료인가요",
            "11월 22일에 주문했어요",
            "2026년 11월 22일 주문",
            "11/22 주문이요",
            "의자 150개 주문하려고요",
            "주문 2개 했어요",
            "주문하고 1000시간은 기다린 듯",
            "제 전화번호는 010-1234-5678 입니다 주문 확인해주세요",
            "주문 01012345678",
            "우편번호 06236",
            "06236",
            "12345로 배송되나요",
            "송장번호 123456789012 조회",
            "카드번호 1234567812345678",
            "인증번호 482910 안 와요 주문 못해요",
            "매트리스 160x200 주문",
            "オーダーは3980円でした",
            "3,980円の商品を注文しました",
            "注文合計12800",
            "11月22日に注文しました",
            "2026年に注文",
            "椅子を150脚注文したい",
            "注文100点",
            "電話番号は090-1234-5678です。注文の件です",
            "注文 ０９０－１２３４－５６７８",
            "〒150-0001に届きますか、注文前です",
            "150-0001まで配送できますか",
            "追跡番号123456789012が反映されません",
            "型番10023の在庫",
            "14時30分に配送",
        ):
            with self.subTest(text):
                assert found(text, ORDER_NUMBER) == []


class OtherDetails(unittest.TestCase):
    def test_an_email_is_read_in_lower_case_without_its_punctuation(self) -> None:
        for text in (
            "mina@example.com",
            "It's Mina@Example.com.",
            "(mina@example.com)",
            "mail:mina@example.com",
            "mina@example.com이에요",
            "메일은mina@example.com입니다",
            "mina@example.comです",
            "ｍｉｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        ):
            with self.subTest(text):
                assert found(text, EMAIL) == ["mina@example.com"]

    def test_phone_card_and_tracking_numbers_are_told_apart(self) -> None:
        assert found("call me on +49 170 1234567", PHONE) == ["+491701234567"]
        assert found("card 4111 1111 1111 1111", CARD) == ["4111111111111111"]
        assert found("where is 1Z999AA10123456784", TRACKING) == ["1Z999AA10123456784"]
        assert found("연락처 010-1234-5678이요", PHONE) == ["01012345678"]
        assert found("電話は０９０ー１２３４ー５６７８です", PHONE) == ["09012345678"]
        assert found("송장번호 123456789012", TRACKING) == ["123456789012"]

    def test_a_detail_stands_where_it_was_written(self) -> None:
        text = "注文番号：１００２３、ｍｉｎａ＠example.comです"
        assert [text[d.start : d.end] for d in details_in(text)] == ["１００２３", "ｍｉｎａ＠example.com"]


class BareDetails(unittest.TestCase):
    def bare(self, text: str) -> bool:
        entities = [{"entity": d.kind, "start": d.start, "end": d.end} for d in details_in(text)]
        return only_details(text, entities)

    def test_a_number_or_email_with_next_to_nothing_around_it_is_only_details(self) -> None:
        for text in (
            "10023 mina@example.com",
            "#10023",
            "my order number is 10023, email mina@example.com",
            "주문번호 10023이고 이메일은 mina@example.com입니다",
            "네 10023이요!",
            "注文番号は１００２３、メールはmina@example.comです。よろしくお願いします。",
            "10023です",
        ):
            with self.subTest(text):
                assert self.bare(text)

    def test_a_question_with_details_is_more_than_details(self) -> None:
        for text in (
            "where is 10023?",
            "cancel order 10023",
            "hello",
            "mina@example.com can you call me",
            "10023 취소",
            "10023はいつ届きますか",
        ):
            with self.subTest(text):
                assert not self.bare(text)


if __name__ == "__main__":
    unittest.main()
