"""Live events: written with the change they tell of, streamed to whoever may see them.

A page that resumes from the last event id it saw gets everything since, in order; applying the
events gives the same as fetching anew.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
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
from bot.store.news import add_event
from bot.store.tables import Conversation, Event, Identity, Message

POLL_SECONDS = 0.5  # how soon a commit of another process is seen; our own wake us at once
BATCH = 500


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


def message_view(message: Message) -> dict[str, Any]:
    """A message as its customer sees it."""
    return {
        "id": message.public_id,
        "client_id": message.client_id if message.author is Author.CUSTOMER else None,
        "author": message.author.value,
        "name": message.agent.name if message.agent else None,
        "text": message.text,
        "buttons": message.buttons,
        "at": message.at.isoformat(),
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


def _record(
    session: Session, conversation: Conversation, kind: Kind, payload: dict[str, Any], at: datetime
) -> None:
    identity: Identity = conversation.identity
    add_event(
        session,
        {
            "stream": stream_of(identity.account, identity.thread),
            "conversation_id": conversation.id,
            "kind": kind.value,
            "payload": payload,
            "at": at,
        },
    )


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
    query = sa.select(Event).where(Event.id > after).order_by(Event.id).limit(BATCH)
    if stream is not None:
        query = query.where(Event.stream == stream)
    with store.read() as session:
        return [
            Happened(e.id, e.stream, e.conversation_id, Kind(e.kind), e.payload)
            for e in session.scalars(query)
        ]


class Hub:
    """Reads new events once per process and hands them to every open page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queues: dict[asyncio.Queue[Happened], str | None] = {}
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
                for queue, stream in self._queues.items():
                    if stream in (None, happened.stream):
                        queue.put_nowait(happened)

    async def follow(self, after: int, stream: str | None = None) -> AsyncIterator[Happened]:
        """Every event after an id as it happens, of one stream or (None) of all."""
        with self._listening(stream) as queue:
            while fresh := await run_in_threadpool(since, self._store, after, stream):
                for happened in fresh:
                    yield happened
                    after = happened.id
            while True:
                happened = await queue.get()
                if happened.id > after:
                    after = happened.id
                    yield happened

    @contextmanager
    def _listening(self, stream: str | None) -> Iterator[asyncio.Queue[Happened]]:
        queue: asyncio.Queue[Happened] = asyncio.Queue()
        self._queues[queue] = stream
        try:
            yield queue
        finally:
            del self._queues[queue]
