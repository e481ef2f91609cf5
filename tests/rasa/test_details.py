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


class OtherDetails(unittest.TestCase):
    def test_an_email_is_read_in_lower_case_without_its_punctuation(self) -> None:
        for text in (
            "mina@example.com",
            "It's Mina@Example.com.",
            "(mina@example.com)",
            "mail:mina@example.com",
        ):
            with self.subTest(text):
                assert found(text, EMAIL) == ["mina@example.com"]

    def test_phone_card_and_tracking_numbers_are_told_apart(self) -> None:
        assert found("call me on +49 170 1234567", PHONE) == ["+491701234567"]
        assert found("card 4111 1111 1111 1111", CARD) == ["4111111111111111"]
        assert found("where is 1Z999AA10123456784", TRACKING) == ["1Z999AA10123456784"]


class BareDetails(unittest.TestCase):
    def bare(self, text: str) -> bool:
        entities = [{"entity": d.kind, "start": d.start, "end": d.end} for d in details_in(text)]
        return only_details(text, entities)

    def test_a_number_or_email_with_next_to_nothing_around_it_is_only_details(self) -> None:
        for text in ("10023 mina@example.com", "#10023", "my order number is 10023, email mina@example.com"):
            with self.subTest(text):
                assert self.bare(text)

    def test_a_question_with_details_is_more_than_details(self) -> None:
        for text in ("where is 10023?", "cancel order 10023", "hello", "mina@example.com can you call me"):
            with self.subTest(text):
                assert not self.bare(text)


if __name__ == "__main__":
    unittest.main()
