import unittest

from bot.components.wishes import request_in


class AskingForAPerson(unittest.TestCase):
    def test_a_request_is_found_whatever_else_is_asked(self) -> None:
        for text in (
            "where is order 10023? my email is mina@example.com and I want to talk to someone",
            "Where is my order? I'd rather speak to a real person",
            "do you ship to Japan? can i speak to an agent",
            "What's your return policy?\nActually, please connect me with a real person.",
            "how do returns work? please have someone call me",
            "can you put me through to your customer service",
            "배송 언제 와요? 상담원 연결해 주세요",
            "환불 관련해서 사람이랑 통화하고 싶어요",
            "返品したいです。担当者と話せますか",
            "送料はいくらですか。あと電話ください",
            "担当の方に対応してほしいです",
            "係の人おねがい",
            "電話してもらえますか",
            "could a real human look at my parcel",
            "직원분이 좀 확인해 주세요, 배송이 어디까지 왔는지",
            "交換のことは係の人に直接聞きたいです",
            "届け先を担当の方に確認してほしいです",
        ):
            with self.subTest(text):
                self.assertIsNotNone(request_in(text))

    def test_who_asks_whether_it_is_a_bot_wants_a_person(self) -> None:
        for text in (
            "are you a bot?",
            "Are you human?",
            "are you an actual person or a robot",
            "am I talking to a robot",
            "Am I chatting with an AI?",
            "is this a bot",
            "is this an automated reply?",
            "혹시 봇이에요?",
            "AI 챗봇인가요?",
            "지금 로봇이랑 얘기하는 건가요?",
            "사람이에요?",
            "ボットですか？",
            "これってロボットですか",
            "人間ですか？",
            "AIが答えているんですか？",
            "AIと話しているのでしょうか",
        ):
            with self.subTest(text):
                self.assertIsNotNone(request_in(text))

    def test_other_people_and_calls_are_no_request(self) -> None:
        for text in (
            "someone told me you ship to Japan",
            "I don't need to talk to anyone, just tell me the shipping cost",
            "you can call me Sam, where is my order",
            "is the real leather chair in stock",
            "is this a machine washable blanket",
            "are you a family business",
            "is this an automated blind?",
            "로봇청소기 밑으로 들어가나요",
            "담요 두 장 시킨 사람이에요 언제 와요?",
            "저 일본 사람이에요. 배송 되나요?",
            "are you people for real",
            "何人用ですか",
            "ロボット掃除機は通れますか",
            "the agent at the counter gave me a receipt",
            "전화번호가 바뀌었어요",
            "電話番号を変更したい",
            "スタッフさんの着ているシャツはどれですか",
            "スタッフの対応がとても良かったです",
            "店員が話を聞いてくれません",
            "スタッフに確認したら在庫があると言われました",
            "직원이 직접 배송해 주나요",
            "人間とは話したくないです",
            "電話してもつながりません",
            "先ほどお電話して確認しました",
            "友人に相談してから決めます",
            "전화 안 주셔도 돼요, 배송비만 알려주세요",
            "상담원 연결 말고 그냥 반품 방법 알려줘",
        ):
            with self.subTest(text):
                self.assertIsNone(request_in(text))


if __name__ == "__main__":
    unittest.main()
