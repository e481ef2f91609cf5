import unittest

from rasa.shared.core.events import ActionExecuted, Event, SlotSet, UserUttered

from bot.components.turns import CONTEXT, context_of, script, turns_of
from bot.domain.rule import Context, Detail, Found
from bot.domain.words import Reason, Remark, State, Topic


def said(intent: str | None, text: str = "x", **entities: str) -> UserUttered:
    found = [{"entity": name, "value": value} for name, value in entities.items()]
    return UserUttered(text, {"name": intent, "confidence": 0.9}, found)


def did(*actions: str) -> list[Event]:
    return [ActionExecuted(action) for action in actions]


class Readings(unittest.TestCase):
    def test_a_turn_is_read_from_its_intent_and_entities(self) -> None:
        (turn,) = turns_of([said("order_status", order_number="10023", email="a@b.example", tone="upset")])
        reading = turn.reading
        assert reading.intent is Topic.ORDER_STATUS
        assert (reading.order_number, reading.email) == ("10023", "a@b.example")
        assert reading.upset

    def test_what_the_fallback_classifier_took_out_is_nothing_read(self) -> None:
        ranking = [{"name": "nlu_fallback", "confidence": 0.5}, {"name": "invoice", "confidence": 0.31}]
        message = UserUttered("x", ranking[0], parse_data={"intent_ranking": ranking})
        reading = turns_of([message])[0].reading
        assert reading.intent is None
        assert reading.confidence == 0.31

    def test_in_a_language_it_does_not_speak_nothing_counts_as_read(self) -> None:
        reading = turns_of([said("thanks", "спасибо", tone="upset")])[0].reading
        assert (reading.intent, reading.upset, reading.readable) == (None, False, False)

    def test_what_tells_no_language_is_in_the_conversations(self) -> None:
        first, second = turns_of([said("greet", "안녕하세요"), said("give_details", "10023")])
        assert (first.language, second.language) == ("ko", "ko")
        sent = said("give_details", "10023")
        sent.metadata = {CONTEXT: Context(language="ja").to_json()}
        assert turns_of([sent])[0].language == "ja"

    def test_a_look_up_that_tells_nothing_has_failed(self) -> None:
        events = [said("order_status"), *did("action_look_up_order")]
        assert turns_of(events)[0].reading.found is Found.FAILED
        assert turns_of([*events, SlotSet("found", "unclear")])[0].reading.found is Found.UNCLEAR

    def test_what_an_earlier_turn_found_does_not_count(self) -> None:
        events = [
            said("order_status"),
            *did("action_look_up_order"),
            SlotSet("found", "found"),
            said("thanks"),
        ]
        assert turns_of(events)[-1].reading.found is None


class Causes(unittest.TestCase):
    """Why a turn goes to a person, in the customer's own words."""

    def test_the_words_that_ask_for_a_person_are_known(self) -> None:
        (turn,) = turns_of([said("order_status", "let me talk to a human", person="talk to a human")])
        assert turn.words_for(Reason.ASKED) == "talk to a human"
        assert turn.words_for(Reason.LIMIT) is None

    def test_the_sorest_part_of_a_longer_message_is_known(self) -> None:
        text = "I ordered a lamp. It is broken and nobody cares!"
        tone = {"entity": "tone", "value": "upset", "words": "It is broken and nobody cares!"}
        (turn,) = turns_of([UserUttered(text, {"name": "account", "words": "I ordered a lamp."}, [tone])])
        assert turn.words_for(Reason.EMPATHY) == "It is broken and nobody cares!"
        assert turn.words_for(Reason.ACCOUNT) == "I ordered a lamp."

    def test_a_tone_is_told_only_where_it_was_read(self) -> None:
        tones = [
            turns_of([said("order_status", "it is late", tone="upset")])[0].tone,
            turns_of([said("order_status", "where is it")])[0].tone,
            turns_of([said(None, "спасибо")])[0].tone,
            turns_of([said(None, "")])[0].tone,
        ]
        assert tones == ["upset", "calm", None, None]


class Contexts(unittest.TestCase):
    def test_the_context_that_was_sent_along_counts(self) -> None:
        message = said("invoice")
        message.metadata = {CONTEXT: Context(replies_used=2, state=State.WAITING).to_json()}
        assert context_of(turns_of([said("greet"), message])) == Context(replies_used=2, state=State.WAITING)

    def test_without_one_it_is_worked_out_from_the_turns_before(self) -> None:
        events = [
            said("order_status", order_number="10023"),
            *did("utter_automated", "utter_ask_email"),
            said("give_details"),
        ]
        context = context_of(turns_of(events))
        assert context.replies_used == 1
        assert context.asked_for is Detail.EMAIL
        assert context.order_number == "10023"
        assert context.disclosed

    def test_a_hand_off_leaves_it_waiting(self) -> None:
        events = [said("ask_person"), *did("utter_automated", "utter_hand_off_asked"), said("invoice")]
        assert context_of(turns_of(events)).state is State.WAITING

    def test_after_a_close_everything_starts_anew(self) -> None:
        events = [said("invoice"), *did("utter_automated", "utter_invoice"), said("thanks"), said("invoice")]
        assert context_of(turns_of(events)) == Context(quiet=True)


class Scripts(unittest.TestCase):
    def test_the_look_up_comes_first_and_stays_in_the_script(self) -> None:
        message = said("order_status", order_number="10023", email="a@b.example")
        _, before = script(turns_of([message])[0], Context())
        assert before == ["action_look_up_order"]
        events = [
            message,
            *did("action_look_up_order"),
            SlotSet("found", "found"),
            SlotSet("progress", "late"),
        ]
        _, after = script(turns_of(events)[0], Context())
        assert after == ["action_look_up_order", "utter_automated", "utter_order_late"]

    def test_an_upset_customer_with_a_question_gets_a_person(self) -> None:
        decision, _ = script(turns_of([said("store_hours", tone="upset")])[0], Context())
        assert decision.reason is Reason.EMPATHY

    def test_every_intent_has_a_decision_and_words_for_it(self) -> None:
        for word in [*Topic, *Remark]:
            with self.subTest(word.value):
                decision, actions = script(turns_of([said(word.value)])[0], Context(quiet=True))
                assert decision
                assert all(action.startswith(("utter_", "action_")) for action in actions)


if __name__ == "__main__":
    unittest.main()
