import unittest

from bot.components.mixed import Guess, Matter, matter_of, unanswered
from bot.components.parts import MAX_CHARS, MAX_PARTS, is_question, parts_of

SURE, UNSURE = 0.9, 0.3


def asked(intent: str, confidence: float = SURE) -> Guess:
    return Guess(intent, confidence, question=True)


def said(intent: str, confidence: float = SURE) -> Guess:
    return Guess(intent, confidence)


def read(whole: Guess, *parts: Guess) -> Matter:
    return matter_of(whole, parts, threshold=0.65)


class Parts(unittest.TestCase):
    def test_sentences_and_joined_questions_are_parts(self) -> None:
        for text, parts in {
            "How much is shipping and can I return it?": ["How much is shipping", "can I return it?"],
            "thanks! do you take paypal?": ["thanks!", "do you take paypal?"],
            "do you ship to Norway, how long does it take": [
                "do you ship to Norway",
                "how long does it take",
            ],
            "배송비 얼마예요? 그리고 반품은 어떻게 하나요?": [
                "배송비 얼마예요?",
                "그리고 반품은 어떻게 하나요?",
            ],
            "送料はいくらですか。あと、領収書はもらえますか": [
                "送料はいくらですか。",
                "あと、領収書はもらえますか",
            ],
            "送料を知りたいです、それと返品方法も": ["送料を知りたいです", "それと返品方法も"],
            "送料いくら?あと返品は何日以内?": ["送料いくら?", "あと返品は何日以内?"],
        }.items():
            with self.subTest(text):
                self.assertEqual(parts_of(text), parts)

    def test_one_thing_stays_whole(self) -> None:
        for text in (
            "where is my order",
            "are pots and pans in stock",
            "I paid 4.90 for shipping",
            "mail a.b@example.com",
        ):
            with self.subTest(text):
                self.assertEqual(parts_of(text), [text])

    def test_nothing_is_too_odd_or_too_long(self) -> None:
        for text in ("", "   ", "?!", "...", "\n\n", "👍", "a. " * 5000, "x" * 100_000):
            with self.subTest(text[:10]):
                parts = parts_of(text)
                self.assertTrue(1 <= len(parts) <= MAX_PARTS)
                self.assertLessEqual(sum(map(len, parts)), MAX_CHARS)

    def test_a_question_is_told_by_its_form(self) -> None:
        for text in (
            "is it blue",
            "and can I return it",
            "paypal?",
            "반품 되나요",
            "返品できますか",
            "いつですか。",
        ):
            with self.subTest(text):
                self.assertTrue(is_question(text))
        for text in ("I bought a lamp", "thanks", "어제 주문했어요", "昨日注文しました。"):
            with self.subTest(text):
                self.assertFalse(is_question(text))


class Matters(unittest.TestCase):
    def test_alone_the_whole_counts(self) -> None:
        self.assertEqual(read(asked("invoice")), Matter("invoice", SURE))
        self.assertEqual(read(asked("invoice", UNSURE)), Matter(None, UNSURE))

    def test_two_sure_questions_stand_in_their_order(self) -> None:
        matter = read(asked("return_policy"), asked("shipping_cost"), asked("return_policy", 0.8))
        self.assertEqual(matter, Matter("shipping_cost", 0.8, ("return_policy",)))

    def test_half_an_answer_is_no_answer(self) -> None:
        for whole, other in (
            (asked("invoice", 0.7), asked("out_of_scope", UNSURE)),
            (asked("invoice"), asked("out_of_scope", 0.95)),
        ):
            with self.subTest(f"{whole}, {other}"):
                matter = read(whole, asked("invoice"), other)
                self.assertEqual(matter.intent, None)
                self.assertEqual(matter.also, ("invoice",))

    def test_a_question_that_only_refers_to_a_clear_one_is_part_of_it(self) -> None:
        matter = read(asked("return_policy"), asked("return_policy"), asked("out_of_scope", UNSURE))
        self.assertEqual(matter, Matter("return_policy", SURE))

    def test_three_questions_go_to_a_person(self) -> None:
        parts = [asked(topic) for topic in ("invoice", "shipping_cost", "store_hours")]
        self.assertIsNone(read(asked("invoice"), *parts).intent)

    def test_thanks_and_a_question_is_the_question(self) -> None:
        for remark in ("thanks", "greet", "settled", "ack"):
            with self.subTest(remark):
                matter = read(said(remark), said(remark), asked("payment_methods"))
                self.assertEqual(matter, Matter("payment_methods", SURE))

    def test_thanks_and_a_question_that_is_not_understood_is_no_thanks(self) -> None:
        self.assertIsNone(read(said("thanks"), said("thanks"), asked("invoice", UNSURE)).intent)

    def test_thanks_and_something_else_that_is_not_understood_is_no_thanks(self) -> None:
        matter = read(said("thanks"), said("settled"), said("out_of_scope", UNSURE))
        self.assertIsNone(matter.intent)
        self.assertEqual(read(said("thanks"), said("thanks"), said("settled")).intent, "thanks")

    def test_what_needs_a_person_wins_wherever_it_stands(self) -> None:
        for need in ("ask_person", "account", "not_solved", "no_details"):
            with self.subTest(need):
                matter = read(asked("shipping_cost"), asked("shipping_cost"), said(need))
                self.assertEqual(matter, Matter(need, SURE, ("shipping_cost",)))

    def test_a_story_around_one_question_is_read_as_a_whole(self) -> None:
        matter = read(
            asked("return_policy"), said("greet", UNSURE), said("account", UNSURE), asked("return_policy")
        )
        self.assertEqual(matter, Matter("return_policy", SURE))

    def test_one_sure_part_does_not_speak_for_an_unsure_whole(self) -> None:
        self.assertIsNone(read(said("account", UNSURE), said("account", UNSURE), said("invoice")).intent)

    def test_whoever_may_be_upset_is_not_answered_but_the_question_is_noted(self) -> None:
        self.assertEqual(unanswered(Matter("invoice", SURE)), Matter(None, SURE, ("invoice",)))
        self.assertEqual(unanswered(Matter("thanks", SURE)), Matter(None, SURE))
        self.assertEqual(unanswered(Matter("account", SURE)), Matter("account", SURE))


if __name__ == "__main__":
    unittest.main()
