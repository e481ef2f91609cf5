import unittest
from dataclasses import replace
from datetime import date

from bot.components.plan import OrderFacts, plan
from bot.components.times import spoken, spoken_day
from bot.domain.rule import Action, Context, Decision, Detail
from bot.domain.words import Reason, State, Topic

NEW = Context()
ANSWER = Decision(Action.ANSWER, Topic.INVOICE)
HAND_OFF = Decision(Action.HAND_OFF, reason=Reason.EMPATHY)
STATUS = Decision(Action.ANSWER, Topic.ORDER_STATUS)
UNKNOWN = OrderFacts()


class Plan(unittest.TestCase):
    def test_the_first_reply_says_that_it_is_a_bot(self) -> None:
        assert plan(ANSWER, NEW, UNKNOWN) == ["utter_automated", "utter_invoice"]

    def test_it_says_so_again_only_after_somebody_else_has_spoken(self) -> None:
        told = replace(NEW, replies_used=1, disclosed=True)
        untold = replace(NEW, replies_used=1, disclosed=False)
        assert plan(ANSWER, told, UNKNOWN)[0] == "utter_invoice"
        assert plan(ANSWER, untold, UNKNOWN)[0] == "utter_automated"

    def test_the_second_reply_says_who_reads_on(self) -> None:
        context = replace(NEW, replies_used=1, disclosed=True)
        assert plan(ANSWER, context, UNKNOWN) == ["utter_invoice", "utter_colleague_reads_on"]
        ask = Decision(Action.ASK, Topic.ORDER_STATUS, detail=Detail.EMAIL)
        assert plan(ask, context, UNKNOWN) == ["utter_ask_email", "utter_colleague_reads_on"]

    def test_a_hand_off_says_when_people_are_there(self) -> None:
        told = replace(NEW, disclosed=True)
        night = replace(told, opens_at="2026-11-23T09:00:00")
        assert plan(HAND_OFF, told, UNKNOWN) == ["utter_hand_off_empathy", "utter_people_there"]
        assert plan(HAND_OFF, night, UNKNOWN) == ["utter_hand_off_empathy", "utter_people_back"]

    def test_nothing_is_said_once_two_replies_are_spent(self) -> None:
        spent = replace(NEW, replies_used=2, disclosed=True)
        for decision in (ANSWER, HAND_OFF, STATUS):
            assert plan(decision, spent, UNKNOWN) == []

    def test_nothing_is_said_while_a_person_holds_or_is_awaited(self) -> None:
        for state in (State.WAITING, State.AGENT, State.CLOSED):
            assert plan(HAND_OFF, replace(NEW, state=state), UNKNOWN) == []

    def test_closing_and_waiting_say_nothing(self) -> None:
        for action in (Action.CLOSE, Action.WAIT):
            assert plan(Decision(action), NEW, UNKNOWN) == []

    def test_an_orders_reply_holds_only_what_is_known(self) -> None:
        told = replace(NEW, disclosed=True)
        assert plan(STATUS, told, OrderFacts("shipped")) == ["utter_order_shipped"]
        assert plan(STATUS, told, OrderFacts("shipped", carrier=True, eta=True)) == [
            "utter_order_shipped",
            "utter_order_carrier",
            "utter_order_eta",
        ]
        assert plan(STATUS, told, OrderFacts("delivered", True, True, True)) == ["utter_order_delivered"]

    def test_a_status_without_words_of_its_own_has_words_too(self) -> None:
        assert plan(STATUS, replace(NEW, disclosed=True), OrderFacts("lost_at_sea")) == ["utter_order_other"]


class Times(unittest.TestCase):
    def test_opening_times_are_put_as_people_say_them(self) -> None:
        assert spoken("2026-11-23T09:00:00+01:00", "en") == "on Monday at 9:00"
        assert spoken("2026-11-28T10:30:00", "ko") == "토요일 오전 10시 30분"
        assert spoken("2026-11-28T14:00:00", "ko") == "토요일 오후 2시"
        assert spoken("2026-11-23T09:00:00+01:00", "ja") == "月曜日9:00"
        assert spoken("2026-11-23T09:00:00+01:00", "other") == "on Monday at 9:00"
        assert spoken(None, "en") is None

    def test_days_are_put_as_people_say_them(self) -> None:
        day = date(2026, 11, 3)
        assert spoken_day(day, "en") == "Tuesday 3 November"
        assert spoken_day(day, "ko") == "11월 3일 화요일"
        assert spoken_day(day, "ja") == "11月3日(火)"


if __name__ == "__main__":
    unittest.main()
