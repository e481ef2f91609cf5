"""How fast the desk's stream is with many conversations, and along which indexes it goes.

python -m bench.desk [--conversations 100000] [--plans] [URL]      (default: an embedded database in a folder
of its own; a database that is filled already is used as it is)
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from bot.desk import agents, stream
from bot.desk.detail import detail
from bot.desk.stream import Filters, View
from bot.domain.words import Author, Channel, Reason, State
from bot.settings import _database_url
from bot.store import search
from bot.store.engine import Store
from bot.store.tables import Agent, Contact, Conversation, HandOff, Identity, Message

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WORDS = (
    "where is my order it still has not arrived and nobody tells me anything about the parcel",
    "can I return the lamp that I bought last week it does not fit into the living room",
    "배송이 언제 오나요 아직 도착하지 않았어요 확인 부탁드립니다",
    "환불은 언제쯤 받을 수 있을까요 카드로 결제했어요",
    "注文した商品がまだ届きません。いつ頃になりますか",
    "返品したいのですが送料はかかりますか",
)
BATCH = 5_000


def fill(store: Store, many: int) -> None:
    """Contacts with a closed conversation each, of four messages; every 200th is open in some way."""
    rng = random.Random(7)
    with store.unit_of_work() as session:
        for name in ("Anna", "Ben"):
            agents.add_agent(session, f"{name.lower()}@shop.example", name, "agent", "correct horse", NOW)
    with store._engine.begin() as connection:
        for first in range(1, many + 1, BATCH):
            rows = [rows_of(number, rng) for number in range(first, min(first + BATCH, many + 1))]
            for table in (Contact, Identity, Conversation, Message, HandOff):
                found = [row for one in rows for row in one.get(table, ())]
                if found:
                    connection.execute(sa.insert(table), found)
        search.index_all(connection)
        connection.exec_driver_sql("ANALYZE")


def rows_of(number: int, rng: random.Random) -> dict[type, list[dict[str, Any]]]:
    """One contact with all that belongs to it."""
    at = NOW - timedelta(minutes=number * 3)
    open_as = (
        {0: State.WAITING, 1: State.AGENT, 2: State.BOT}.get(number % 600 // 200)
        if number % 200 == 0
        else None
    )
    state = open_as or State.CLOSED
    channel = rng.choice(list(Channel))
    names = ("Mina Park", "Jonas Weber", "田中 ゆき", "김민수", "Sofia Rossi")
    texts = [rng.choice(WORDS) for _ in range(4)]
    reason = rng.choice(list(Reason))
    return {
        Contact: [{"id": number, "name": f"{rng.choice(names)} {number}", "created_at": at}],
        Identity: [
            {"id": number, "contact_id": number, "channel": channel, "account": "web", "thread": f"t{number}",
             "created_at": at}
        ],
        Conversation: [
            {"id": number, "contact_id": number, "identity_id": number, "channel": channel, "state": state,
             "agent_id": 1 if state is State.AGENT else None, "handler_id": number % 3 or None,
             "opened_at": at, "last_message_at": at, "closed_at": at if state is State.CLOSED else None,
             "language": ("en", "ko", "ja")[number % 3]}
        ],
        Message: [
            {"public_id": f"{number}-{i}", "conversation_id": number, "text": text, "account": "web",
             "at": at, "author": Author.CUSTOMER if i % 2 == 0 else Author.BOT,
             "reply_no": None if i % 2 == 0 else i // 2 + 1, "handled_at": at}
            for i, text in enumerate(texts)
        ],
        HandOff: [
            {"conversation_id": number, "reason": reason, "at": at,
             "ended_at": at if state is State.CLOSED else None}
        ] if state is not State.BOT else [],
    }  # fmt: skip


def questions() -> Iterator[tuple[str, Callable[[Session, Agent], Any]]]:
    """What the desk asks of the database, by name."""

    def of(
        view: View, filters: Filters | None = None, before: str | None = None
    ) -> Callable[[Session, Agent], Any]:
        return lambda session, agent: stream.listed(session, agent, view, NOW, filters, before)

    for view in View:
        yield view.value, of(view)
    deep = f"{(NOW - timedelta(minutes=3 * 90_000)).isoformat()}_90000"
    yield "all, from the 90,000th", of(View.ALL, before=deep)
    yield "all, one channel and language", of(View.ALL, Filters(channel=Channel.INSTAGRAM, language="ko"))
    yield "all, one reason", of(View.ALL, Filters(reason=Reason.OUTAGE))
    yield "all, one agent", of(View.ALL, Filters(agent=2))
    yield "waiting, one reason", of(View.WAITING, Filters(reason=Reason.EMPATHY))
    for text in ("parcel", "환불", "返品", "불", "living room lamp", "Mina Park 777", "nothing like that"):
        yield f"search {text!r}", of(View.ALL, Filters(text=text))
    yield "counts", lambda session, agent: stream.counts(session, agent, NOW)
    yield "one conversation", lambda session, agent: detail(session, 50_000, agent, NOW)


def main() -> None:
    """Fills, asks each question five times, prints the median in milliseconds and, if asked, the plans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--plans", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(_database_url(given.url or f"sqlite:///{folder}/desk.db"))
        store.migrate()
        with store.read() as session:
            is_empty = session.scalar(sa.select(Agent.id).limit(1)) is None
        if is_empty:
            fill(store, given.conversations)
        for name, ask in questions():
            took, plans = measure(store, ask, given.plans)
            print(f"{name:32} {took:8.1f} ms")
            for plan in plans:
                print(f"      {plan}")
        store.close()


def measure(store: Store, ask: Callable[[Session, Agent], Any], wants_plans: bool) -> tuple[float, list[str]]:
    """The median time of an answer, and the plans of its statements."""
    with store.read() as session:
        agent = session.get_one(Agent, 1)
        times = []
        for _ in range(5):
            session.expunge_all()
            began = time.perf_counter()
            ask(session, agent)
            times.append(1000 * (time.perf_counter() - began))
        statements: list[tuple[str, Any]] = []
        if wants_plans:
            with Heard(store, statements):
                ask(session, agent)
        plans = [line for statement in statements for line in explained(session, *statement)]
    return statistics.median(times), plans


class Heard:
    """Collects the statements that run."""

    def __init__(self, store: Store, into: list[tuple[str, Any]]) -> None:
        self._engine, self._into = store._engine, into

    def _hear(self, _conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self._into.append((statement, parameters))

    def __enter__(self) -> None:
        event.listen(self._engine, "before_cursor_execute", self._hear)

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._hear)


def explained(session: Session, statement: str, parameters: Any) -> list[str]:
    """A statement's plan, a line each."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    prefix = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
    rows = session.connection().exec_driver_sql(f"{prefix} {statement}", parameters).all()
    return [str(row[-1]) for row in rows]


if __name__ == "__main__":
    main()
