import unittest

from bot.components.missing import DELIVERED, NOT_HERE, missing_in


def said(text: str) -> str | None:
    found = missing_in(text)
    return found[0] if found else None


class Missing(unittest.TestCase):
    def test_what_is_told_to_be_delivered_and_is_not_there_is_missing(self) -> None:
        for text in (
            "My order 10021 says delivered but I have nothing",
            "it says delivered but it never arrived",
            "Order 10021, mina@example.com: tracking says delivered but I never received it",
            "The order is marked as delivered, but there is no parcel",
            "delivered but nothing here",
            "Where is order 10021? it says delivered but I don't have it",
            "Status: delivered. I haven't got anything!",
            "apparently it was delivered yesterday, but i didnt get it",
            "주문 10021 배송완료라고 뜨는데 못 받았어요",
            "배송 완료라고 나오는데 물건이 안 왔어요",
            "배송완료로 되어있는데 아직 못받았습니다",
            "배달됐다고 하는데 문 앞에 아무것도 없어요",
            "注文10021 配達済みとなっていますが届いていません",
            "配達完了になってるのに届いてないです",
            "配達済みなのに荷物がありません",
            "配送完了と表示されていますが、まだ受け取っていません",
        ):
            with self.subTest(text):
                self.assertEqual(said(text), DELIVERED)

    def test_what_has_not_arrived_may_still_be_on_its_way(self) -> None:
        for text in (
            "I have not received my parcel",
            "my order never arrived",
            "my order hasn't been delivered yet, I haven't received anything",
            "it says it will be delivered today but nothing came",
            "when will it be delivered? I have not received it",
            "아직 못 받았어요",
            "공항에 도착했다고 나온 다음부터 소식이 없네요",
            "배송 완료까지 얼마나 걸리나요? 아직 안 왔어요",
            "まだ届いていません",
            "配達予定日を過ぎても届きません",
        ):
            with self.subTest(text):
                self.assertEqual(said(text), NOT_HERE)

    def test_a_plain_question_says_neither(self) -> None:
        for text in (
            "where is my order 10023?",
            "has it been delivered?",
            "when will my order be delivered",
            "주문한 거 언제 와요?",
            "注文した商品はいつ届きますか？",
        ):
            with self.subTest(text):
                self.assertIsNone(said(text))


if __name__ == "__main__":
    unittest.main()
