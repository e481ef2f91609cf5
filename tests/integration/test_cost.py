"""What a turn costs the database, counted: a figure that doesn't depend on the machine's mood.

A number that grows here is a regression, or a decision to be made on purpose.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from bot import delivery, inbox, turns
from bot.channels.graph import Answer, Graph, Outcome
from bot.domain.words import Author, Channel
from bot.filing import Times
from bot.store.engine import Store
from tests.support import Shop

NOT_COUNTED = ("PRAGMA", "SET LOCAL", "BEGIN")  # a round trip, and no work
ids = itertools.count()


@dataclass
class Cost:
    statements: list[str]
    commits: int = 0
    waits_for_the_disk: int = 0


@contextmanager
def counted(store: Store) -> Iterator[Cost]:
    cost, hasty = Cost([]), [False]

    def executed(_conn, _cursor, statement: str, *_: object) -> None:
        if statement.startswith("SET LOCAL synchronous_commit = off"):
            hasty[0] = True
        if not statement.startswith(NOT_COUNTED):
            cost.statements.append(statement)

    def committed(connection: sa.Connection) -> None:
        cost.commits += 1
        hasty[0] |= store.is_sqlite and connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        cost.waits_for_the_disk += not hasty[0]
        hasty[0] = False

    event.listen(sa.Engine, "before_cursor_execute", executed)
    event.listen(sa.Engine, "commit", committed)
    try:
        yield cost
    finally:
        event.remove(sa.Engine, "before_cursor_execute", executed)
        event.remove(sa.Engine, "commit", committed)


def comes(shop: Shop, text: str = "return_policy", channel: Channel = Channel.WEB) -> None:
    message = inbox.Incoming(
        channel=channel,
        account="web" if channel is Channel.WEB else "page",
        thread="mina",
        external_id=f"m{next(ids)}",
        kind=inbox.Kind.MESSAGE,
        payload={"text": text},
        at=shop.now,
    )
    inbox.take_in(shop.store, message, Times(shop.now, shop.settings.burst, shop.settings.idle))


@pytest.fixture
def second(shop: Shop) -> Shop:
    """A conversation that has begun: the usual case."""
    comes(shop, "order_status")
    shop.passes(seconds=2)
    return shop


def cost_of(shop: Shop, step: Callable[[], object]) -> tuple[int, int, int]:
    with counted(shop.store) as cost:
        step()
    print("\n".join(cost.statements))
    return len(cost.statements), cost.commits, cost.waits_for_the_disk


def test_a_message_is_stored_and_filed_in_one_transaction(second: Shop):
    """One of the statements is the message's entry in the desk's index: it is found as soon as it is there."""
    postgresql = not second.store.is_sqlite
    assert cost_of(second, lambda: comes(second)) == (10 + 2 * postgresql, 1, 1)


def test_a_turn_waits_for_the_disk_once(second: Shop):
    comes(second, "10023 mina@example.com order_status")
    second.now = second.settings.burst + second.now
    turn = None

    def claimed() -> None:
        nonlocal turn
        turn = turns.claim(second.store, second.settings, second.now)

    assert cost_of(second, claimed) == (3, 1, 0)
    assert turn
    proposal = second.brain._propose(turn.text, turn.context)
    postgresql = not second.store.is_sqlite
    settled = cost_of(second, lambda: turns.settle(second.services, turn, proposal))
    assert settled == (10 + postgresql, 1, 1)  # the reply is indexed, too
    assert len(second.replies()) == 2


def test_a_worker_that_finds_nothing_looks_once(second: Shop):
    assert cost_of(second, lambda: turns.claim(second.store, second.settings, second.now))[0] == 1
    second.file()
    looked = cost_of(
        second, lambda: inbox.file_all(second.store, second.now, second.settings.burst, second.settings.idle)
    )
    assert looked[0] == 1
    assert cost_of(second, lambda: delivery.claim(second.services))[0] == 1


def test_a_reply_that_goes_at_once_takes_one_transaction_more(shop: Shop):
    comes(shop, channel=Channel.MESSENGER)
    shop.now += timedelta(seconds=2)
    turn = turns.claim(shop.store, shop.settings, shop.now)
    assert turn
    sent: list[turns.Reply] = []
    courier = delivery.Courier(shop.services, Graph(shop.settings.messenger), most=1)
    proposal = shop.brain._propose(turn.text, turn.context)

    def settled() -> None:
        reply = turns.settle(shop.services, turn, proposal, courier=courier)
        assert reply
        sent.append(reply)

    postgresql = not shop.store.is_sqlite
    assert cost_of(shop, settled) == (11 + postgresql, 1, 1)
    reply = sent[0]
    named = {"message_id": reply.message_id, "conversation_id": reply.conversation_id}
    place = {"public_id": reply.public_id, "account": reply.account, "thread": reply.thread}
    more = {"text": reply.text, "buttons": [], "send_no": 1, "attempt": 1, "started_at": reply.at}
    parcel = delivery.Parcel(**named, **place, **more)
    answer = Answer(Outcome.SENT, "m_out")
    assert cost_of(shop, lambda: delivery.settle(shop.services, parcel, answer)) == (4 + postgresql, 1, 1)
    assert [m.external_id for m in shop.messages() if m.author is Author.BOT] == ["m_out"]


def test_a_delivery_takes_two_transactions(shop: Shop):
    comes(shop, channel=Channel.MESSENGER)
    shop.passes(seconds=2)
    parcel = None

    def claimed() -> None:
        nonlocal parcel
        parcel = delivery.claim(shop.services)

    statements, commits, _ = cost_of(shop, claimed)
    assert parcel
    more, more_commits, _ = cost_of(
        shop, lambda: delivery.settle(shop.services, parcel, Answer(Outcome.SENT, "m_out"))
    )
    assert commits + more_commits == 2
    assert statements + more <= 11 + 2 * (not shop.store.is_sqlite)
    assert [m.external_id for m in shop.messages() if m.author is Author.BOT] == ["m_out"]
