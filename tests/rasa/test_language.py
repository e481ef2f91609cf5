import unittest

from bot.components.language import language_of


class Scripts(unittest.TestCase):
    def test_the_script_tells_the_language(self) -> None:
        for text, language in {
            "where is my order": "en",
            "주문 10023 어디 있나요 DHL?": "ko",
            "iPhone 15 Pro Max 케이스 있나요": "ko",
            "ㅠㅠ": "ko",
            "注文した椅子はいつ届きますか": "ja",
            "Linden & Loom のブランケット": "ja",
            "ﾃﾞﾘﾊﾞﾘｰはいつですか": "ja",
            "где мой заказ": "other",
            "أين طلبي": "other",
            "मेरा ऑर्डर कहाँ है": "other",
        }.items():
            with self.subTest(text):
                assert language_of(text) == language

    def test_han_characters_alone_are_japanese_unless_they_are_plainly_chinese(self) -> None:
        for text in (
            "返品希望",
            "送料無料",
            "注文番号10023 配送状況",
            "請求書",
            "目的地変更",
            "東京都渋谷区",
        ):
            with self.subTest(text):
                assert language_of(text) == "ja"
        for text in ("我的订单在哪里", "请问什么时候发货", "請問我的訂單在哪裡", "运费多少", "退貨", "你好"):
            with self.subTest(text):
                assert language_of(text) == "other"


class LatinScript(unittest.TestCase):
    def test_a_sentence_in_another_language_is_not_taken_for_english(self) -> None:
        for text in (
            "¿Dónde está mi pedido 10023?",
            "donde esta mi paquete lo pedi hace una semana",
            "je voudrais retourner un coussin",
            "hallo wann kommt mein paket endlich an",
            "quanto custa o frete para Lisboa",
            "il mio pacco non è ancora arrivato",
            "kan ik het bankstel ook ophalen",
            "apakah bisa kirim ke Jakarta",
            "tôi muốn trả lại chiếc ghế này",
            "bu ürünü iade etmek istiyorum",
            "chciałbym zwrócić ten koc",
        ):
            with self.subTest(text):
                assert language_of(text) == "other"

    def test_english_stays_english_however_it_is_typed(self) -> None:
        for text in (
            "pls cnfrm my ordr asap",
            "kindly do the needful and revert back on my refund",
            "Any discount for Diwali?",
            "Mina Park, Lindenstrasse 12, Leipzig",
            "DHL UPS FedEx which?",
            "klarna?",
            "refund status update",
            "invoice VAT number GmbH",
        ):
            with self.subTest(text):
                assert language_of(text) == "en"


class Conversations(unittest.TestCase):
    def test_what_tells_no_language_stays_in_the_conversations(self) -> None:
        for text in ("", "10023", "👍", "ok 👍", "PayPal?", "mina@example.com", "#10023 mina@example.com"):
            with self.subTest(text):
                assert language_of(text, "ko") == "ko"
                assert language_of(text, "other") == "en"
                assert language_of(text) == "en"

    def test_a_sentence_changes_the_conversations_language(self) -> None:
        assert language_of("where is my order?", "ko") == "en"
        assert language_of("언제 와요", "en") == "ko"

    def test_details_do_not_outweigh_the_words_around_them(self) -> None:
        assert language_of("mina.park.lindenstrasse@example.com이에요") == "ko"
        assert language_of("JD014600010023です") == "ja"


if __name__ == "__main__":
    unittest.main()
