"""DESIGN §2, bullet by bullet, over the real path and both databases."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from bot import inbox, turns
from bot.desk import conversations as desk
from bot.desk import snoozing
from bot.domain.errors import Conflict, Held, LeaseLost, NotAllowed
from bot.domain.words import Author, State
from bot.store.engine import Store
from tests.support import Shop, settings_for


def test_two_replies_then_silence_and_a_person(shop: Shop):
    assert shop.hears("return_policy")
    assert shop.hears("invoice")
    assert shop.hears("payment_methods") is None
    assert (shop.state(), shop.reason()) == (State.WAITING, "limit")
    assert shop.hears("store_hours") is None
    assert [m.reply_no for m in shop.messages() if m.author is Author.BOT] == [1, 2]


def test_order_status_takes_two_replies(shop: Shop):
    assert shop.hears("order_status") == "ask order"
    assert shop.hears("10023 mina@example.com give_details") == "answer order_status"
    assert shop.state() is State.BOT


def test_what_was_told_about_an_order_is_told_once(shop: Shop):
    assert shop.hears("order_status 10023 mina@example.com") == "answer order_status"
    assert shop.hears("order_status") == "hand_off account"
    assert (shop.state(), shop.reason()) == (State.WAITING, "account")


def test_an_order_to_cancel_goes_to_a_person_with_its_details(shop: Shop):
    assert shop.hears("cancel_order 10023 mina@example.com") == "hand_off account"
    (conversation,) = shop.conversations()
    assert (conversation.order_number, conversation.email) == ("10023", "mina@example.com")


def test_closing_gets_no_reply_and_the_next_message_has_two_fresh_ones(shop: Shop):
    shop.hears("return_policy")
    shop.hears("invoice")
    assert shop.hears("thanks") is None
    assert shop.state() is State.CLOSED
    assert shop.hears("payment_methods")
    assert shop.hears("store_hours")
    assert len(shop.conversations()) == 2


def test_the_that_helps_button_closes(shop: Shop):
    shop.hears("return_policy")
    shop.hears("That helps", button="settled")
    assert shop.state() is State.CLOSED


def test_a_day_of_silence_closes(shop: Shop):
    shop.hears("return_policy")
    shop.now += timedelta(hours=23, minutes=59)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 0
    shop.now += timedelta(minutes=2)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 1
    assert shop.state() is State.CLOSED


def test_after_a_day_of_silence_a_message_opens_a_new_conversation_at_once(shop: Shop):
    shop.hears("return_policy")
    shop.hears("invoice")
    shop.passes(hours=25)
    assert shop.hears("payment_methods")
    assert [c.state for c in shop.conversations()] == [State.CLOSED, State.BOT]


def test_a_customer_who_waits_for_a_person_is_never_closed_by_silence(shop: Shop):
    shop.hears("upset")
    shop.now += timedelta(days=3)
    inbox.close_idle(shop.store, shop.now, shop.settings.idle)
    assert shop.state() is State.WAITING
    shop.takes("Anna")
    shop.now += timedelta(days=3)
    inbox.close_idle(shop.store, shop.now, shop.settings.idle)
    assert shop.state() is State.AGENT
    shop.answers("Anna", "I'm sorry.")
    shop.now += timedelta(hours=25)
    inbox.close_idle(shop.store, shop.now, shop.settings.idle)
    assert shop.state() is State.CLOSED


@pytest.mark.parametrize("comes_back_after", [2, 96])
def test_a_snoozed_chat_is_not_closed_by_silence_and_its_silence_begins_when_it_comes_back(
    shop: Shop, comes_back_after: int
):
    shop.hears("upset")
    shop.takes("Anna")
    shop.answers("Anna", "The warehouse looks on Monday.")
    until = shop.now + timedelta(hours=comes_back_after)
    shop.does("Anna", desk.snooze, until=until, reason="")
    shop.now = until + timedelta(hours=23)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 0
    snoozing.wake_due(shop.store, shop.now)
    shop.now += timedelta(hours=23)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 0
    shop.now += timedelta(hours=2)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 1


def test_who_writes_while_their_chat_is_snoozed_wakes_its_holder(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.answers("Anna", "The warehouse looks on Monday.")
    shop.does("Anna", desk.snooze, until=shop.now + timedelta(days=3), reason="")
    shop.passes(hours=25)
    assert shop.hears("return_policy") is None
    (one,) = shop.conversations()
    assert (one.state, one.agent_id, one.snoozed_until) == (State.AGENT, shop.agent("Anna").id, None)


def test_a_hand_off_says_what_happens_next_if_a_reply_is_left(shop: Shop):
    assert shop.hears("upset") == "hand_off empathy"
    assert (shop.state(), shop.reason()) == (State.WAITING, "empathy")


def test_an_upset_customer_with_no_reply_left_goes_silently(shop: Shop):
    shop.hears("return_policy")
    shop.hears("invoice")
    assert shop.hears("upset") is None
    assert shop.reason() == "empathy"


def test_a_burst_is_one_turn_with_one_reply(shop: Shop):
    for text in ("greet", "return_policy", "how long"):
        shop.writes(text)
        shop.passes(seconds=1)
    assert shop.replies() == []
    shop.passes(seconds=1)
    assert shop.replies() == ["answer return_policy"]
    assert shop.brain.asked[-1][1] == "greet\nreturn_policy\nhow long"


def test_a_wrong_number_is_asked_for_once_more_then_a_person_looks(shop: Shop):
    assert shop.hears("order_status 99999 mina@example.com") == "ask again"
    assert shop.hears("88888 mina@example.com give_details") == "hand_off account"
    assert shop.reason() == "account"


def test_a_corrected_number_is_answered(shop: Shop):
    shop.hears("order_status 99999 mina@example.com")
    assert shop.hears("10023 give_details") == "answer order_status"


def test_a_customer_who_cannot_give_a_number_goes_to_a_person(shop: Shop):
    shop.hears("order_status")
    assert shop.hears("no_details") == "hand_off account"


def test_thanks_but_it_still_does_not_work_is_not_a_thanks(shop: Shop):
    shop.hears("return_policy")
    shop.hears("not_solved")
    assert (shop.state(), shop.reason()) == (State.WAITING, "empathy")


def test_ok_closes_after_an_answer_and_waits_before_one(shop: Shop):
    assert shop.hears("ack") is None
    assert shop.state() is State.BOT
    shop.passes(minutes=1)
    assert (shop.replies(), shop.state()) == ([], State.BOT)
    shop.hears("return_policy")
    assert shop.hears("ack") is None
    assert shop.state() is State.CLOSED


def test_a_bare_greeting_is_greeted_only_after_a_longer_silence(shop: Shop):
    assert shop.hears("greet") is None
    shop.passes(seconds=10)
    assert shop.replies() == []
    shop.passes(seconds=4)
    assert shop.replies() == ["ask matter"]


def test_a_question_after_a_greeting_gets_the_one_reply(shop: Shop):
    shop.hears("greet")
    assert shop.hears("return_policy") == "answer return_policy"
    assert len(shop.replies()) == 1


def test_a_pressing_reason_moves_up_while_the_customer_waits(shop: Shop):
    shop.hears("mumble")
    assert shop.reason() == "unsure"
    assert shop.hears("upset") is None
    assert shop.reason() == "empathy"
    assert len(shop.hand_offs()) == 1


def test_a_setting_takes_another_sure_question_as_acceptance(store: Store, tmp_path: Path):
    shop = Shop(store, settings_for(tmp_path, NEW_TOPIC_CLOSES="true"))
    shop.hears("return_policy")
    assert shop.hears("invoice") == "answer invoice"
    first, second = shop.conversations()
    assert (first.state, second.state) == (State.CLOSED, State.BOT)
    assert [m.reply_no for m in shop.messages() if m.author is Author.BOT] == [1, 1]


def test_the_bot_is_silent_while_a_person_holds_the_conversation(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    assert shop.hears("return_policy") is None
    shop.answers("Anna", "I'm here.")
    assert shop.hears("invoice") is None
    assert shop.state() is State.AGENT


def test_a_conversation_given_back_keeps_its_count(shop: Shop):
    shop.hears("return_policy")
    shop.takes("Anna")
    shop.answers("Anna", "Anything else?")
    shop.does("Anna", desk.give_back)
    assert shop.hears("invoice")
    assert shop.hears("payment_methods") is None
    assert shop.reason() == "limit"


def test_what_nobody_answered_is_the_bots_when_a_conversation_is_given_back(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.answers("Anna", "I'm here.")
    shop.writes("return_policy")
    shop.does("Anna", desk.give_back)
    shop.work()
    assert shop.replies()[-1] == "answer return_policy"


def test_what_is_given_back_with_no_reply_left_goes_to_a_person_again(shop: Shop):
    shop.hears("return_policy")
    shop.hears("invoice")
    shop.takes("Anna")
    shop.writes("payment_methods")
    shop.does("Anna", desk.give_back)
    shop.work()
    assert (shop.state(), shop.reason(), len(shop.replies())) == (State.WAITING, "limit", 2)


def test_what_was_answered_is_not_answered_again_when_it_is_given_back(shop: Shop):
    shop.hears("return_policy")
    shop.takes("Anna")
    shop.writes("invoice")
    shop.answers("Anna", "Here it is.")
    shop.does("Anna", desk.give_back)
    shop.passes(minutes=1)
    assert (shop.state(), len(shop.replies())) == (State.BOT, 1)


def test_after_a_person_the_bot_says_again_that_it_is_one(shop: Shop):
    shop.hears("return_policy")
    shop.hears("mumble")
    assert shop.brain.asked[-1][2].disclosed
    shop.takes("Anna")
    shop.answers("Anna", "Anything else?")
    shop.does("Anna", desk.give_back)
    shop.hears("invoice")
    assert not shop.brain.asked[-1][2].disclosed


def test_an_agent_may_step_in_before_the_bot_has_answered(shop: Shop):
    shop.writes("return_policy")
    shop.takes("Anna")
    shop.passes(seconds=5)
    assert shop.replies() == []


def test_a_person_who_steps_in_during_a_turn_wins_over_the_pending_reply(shop: Shop):
    shop.writes("return_policy")
    shop.brain.before_answer = lambda: shop.takes("Anna")
    shop.passes(seconds=5)
    assert shop.replies() == []
    assert shop.state() is State.AGENT


def test_a_message_that_arrives_during_a_turn_makes_its_reply_stale(shop: Shop):
    shop.writes("return_policy")

    def more() -> None:
        shop.brain.before_answer = None
        shop.writes("upset")

    shop.brain.before_answer = more
    shop.passes(seconds=2)
    assert shop.replies() == []
    shop.passes(seconds=2)
    assert shop.replies() == ["hand_off empathy"]


def test_two_workers_racing_for_a_conversation_send_one_reply(shop: Shop):
    shop.writes("return_policy")
    shop.now += timedelta(seconds=5)
    with ThreadPoolExecutor(8) as pool:
        worked = list(pool.map(lambda _: asyncio.run(turns.work(shop.services)), range(8)))
    assert sum(worked) == 1
    assert len(shop.replies()) == 1


def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(shop: Shop):
    shop.writes("return_policy")
    shop.now += timedelta(seconds=5)
    slow = turns.claim(shop.store, shop.settings, shop.now)
    assert slow is not None
    assert turns.claim(shop.store, shop.settings, shop.now) is None
    shop.now += shop.settings.lease
    shop.work()
    assert len(shop.replies()) == 1
    with pytest.raises(LeaseLost):
        turns.settle(
            shop.services, slow, asyncio.run(shop.brain.read_and_reply("late", slow.text, slow.context))
        )
    assert len(shop.replies()) == 1


def test_an_outage_waits_and_then_becomes_a_hand_off(shop: Shop):
    shop.brain.down = True
    shop.writes("return_policy")
    for _ in range(15):
        shop.passes(seconds=1)
    assert shop.replies() == []
    for _ in range(10):
        shop.passes(seconds=1)
    assert shop.replies() == ["outage en"]
    assert shop.reason() == "outage"


def test_a_short_outage_costs_nothing_but_time(shop: Shop):
    shop.brain.down = True
    shop.writes("return_policy")
    for _ in range(10):
        shop.passes(seconds=1)
    shop.brain.down = False
    shop.passes(seconds=2)
    assert shop.replies() == ["answer return_policy"]


def test_a_picture_goes_to_a_person(shop: Shop):
    shop.writes("", attachments=[{"type": "image", "url": "https://example.invalid/a.jpg"}])
    shop.passes(seconds=2)
    assert shop.reason() == "unreadable"


def test_a_hanging_brain_is_an_outage_after_the_same_time(shop: Shop):
    shop.brain.down = True
    shop.writes("return_policy")

    def hang() -> None:
        shop.now += timedelta(seconds=20)

    shop.brain.before_answer = hang
    shop.passes(seconds=2)
    assert shop.reason() == "outage"


def test_a_customer_who_keeps_writing_during_an_outage_is_handed_over_too(shop: Shop):
    shop.brain.down = True
    shop.writes("return_policy")
    shop.brain.before_answer = lambda: shop.writes("hello?")
    for _ in range(12):
        shop.passes(seconds=2)
    assert shop.reason() == "outage"


def test_what_was_never_said_is_not_taken_for_answered(shop: Shop):
    shop.hears("upset")
    shop.hears("store_hours")
    shop.takes("Anna")
    shop.does("Anna", desk.give_back)
    shop.hears("ack")
    assert shop.state() is State.BOT


def test_a_question_that_waited_out_an_outage_of_the_whole_shop_is_still_answered(shop: Shop):
    shop.writes("return_policy")
    shop.now += timedelta(hours=25)
    shop.writes("hello?")
    shop.passes(seconds=2)
    assert shop.replies() == ["answer return_policy"]


def test_what_a_killed_process_had_claimed_is_taken_up_at_once(shop: Shop):
    shop.writes("return_policy")
    shop.now += timedelta(seconds=2)
    assert turns.claim(shop.store, shop.settings, shop.now)
    turns.release_all(shop.store)
    shop.work()
    assert len(shop.replies()) == 1


class TestFailures:
    """A turn that can't be decided goes to a person; nothing else waits for it."""

    def test_a_turn_that_fails_is_tried_again(self, shop: Shop):
        shop.brain.before_answer = stumble(shop, 2)
        shop.writes("return_policy")
        for _ in range(6):
            shop.passes(seconds=4)
        assert shop.replies() == ["answer return_policy"]
        assert (shop.conversation().tries, shop.conversation().turn_error) == (0, None)

    def test_one_that_fails_again_and_again_goes_to_a_person_and_holds_nobody_up(self, shop: Shop):
        shop.brain.before_answer = stumble(shop, 99)
        shop.writes("return_policy")
        for _ in range(turns.TRIES + 1):
            shop.passes(seconds=64)
        assert shop.reason() == "outage"
        assert shop.conversation().turn_error == "ZeroDivisionError"
        assert len(shop.brain.asked) == turns.TRIES
        assert shop.messages()[0].handled_at is None  # it may be tried again
        shop.brain.before_answer = None
        assert shop.hears("invoice", "other") == "answer invoice"

    def test_a_turn_that_kills_its_worker_goes_to_a_person_too(self, shop: Shop):
        shop.writes("return_policy")
        for _ in range(turns.TRIES + 1):
            shop.now += timedelta(seconds=90)
            turns.claim(shop.store, shop.settings, shop.now)
        assert shop.reason() == "outage"
        assert shop.conversation().turn_error == "the worker died"

    def test_a_worker_that_is_stopped_gives_its_turn_back(self, shop: Shop):
        shop.writes("return_policy")
        shop.now += timedelta(seconds=2)

        async def stopped() -> None:
            task = asyncio.create_task(turns.work(shop.services))
            while not shop.brain.asked:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            pause.set()

        pause = threading.Event()
        shop.brain.before_answer = lambda: pause.wait(20)
        asyncio.run(stopped())
        shop.brain.before_answer = None
        shop.work()
        assert shop.replies() == ["answer return_policy"]


def stumble(shop: Shop, times: int) -> Callable[[], None]:
    """A mistake of our own in the middle of a turn."""

    def trip() -> None:
        assert len(shop.brain.asked) > times or 1 / 0

    return trip


class TestClock:
    """A clock that is set forwards or backwards delays nobody for long and changes no order."""

    @pytest.mark.parametrize("hours", [-26, -1, 1, 26])
    def test_a_turn_that_is_due_is_decided(self, shop: Shop, hours: int):
        shop.writes("return_policy")
        shop.passes(hours=hours, seconds=2)
        assert shop.replies() == ["answer return_policy"]

    def test_a_lease_from_before_ends_too(self, shop: Shop):
        shop.writes("return_policy")
        shop.now += timedelta(seconds=2)
        dead = turns.claim(shop.store, shop.settings, shop.now)
        assert dead
        shop.passes(hours=-3)
        assert shop.replies() == ["answer return_policy"]
        with pytest.raises(LeaseLost):
            turns.postpone(shop.services, dead)

    def test_a_greeting_is_still_waited_out(self, shop: Shop):
        shop.writes("greet")
        shop.passes(seconds=2)
        shop.passes(hours=-3)
        assert len(shop.brain.asked) <= 3  # it doesn't ask Rasa over and over
        shop.passes(seconds=20)
        assert shop.replies() == ["ask matter"]

    def test_an_outage_ends_as_soon_as_ever(self, shop: Shop):
        shop.brain.down = True
        shop.writes("return_policy")
        shop.passes(seconds=2)
        shop.passes(hours=-3)
        for _ in range(25):
            shop.passes(seconds=1)
        assert shop.reason() == "outage"

    def test_what_was_written_keeps_its_order(self, shop: Shop):
        shop.writes("first")
        shop.now -= timedelta(minutes=10)
        shop.writes("second return_policy")
        shop.passes(seconds=2)
        assert shop.brain.asked[-1][1] == "first\nsecond return_policy"


def test_conversations_that_never_close_do_not_keep_others_from_closing(shop: Shop):
    for number in range(inbox.BATCH + 5):
        shop.writes("upset", f"held-{number}")
        shop.takes("Anna", f"held-{number}")
    shop.hears("return_policy")
    shop.now += timedelta(hours=25)
    assert inbox.close_idle(shop.store, shop.now, shop.settings.idle) == 1
    assert shop.state() is State.CLOSED


class TestAgents:
    """One voice at a time, enforced by the server."""

    def test_taking_is_atomic_and_the_second_is_told_who_has_it(self, shop: Shop):
        shop.hears("upset")
        names = ["Anna", "Ben", "Chris", "Dana"]
        for name in names:
            shop.agent(name)

        def take(name: str) -> str:
            try:
                shop.takes(name)
            except Held as error:
                return str(error)
            return name

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(take, names))
        (winner,) = set(results) & set(names)
        assert sorted(results) == sorted([winner, *[f"{winner} has this conversation."] * 3])

    def test_only_the_holder_answers(self, shop: Shop):
        shop.hears("upset")
        with pytest.raises(NotAllowed):
            shop.answers("Anna", "Hello")
        shop.takes("Anna")
        with pytest.raises(Held, match="Anna"):
            shop.answers("Ben", "Hello")
        with pytest.raises(Held):
            shop.does("Ben", desk.resolve)
        with pytest.raises(Held):
            shop.does("Ben", desk.give_back)

    def test_a_double_click_sends_once(self, shop: Shop):
        shop.hears("upset")
        shop.takes("Anna")
        first = shop.answers("Anna", "I'm sorry.", client_id="one")
        again = shop.answers("Anna", "I'm sorry.", client_id="one")
        assert first.id == again.id

    def test_the_same_client_id_from_customer_and_agent_are_two_messages(self, shop: Shop):
        shop.writes("upset", client_id="1")
        shop.passes(seconds=2)
        shop.takes("Anna")
        shop.answers("Anna", "I'm sorry.", client_id="1")
        shop.does("Anna", desk.note, client_id="1", text="A regular.")
        shop.answers("Anna", "Still there?", client_id="2")
        shop.writes("yes", client_id="2")
        assert [m.text for m in shop.messages()][-4:] == ["I'm sorry.", "A regular.", "Still there?", "yes"]
        with pytest.raises(Held):
            shop.answers("Ben", "Hello", client_id="1")

    def test_a_note_is_never_the_customers(self, shop: Shop):
        shop.hears("upset")
        shop.does("Anna", desk.note, client_id="n", text="A regular.")
        assert "A regular." not in str([e.payload for e in shop.events() if e.kind != "desk"])

    def test_resolving_closes_and_ends_the_hand_off(self, shop: Shop):
        shop.hears("upset")
        shop.takes("Anna")
        shop.does("Anna", desk.resolve)
        assert (shop.state(), shop.reason()) == (State.CLOSED, None)
        with pytest.raises(Conflict):
            shop.takes("Anna")
        assert shop.hears("return_policy")


def test_applying_the_events_gives_what_fetching_gives(shop: Shop):
    shop.hears("return_policy")
    shop.hears("upset")
    shop.takes("Anna")
    shop.answers("Anna", "I'm sorry.")
    shop.does("Anna", desk.resolve)
    said = [e.payload["text"] for e in shop.events() if e.kind == "message"]
    assert said == [m.text for m in shop.messages()]
    states = [e.payload["state"] for e in shop.events() if e.kind == "status"]
    assert states == ["bot", "waiting", "agent", "closed"]
