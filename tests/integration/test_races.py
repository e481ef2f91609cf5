"""Several workers, agents and customers at once: the order that the database gives them is what counts."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import accounts, delivery, inbox, live, turns
from bot.desk import contacts, conversations
from bot.domain.errors import Conflict
from bot.domain.words import Author, Channel, State, Status
from bot.filing import Times, file_item
from bot.store import queries
from bot.store.tables import Agent, Conversation, Event, InboxItem
from tests.support import Shop, wait_for

CUSTOMERS = [f"customer-{number}" for number in range(12)]


def test_whoever_is_taken_during_a_turn_hears_no_more_from_the_bot(shop: Shop):
    for who in CUSTOMERS:
        shop.writes("return_policy", who)
    shop.now += timedelta(seconds=2)
    shop.agent("Anna")
    asked = threading.Barrier(4)  # three workers in the middle of their turns, and Anna
    shop.brain.before_answer = lambda: _meet(asked)

    def works() -> None:
        while asyncio.run(turns.work(shop.services)):
            pass

    def takes() -> None:
        for number, who in enumerate(CUSTOMERS):
            if number % 3 == 0:
                _meet(asked)
            shop.takes("Anna", who)

    with ThreadPoolExecutor(4) as pool:
        for done in [*(pool.submit(works) for _ in range(3)), pool.submit(takes)]:
            done.result()
    for who in CUSTOMERS:
        assert shop.state(who) is State.AGENT
        with shop.store.read() as session:
            id_ = shop.conversation(who).id
            events = session.scalars(
                sa.select(Event).where(Event.conversation_id == id_).order_by(Event.id)
            ).all()
        told = [e.payload.get("state") or e.payload.get("author") for e in events]
        assert "bot" not in told[told.index("agent") :], f"{who}: {told}"


def test_what_customers_write_while_workers_work_is_answered_once_and_as_a_whole(shop: Shop):
    for who in CUSTOMERS:
        shop.writes("first", who)
    shop.now += timedelta(seconds=2)
    stop = threading.Event()

    def works() -> None:
        while asyncio.run(turns.work(shop.services)) or not stop.is_set():
            pass

    def writes_on() -> None:
        for who in CUSTOMERS:
            shop.writes("second return_policy", who)
        shop.now += timedelta(seconds=2)

    with ThreadPoolExecutor(5) as pool:
        working = [pool.submit(works) for _ in range(4)]
        pool.submit(writes_on).result()
        stop.set()
        for done in working:
            done.result()
    shop.work()
    for who in CUSTOMERS:
        messages = shop.messages(who)
        assert all(m.handled_at for m in messages)
        assert len([m for m in messages if m.author is Author.BOT]) <= 2
        read = [text for key, text, _ in shop.brain.asked if key.startswith(f"{shop.conversation(who).id}-")]
        assert read[-1].endswith("second return_policy")  # the last word is never left unread


def test_filing_several_customers_and_taking_one_of_them_never_wait_for_each_other(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    for who in ("a", "b"):
        shop.hears("upset", who)
    for who in ("a", "b"):
        event = inbox.Incoming(
            Channel.WEB, "web", who, f"more-{who}", inbox.Kind.MESSAGE, {"text": "x"}, shop.now
        )
        inbox.accept(shop.store, [event], shop.now)
    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            taken = queries.locked(session, shop.conversation("b").id)
            assert taken
            filing = pool.submit(shop.file)  # it has filed a's message, and waits for b's conversation
            wait_for(lambda: _somebody_waits(shop))
            live.changed(session, taken, 1, shop.now)
        filing.result()
    assert [m.text for m in shop.messages("b")][-1] == "x"


def test_what_a_send_or_an_echo_tells_the_desk_waits_for_nobody_who_holds_the_conversation(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    shop.hears("upset")
    told = threading.Event()

    def tells() -> None:
        with shop.store.unit_of_work() as session:
            live.touched(session, session.get_one(Conversation, shop.conversation().id), shop.now)
        told.set()

    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            assert queries.locked(session, shop.conversation().id)
            telling = pool.submit(tells)
            assert told.wait(9)
        telling.result()


def test_a_dead_senders_row_that_is_being_settled_holds_up_no_other_sender(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    shop.hears("return_policy", channel=Channel.MESSENGER, account="page")
    parcel = delivery.claim(shop.services)
    assert parcel
    shop.now += delivery.PATIENCE + timedelta(seconds=1)
    with shop.store.unit_of_work() as session:  # its echo has come
        assert queries.locked_message(session, parcel.message_id)
        assert delivery.claim(shop.services) is None
    assert shop.messages()[-1].status is Status.SENDING
    assert delivery.claim(shop.services) is None
    assert shop.messages()[-1].status is Status.UNKNOWN


def test_filing_that_changes_an_account_and_a_send_that_mends_it_never_wait_for_each_other(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    page = {"channel": Channel.MESSENGER, "account": "page"}
    shop.hears("upset", "b", **page)
    kinds = [("a", inbox.Kind.MESSAGE), ("b", inbox.Kind.POLICY), ("b", inbox.Kind.MESSAGE)]
    events = [
        inbox.Incoming(
            Channel.MESSENGER, "page", who, f"m-{n}", kind, {"text": "x", "blocked": True}, shop.now
        )
        for n, (who, kind) in enumerate(kinds)
    ]
    inbox.accept(shop.store, events, shop.now)
    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            assert queries.locked(session, shop.conversation("b").id)
            filing = pool.submit(shop.file)  # it has blocked the account, and waits for b's conversation
            wait_for(lambda: _somebody_waits(shop))
            accounts.throttle(session, "page", None, shop.now)
        filing.result()
    assert [m.text for m in shop.messages("b")][-1] == "x"


def _somebody_waits(shop: Shop) -> bool:
    with shop.store.read() as session:
        return bool(session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def _meet(barrier: threading.Barrier) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):  # some are done already
        barrier.wait(1)


def test_a_commit_that_comes_between_filings_look_and_its_row_costs_no_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    tried = []

    def late(session: Session, item: InboxItem, times: Times) -> None:
        tried.append(item.id)
        if len(tried) == 1:
            raise sa.exc.IntegrityError("", {}, Exception("uq_conversation_open"))
        file_item(session, item, times)

    monkeypatch.setattr(inbox, "file_item", late)
    shop.writes("hello")
    assert len(tried) == 2
    assert [message.text for message in shop.messages()] == ["hello"]


@pytest.mark.parametrize("verb", [contacts.merge, contacts.split])
def test_who_writes_while_their_contact_is_moved_is_found_at_the_new_one(shop: Shop, verb: object):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    for who in ("a", "b"):
        shop.hears("upset", who)
        shop.does("Anna", conversations.resolve, who)
    a, b = shop.conversation("a"), shop.conversation("b")
    given = a.contact_id, b.contact_id
    if verb is contacts.split:
        with shop.store.unit_of_work() as session:
            contacts.merge(session, *given, session.get_one(Agent, shop.agent("Anna").id), shop.now)
        given = a.contact_id, b.identity_id
    anna = shop.agent("Anna").id
    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            verb(session, *given, session.get_one(Agent, anna), shop.now)  # type: ignore[operator]
            writing = pool.submit(shop.writes, "me again", "b")
            wait_for(lambda: _somebody_waits(shop))
        writing.result()
    again = shop.conversation("b")
    assert again.id > b.id
    assert again.contact_id == again.identity.contact_id
    assert (again.contact_id == a.contact_id) == (verb is contacts.merge)


def test_what_was_resolved_is_not_opened_again_while_its_customer_writes(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    shop.hears("upset")
    shop.does("Anna", conversations.resolve)
    first, anna = shop.conversation().id, shop.agent("Anna").id

    def reopens() -> None:
        with shop.store.unit_of_work() as session:
            conversations.reopen(session, first, session.get_one(Agent, anna), shop.now)

    event = inbox.Incoming(
        Channel.WEB, "web", "mina", "again", inbox.Kind.MESSAGE, {"text": "me again"}, shop.now
    )
    inbox.accept(shop.store, [event], shop.now)
    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            inbox._queue_up(session, "web", "mina", "10s")
            item = session.scalars(sa.select(InboxItem).where(InboxItem.filed_at.is_(None))).one()
            item.filed_at = shop.now
            file_item(session, item, Times(shop.now, shop.settings.burst, shop.settings.idle))
            session.flush()
            reopening = pool.submit(reopens)
            wait_for(lambda: _somebody_waits(shop))
        with pytest.raises(Conflict, match="has written since"):
            reopening.result()
    assert [one.state for one in shop.conversations()] == [State.CLOSED, State.BOT]
