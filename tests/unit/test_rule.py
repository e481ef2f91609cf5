"""The rule on plain data: no database, no Rasa, milliseconds."""

import itertools

import pytest

from bot.domain.rule import (
    MAX_REPLIES,
    Action,
    Context,
    Detail,
    Found,
    Proposal,
    Reading,
    decide,
    last_word,
)
from bot.domain.words import Button, Reason, Remark, State, Topic, more_pressing


def test_a_sure_topic_is_answered():
    decision = decide(Reading(Topic.RETURN_POLICY, 0.9), Context())
    assert (decision.action, decision.topic) == (Action.ANSWER, Topic.RETURN_POLICY)


def test_two_questions_are_answered_in_one_reply():
    reading = Reading(Topic.SHIPPING_COST, 0.9, topics=(Topic.RETURN_POLICY,))
    decision = decide(reading, Context())
    assert (decision.action, decision.topic) == (Action.ANSWER, Topic.SHIPPING_COST)
    assert decision.also == (Topic.RETURN_POLICY,)


@pytest.mark.parametrize(
    ("first", "second"),
    [(Topic.ORDER_STATUS, Topic.INVOICE), (Topic.INVOICE, Topic.ORDER_STATUS)],
)
def test_a_question_beside_an_orders_status_is_answered_while_the_details_are_asked_for(
    first: Topic, second: Topic
):
    asked = decide(Reading(first, 0.9, topics=(second,)), Context())
    assert (asked.action, asked.topic, asked.also) == (Action.ASK, Topic.ORDER_STATUS, (Topic.INVOICE,))
    found = Reading(first, 0.9, order_number="1", email="a@b.example", found=Found.FOUND, topics=(second,))
    answered = decide(found, Context())
    assert (answered.action, answered.topic) == (Action.ANSWER, Topic.ORDER_STATUS)
    assert answered.also == (Topic.INVOICE,)


def test_a_question_within_anger_or_beside_a_wish_for_a_person_is_noted():
    for reading in (
        Reading(None, upset=True, topics=(Topic.INVOICE,)),
        Reading(Remark.ASK_PERSON, topics=(Topic.INVOICE,)),
        Reading(Remark.ACCOUNT, topics=(Topic.INVOICE,)),
    ):
        decision = decide(reading, Context())
        assert (decision.action, decision.topic) == (Action.HAND_OFF, Topic.INVOICE)
        assert not decision.also


def test_what_the_bot_is_not_sure_of_goes_to_a_person():
    assert decide(Reading(None, 0.3), Context()).reason is Reason.UNSURE
    assert decide(Reading(Remark.OUT_OF_SCOPE, 0.9), Context()).reason is Reason.UNSURE


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading(Remark.ASK_PERSON, upset=True), Reason.ASKED),
        (Reading(Topic.ORDER_STATUS, upset=True), Reason.EMPATHY),
        (Reading(Remark.NOT_SOLVED), Reason.EMPATHY),
        (Reading(Remark.ACCOUNT), Reason.ACCOUNT),
        (Reading(Remark.NO_DETAILS), Reason.ACCOUNT),
    ],
)
def test_the_reason_about_the_customer_wins_over_limit_and_unsure(
    reading: Reading, reason: Reason, used: int
):
    assert decide(reading, Context(replies_used=used)).reason is reason


def test_reasons_are_ranked_as_the_design_has_them():
    assert more_pressing(Reason.LIMIT, Reason.EMPATHY) is Reason.EMPATHY
    assert more_pressing(Reason.EMPATHY, Reason.ASKED) is Reason.ASKED
    assert more_pressing(Reason.ACCOUNT, Reason.UNSURE) is Reason.ACCOUNT
    assert more_pressing(Reason.UNSURE, Reason.LIMIT) is Reason.LIMIT


def test_get_started_is_a_greeting_unless_something_was_said():
    started = Context(pressed=Button.START)
    assert decide(Reading(), started).action is Action.WAIT
    assert decide(Reading(), Context(pressed=Button.START, quiet=True)).detail is Detail.MATTER
    assert decide(Reading(Topic.RETURN_POLICY, 0.9), started).topic is Topic.RETURN_POLICY
    assert decide(Reading(upset=True), started).reason is Reason.EMPATHY
    assert decide(Reading(order_number="10023"), started).action is not Action.WAIT


def test_a_hand_off_notes_the_question():
    decision = decide(Reading(Topic.REFUND_POLICY, upset=True), Context())
    assert (decision.reason, decision.topic) == (Reason.EMPATHY, Topic.REFUND_POLICY)


@pytest.mark.parametrize("remark", [Remark.ACK, Remark.THANKS])
def test_ok_and_thanks_close_after_an_answer_and_wait_before_one(remark: Remark):
    assert decide(Reading(remark), Context(answered=Topic.INVOICE)).action is Action.CLOSE
    assert decide(Reading(remark), Context()).action is Action.WAIT
    asked_since = Context(answered=Topic.INVOICE, asked_for=Detail.ORDER)
    assert decide(Reading(remark), asked_since).action is Action.WAIT


def test_that_helps_closes_whatever_the_text_says():
    pressed = Context(pressed=Button.SETTLED, replies_used=2)
    assert decide(Reading(None, upset=True), pressed).action is Action.CLOSE


def test_a_closing_word_closes_even_when_both_replies_are_spent():
    assert decide(Reading(Remark.SETTLED), Context(replies_used=2)).action is Action.CLOSE


def test_a_picture_with_thanks_is_not_a_thanks():
    context = Context(answered=Topic.INVOICE, attachment=True)
    assert decide(Reading(Remark.THANKS), context).reason is Reason.UNREADABLE


def test_a_language_that_the_bot_cannot_read_goes_to_a_person():
    assert decide(Reading(Topic.INVOICE, readable=False), Context()).reason is Reason.UNREADABLE


def test_a_bare_greeting_waits_and_is_greeted_only_if_nothing_follows():
    assert decide(Reading(Remark.GREET), Context()).action is Action.WAIT
    greeted = decide(Reading(Remark.GREET), Context(quiet=True))
    assert (greeted.action, greeted.detail) == (Action.ASK, Detail.MATTER)


class TestOrderStatus:
    """Number and e-mail must match; a known customer needs less."""

    def test_a_stranger_is_asked_for_what_is_missing(self):
        def missing(number: str | None, email: str | None) -> Detail | None:
            return decide(Reading(Topic.ORDER_STATUS, order_number=number, email=email), Context()).detail

        assert missing(None, None) is Detail.ORDER
        assert missing("10023", None) is Detail.EMAIL
        assert missing(None, "mina@example.com") is Detail.NUMBER

    def test_both_together_are_looked_up(self):
        reading = Reading(Topic.ORDER_STATUS, order_number="10023", email="mina@example.com")
        assert decide(reading, Context()).action is Action.LOOK_UP

    def test_what_was_given_earlier_counts(self):
        context = Context(asked_for=Detail.EMAIL, order_number="10023")
        assert decide(Reading(None, email="mina@example.com"), context).action is Action.LOOK_UP

    def test_a_known_customer_gives_the_number_alone_or_nothing(self):
        known = Context(verified_email="mina@example.com")
        assert decide(Reading(Topic.ORDER_STATUS, order_number="10023"), known).action is Action.LOOK_UP
        assert decide(Reading(Topic.ORDER_STATUS), known).action is Action.LOOK_UP
        unclear = decide(Reading(Topic.ORDER_STATUS, found=Found.UNCLEAR), known)
        assert (unclear.action, unclear.detail) == (Action.ASK, Detail.NUMBER)

    def test_a_miss_is_asked_once_more_and_then_goes_to_a_person(self):
        miss = Reading(
            Topic.ORDER_STATUS, order_number="99999", email="mina@example.com", found=Found.NOT_FOUND
        )
        assert decide(miss, Context()).detail is Detail.AGAIN
        assert decide(miss, Context(misses=1, replies_used=1)).reason is Reason.ACCOUNT

    def test_details_that_cannot_be_read_count_as_a_miss(self):
        asked = Context(replies_used=1, asked_for=Detail.ORDER)
        assert decide(Reading(None), asked).detail is Detail.AGAIN
        asked_twice = Context(replies_used=1, asked_for=Detail.AGAIN, misses=1)
        assert decide(Reading(None), asked_twice).reason is Reason.ACCOUNT

    def test_nothing_is_asked_for_in_public(self):
        assert decide(Reading(Topic.ORDER_STATUS), Context(public=True)).reason is Reason.ACCOUNT

    def test_an_outage_of_the_look_up_goes_to_a_person(self):
        reading = Reading(Topic.ORDER_STATUS, order_number="1", email="a@b.c", found=Found.FAILED)
        assert decide(reading, Context()).reason is Reason.OUTAGE

    def test_what_was_told_once_is_not_told_again_but_looked_at_by_a_person(self):
        told = Context(
            replies_used=1, answered=Topic.ORDER_STATUS, order_number="10023", email="mina@example.com"
        )
        for again in (
            Reading(Topic.ORDER_STATUS),
            Reading(Topic.ORDER_STATUS, order_number="10023"),
            Reading(Remark.GIVE_DETAILS, order_number="10023", email="mina@example.com"),
        ):
            decision = decide(again, told)
            assert (decision.topic, decision.reason) == (Topic.ORDER_STATUS, Reason.ACCOUNT)
        assert decide(Reading(Topic.ORDER_STATUS, order_number="10024"), told).action is Action.LOOK_UP

    def test_a_known_customers_only_order_is_not_told_again_either(self):
        told = Context(replies_used=1, answered=Topic.ORDER_STATUS, verified_email="mina@example.com")
        assert decide(Reading(Topic.ORDER_STATUS), told).reason is Reason.ACCOUNT

    def test_who_has_nothing_though_it_was_delivered_is_not_told_that_it_was(self):
        claimed = Reading(Topic.ORDER_STATUS, missing=True, delivered=True)
        found = Reading(
            Topic.ORDER_STATUS,
            order_number="10021",
            email="mina@example.com",
            found=Found.FOUND,
            missing=True,
            delivered=True,
        )
        for reading in (claimed, found):
            decision = decide(reading, Context())
            assert (decision.topic, decision.reason) == (Topic.ORDER_STATUS, Reason.ACCOUNT)

    def test_who_has_nothing_yet_is_told_where_it_is(self):
        reading = Reading(Topic.ORDER_STATUS, order_number="10023", email="a@b.example", missing=True)
        assert decide(reading, Context()).action is Action.LOOK_UP
        delivered = Reading(Topic.ORDER_STATUS, found=Found.FOUND, delivered=True)
        assert decide(delivered, Context()).action is Action.ANSWER

    def test_a_number_within_another_question_does_not_make_it_an_order_question(self):
        decision = decide(Reading(Topic.RETURN_POLICY, order_number="10023"), Context())
        assert decision.topic is Topic.RETURN_POLICY


@pytest.mark.parametrize("topic", [Topic.CANCEL_ORDER, Topic.CHANGE_ORDER])
class TestAnOrderToBeCancelledOrChanged:
    """How it is done is told to all; who names the order wants it done, and a person does it."""

    def test_a_question_without_the_order_is_answered(self, topic: Topic):
        assert decide(Reading(topic), Context()).action is Action.ANSWER
        assert decide(Reading(topic, order_number="10024"), Context()).action is Action.ANSWER

    def test_with_the_customers_e_mail_it_goes_to_a_person_with_its_topic(self, topic: Topic):
        for number in ("10024", None):
            named = Reading(topic, order_number=number, email="jonas@example.com")
            decision = decide(named, Context())
            assert (decision.topic, decision.reason) == (topic, Reason.ACCOUNT)

    def test_a_known_customer_gives_the_number_alone(self, topic: Topic):
        known = Context(verified_email="jonas@example.com")
        assert decide(Reading(topic, order_number="10024"), known).reason is Reason.ACCOUNT

    def test_details_after_the_answer_are_about_the_same_matter(self, topic: Topic):
        details = Reading(Remark.GIVE_DETAILS, order_number="10024", email="jonas@example.com")
        decision = decide(details, Context(replies_used=1, answered=topic))
        assert (decision.topic, decision.reason) == (topic, Reason.ACCOUNT)


ANSWER = Proposal(Action.ANSWER, text="Thirty days.", topic=Topic.RETURN_POLICY)


def test_whatever_is_proposed_there_is_never_a_third_reply_and_never_one_over_a_person():
    reasons: list[Reason | None] = [None, *Reason]
    for action, reason, state, used, text in itertools.product(
        Action, reasons, State, range(4), ("", " ", "Hello.")
    ):
        proposal = Proposal(action, text=text, reason=reason, topic=Topic.INVOICE)
        for new_topic_closes in (False, True):
            context = Context(replies_used=used, state=state, answered=Topic.RETURN_POLICY)
            effect = last_word(proposal, context, new_topic_closes)
            if effect.reply_no is not None:
                assert effect.reply_no == used + 1 <= MAX_REPLIES
                assert effect.reply.strip()
                assert state is State.BOT
            else:
                assert not effect.reply
                assert not effect.buttons


def test_a_proposal_to_answer_a_third_time_becomes_a_hand_off():
    effect = last_word(ANSWER, Context(replies_used=2))
    assert (effect.state, effect.hand_off, effect.reply_no) == (State.WAITING, Reason.LIMIT, None)


def test_an_answer_without_words_goes_to_a_person():
    effect = last_word(Proposal(Action.ANSWER, topic=Topic.INVOICE), Context())
    assert (effect.state, effect.hand_off) == (State.WAITING, Reason.UNSURE)


def test_a_hand_off_uses_a_reply_if_one_is_left():
    proposal = Proposal(Action.HAND_OFF, text="A colleague will answer.", reason=Reason.EMPATHY)
    assert last_word(proposal, Context(replies_used=1)).reply_no == 2
    assert last_word(proposal, Context(replies_used=2)).reply_no is None


def test_while_a_customer_waits_the_bot_is_silent_and_a_pressing_reason_moves_up():
    waiting = Context(state=State.WAITING, replies_used=1)
    upset = Proposal(Action.HAND_OFF, text="A colleague …", reason=Reason.EMPATHY)
    effect = last_word(upset, waiting)
    assert (effect.state, effect.hand_off, effect.reply_no) == (State.WAITING, Reason.EMPATHY, None)
    assert last_word(ANSWER, waiting).hand_off is None


def test_while_a_customer_waits_a_polite_thanks_does_not_send_them_away():
    waiting = Context(state=State.WAITING)
    assert last_word(Proposal(Action.CLOSE), waiting).state is State.WAITING
    assert last_word(Proposal(Action.CLOSE, settled=True), waiting).state is State.CLOSED


def test_another_sure_topic_opens_a_new_conversation_only_if_the_shop_wants_it():
    context = Context(replies_used=1, answered=Topic.INVOICE)
    assert last_word(ANSWER, context).reply_no == 2
    assert last_word(ANSWER, context, new_topic_closes=True).reopen
    same = Context(replies_used=1, answered=Topic.RETURN_POLICY)
    assert not last_word(ANSWER, same, new_topic_closes=True).reopen
    spent = Proposal(Action.HAND_OFF, reason=Reason.LIMIT, topic=Topic.RETURN_POLICY)
    assert last_word(spent, Context(replies_used=2, answered=Topic.INVOICE), new_topic_closes=True).reopen


def test_a_context_survives_the_way_to_rasa_and_back():
    context = Context(
        replies_used=1,
        answered=Topic.INVOICE,
        asked_for=Detail.EMAIL,
        pressed=Button.PERSON,
        verified_email="mina@example.com",
        opens_at="2026-11-23T09:00+00:00",
    )
    assert Context.from_json(context.to_json()) == context
    assert Context.from_json({"news": 1}) == Context()
    with pytest.raises(ValueError, match="nonsense"):
        Context.from_json({"state": "nonsense"})
