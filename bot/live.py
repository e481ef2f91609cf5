"""Live events: written with the change they tell of, streamed to whoever may see them.

A page that resumes from the last event id it saw gets everything since, in order; applying the
events gives the same as fetching anew.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot.bell import Bell
from bot.domain.errors import StoreDown
from bot.domain.rule import MAX_REPLIES
from bot.domain.words import Author
from bot.store.engine import Store
from bot.store.news import add_event, late_events
from bot.store.tables import Conversation, Event, Identity, Message

POLL_SECONDS = 0.5  # how soon a commit of another process is seen; our own wake us at once
BATCH = 500
BACKLOG = 200  # events that are kept for a page that reads slowly; beyond, it looks into the table


_SINCE = (
    sa.select(Event.id, Event.stream, Event.conversation_id, Event.kind, Event.payload)
    .where(Event.id > sa.bindparam("after"))
    .order_by(Event.id)
    .limit(BATCH)
)
_SINCE_HERE = _SINCE.where(Event.stream == sa.bindparam("stream"))


class Kind(StrEnum):
    """What an event tells of. `DESK` never reaches a customer."""

    MESSAGE = "message"
    STATUS = "status"
    DESK = "desk"


@dataclass(frozen=True)
class Happened:
    """One event as a page gets it."""

    id: int
    stream: str
    conversation_id: int
    kind: Kind
    payload: dict[str, Any]


def stream_of(account: str, thread: str) -> str:
    """The name of one customer's stream."""
    return f"{account}/{thread}"


_SHOWN = ("public_id", "client_id", "author", "text", "buttons", "at")


def message_view(message: Message) -> dict[str, Any]:
    """A message as its customer sees it."""
    row = {name: getattr(message, name) for name in _SHOWN}
    return row_view(row, message.agent.name if message.agent else None)


def row_view(row: Mapping[str, Any], name: str | None = None) -> dict[str, Any]:
    """As `message_view`, of the row's columns; `name` is the agent's who wrote it."""
    return {
        "id": row["public_id"],
        "client_id": row["client_id"] if row["author"] is Author.CUSTOMER else None,
        "author": row["author"].value,
        "name": name,
        "text": row["text"],
        "buttons": row["buttons"],
        "at": row["at"].isoformat(),
    }


def status_view(conversation: Conversation, replies_used: int) -> dict[str, Any]:
    """A conversation's state as its customer sees it."""
    return {
        "state": conversation.state.value,
        "replies_left": MAX_REPLIES - replies_used,
        "agent": conversation.agent.name if conversation.agent else None,
    }


def said(session: Session, conversation: Conversation, message: Message) -> None:
    """Tells of a message; a note is the desk's alone."""
    kind = Kind.DESK if message.author is Author.NOTE else Kind.MESSAGE
    _record(session, conversation, kind, message_view(message), message.at)


def changed(session: Session, conversation: Conversation, replies_used: int, now: datetime) -> None:
    """Tells of a new state, holder or count."""
    _record(session, conversation, Kind.STATUS, status_view(conversation, replies_used), now)


def touched(session: Session, conversation: Conversation, now: datetime) -> None:
    """Tells the desk alone that something about a conversation is new."""
    _record(session, conversation, Kind.DESK, {}, now)


def forget(session: Session, message: Message) -> None:
    """Takes a message's words out of what was told of it, and of what this transaction is about to tell."""
    for values in late_events(session):
        if values["payload"].get("id") == message.public_id:
            values["payload"]["text"] = ""
    identity: Identity = message.conversation.identity
    told = sa.select(Event).where(
        Event.stream == stream_of(identity.account, identity.thread),
        Event.payload["id"].as_string() == message.public_id,
    )
    for happened in session.scalars(told):
        happened.payload = {**happened.payload, "text": ""}


def _record(
    session: Session, conversation: Conversation, kind: Kind, payload: dict[str, Any], at: datetime
) -> None:
    identity: Identity = conversation.identity
    tell(session, stream_of(identity.account, identity.thread), conversation.id, kind, payload, at)


def tell(
    session: Session, stream: str, conversation_id: int, kind: Kind, payload: dict[str, Any], at: datetime
) -> None:
    """Tells whoever may see a stream what happened in a conversation."""
    values = {"stream": stream, "conversation_id": conversation_id, "kind": kind.value}
    add_event(session, {**values, "payload": payload, "at": at})


def newest(store: Store) -> int:
    """The id of the newest event; 0 if there is none."""
    with store.read() as session:
        return session.scalar(sa.select(sa.func.max(Event.id))) or 0


def cursor(store: Store, last_event_id: str, after: int | None) -> int:
    """Where a stream goes on: at `Last-Event-ID` if it is one of ours, else `after`, else from now on."""
    if last_event_id.isascii() and last_event_id.isdigit():
        after = int(last_event_id)
    return newest(store) if after is None else min(after, 2**62)


def has_gap(store: Store, after: int) -> bool:
    """Whether events after an id aren't kept any more: a page that goes on from there needs all anew."""
    with store.read() as session:
        oldest = session.scalar(sa.select(sa.func.min(Event.id)))
    return after > 0 and oldest is not None and after + 1 < oldest


def since(store: Store, after: int, stream: str | None = None) -> list[Happened]:
    """Up to `BATCH` events after an id, oldest first, of one stream or of all."""
    query = _SINCE if stream is None else _SINCE_HERE
    with store.read() as session:
        return [
            Happened(event_id, its, conversation_id, Kind(kind), payload)
            for event_id, its, conversation_id, kind, payload in session.execute(
                query, {"after": after, "stream": stream}
            )
        ]


class Follower:
    """What happened and one page wasn't told yet. One that is too slow is told less, and then looks."""

    def __init__(self) -> None:
        self.is_behind = False  # more happened than it was kept for
        self._waiting: deque[Happened] = deque()
        self._news = asyncio.Event()

    def take(self, happened: Happened) -> None:
        """Called by the hub."""
        if self.is_behind or len(self._waiting) >= BACKLOG:
            self.is_behind = True  # nothing more until the page has looked: a gap would be passed over
        else:
            self._waiting.append(happened)
        self._news.set()

    async def next(self) -> Happened | None:
        """The next that happened; None when the page has to look what it missed."""
        while not self._waiting:
            if self.is_behind:
                self.is_behind = False
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Hub:
    """Reads new events once per process and hands each to the pages that may see it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: defaultdict[str | None, set[Follower]] = defaultdict(set)  # by stream; None: all
        self._news = Bell()

    def wake(self) -> None:
        """Looks for new events now. Safe from any thread."""
        self._news.ring()

    async def run(self) -> None:
        """Runs until cancelled."""
        self._news.hang()
        last = await run_in_threadpool(newest, self._store)
        fresh: list[Happened] = []
        while True:
            if len(fresh) < BATCH:
                await self._news.wait(POLL_SECONDS)
            try:
                fresh = await run_in_threadpool(since, self._store, last)
            except StoreDown:
                continue  # the database is away for a moment: the next look gets them
            for happened in fresh:
                last = happened.id
                for stream in (happened.stream, None):
                    for follower in self._followers.get(stream, ()):
                        follower.take(happened)

    async def follow(self, after: int, stream: str | None = None) -> AsyncIterator[Happened]:
        """Every event after an id as it happens, of one stream or (None) of all."""
        with self._listening(stream) as follower:
            while True:
                while fresh := await run_in_threadpool(since, self._store, after, stream):
                    for happened in fresh:
                        yield happened
                        after = happened.id
                    if len(fresh) < BATCH:
                        break  # what has happened meanwhile comes from the hub
                while told := await follower.next():
                    if told.id > after:
                        after = told.id
                        yield told

    @contextmanager
    def _listening(self, stream: str | None) -> Iterator[Follower]:
        follower = Follower()
        self._followers[stream].add(follower)
        try:
            yield follower
        finally:
            self._followers[stream].discard(follower)
            if not self._followers[stream]:
                del self._followers[stream]
