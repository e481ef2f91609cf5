import unittest

from bot.components.language import language_of


class Language(unittest.TestCase):
    def test_the_script_of_most_letters_tells_the_language(self) -> None:
        for text, language in {
            "where is my order": "en",
            "주문 10023 어디 있나요 DHL?": "ko",
            "注文した椅子はいつ届きますか": "ja",
            "ﾃﾞﾘﾊﾞﾘｰはいつですか": "ja",
            "我的订单在哪里": "other",
            "где мой заказ": "other",
            "أين طلبي": "other",
        }.items():
            with self.subTest(text):
                assert language_of(text) == language

    def test_a_message_without_letters_counts_as_english(self) -> None:
        for text in ("", "10023", "👍", "???"):
            with self.subTest(text):
                assert language_of(text) == "en"


if __name__ == "__main__":
    unittest.main()
