"""Live events: written with the change they tell of, streamed to whoever may see them.

A page that resumes from the last event id it saw gets everything since, in order; applying the
events gives the same as fetching anew.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot.bell import Bell, call_on
from bot.domain.errors import StoreDown
from bot.domain.rule import MAX_REPLIES
from bot.domain.words import Author, State
from bot.store.engine import Store
from bot.store.news import add_event, late_events
from bot.store.tables import Conversation, Event, Identity, Message

BATCH = 500
BACKLOG = 200  # events that are kept for a page that reads slowly; beyond, it looks into the table


_event = Event.__table__.c  # columns, and the payload as it is written: a page is sent it as it is
_SINCE = (
    sa.select(_event.id, _event.stream, _event.conversation_id, _event.kind, sa.cast(_event.payload, sa.Text))
    .where(_event.id > sa.bindparam("after"))
    .order_by(_event.id)
    .limit(BATCH)
)
_SINCE_HERE = _SINCE.where(_event.stream == sa.bindparam("stream"))
_NEWEST = sa.select(sa.func.max(_event.id))
_OLDEST = sa.select(sa.func.min(_event.id))


class Kind(StrEnum):
    """What an event tells of. `DESK` never reaches a customer."""

    MESSAGE = "message"
    STATUS = "status"
    DESK = "desk"


@dataclass(frozen=True)
class Happened:
    """One event as a page gets it. `told` is its payload, in JSON."""

    id: int
    stream: str
    conversation_id: int
    kind: Kind
    told: str

    @cached_property
    def payload(self) -> dict[str, Any]:
        """What happened, for whoever doesn't just pass it on."""
        payload: dict[str, Any] = json.loads(self.told)
        return payload


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
    return state_view(
        conversation.state, replies_used, conversation.agent.name if conversation.agent else None
    )


def state_view(state: State, replies_used: int, agent: str | None = None) -> dict[str, Any]:
    """As `status_view`; `agent` is the name of who holds it."""
    return {"state": state.value, "replies_left": MAX_REPLIES - replies_used, "agent": agent}


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


def newest(session: Session) -> int:
    """The id of the newest event; 0 if there is none."""
    return session.scalar(_NEWEST) or 0


def position(last_event_id: str, after: int | None) -> int | None:
    """Where a stream goes on: at `Last-Event-ID` if it is one of ours, else `after`; None: from now on."""
    if last_event_id.isascii() and last_event_id.isdigit():
        after = int(last_event_id)
    return after if after is None else min(after, 2**62)


def has_gap(session: Session, after: int) -> bool:
    """Whether events after an id aren't kept any more: a page that goes on from there needs all anew."""
    oldest = session.scalar(_OLDEST) if after > 0 else None
    return oldest is not None and after + 1 < oldest


def since(session: Session, after: int, stream: str | None = None) -> list[Happened]:
    """Up to `BATCH` events after an id, oldest first, of one stream or of all."""
    found = (
        session.execute(_SINCE, {"after": after})
        if stream is None
        else session.execute(_SINCE_HERE, {"after": after, "stream": stream})
    )
    return [
        Happened(event_id, its, conversation_id, Kind(kind), told)
        for event_id, its, conversation_id, kind, told in found
    ]


class Follower:
    """What happened and one page wasn't told yet. One that is too slow is told less, and then looks."""

    def __init__(self) -> None:
        self.is_behind = False  # more happened than it was kept for
        self.has_left = False
        self._waiting: list[Happened] = []
        self._news = asyncio.Event()

    def take(self, happened: Happened) -> None:
        """Called by the hub."""
        if self.is_behind or len(self._waiting) >= BACKLOG:
            self.is_behind = True  # nothing more until the page has looked: a gap would be passed over
        else:
            self._waiting.append(happened)
        self._news.set()

    def leave(self) -> None:
        """Ends what the page is told: it is closed, or the server ends."""
        self.has_left = True
        self._news.set()

    async def next(self, quiet: float | None = None) -> list[Happened] | None:
        """All that happened meanwhile, once something has, or nothing after so many seconds.

        None when the page has to look what it missed, or has left.
        """
        try:
            async with asyncio.timeout(quiet):
                while not (self._waiting or self.is_behind or self.has_left):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        if not self._waiting or self.has_left:
            self.is_behind = False
            return None
        happened, self._waiting = self._waiting, []
        return happened


class Hub:
    """Hands each event to the pages that may see it: this process's own as they are committed, those of
    others as they are read, once per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: defaultdict[str | None, set[Follower]] = defaultdict(set)  # by stream; None: all
        self._news = Bell()
        self._last: int | None = None  # what has been handed out; None: nobody follows, nobody looks
        self._setting_out = asyncio.Lock()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Looks for new events now. Safe from any thread."""
        self._news.ring()

    def hand(self, happened: list[tuple[int, dict[str, Any]]]) -> None:
        """Takes what a commit of this process told, so that nobody has to look. Safe from any thread."""
        call_on(self._loop, self._hand_out, happened)

    def _hand_out(self, happened: list[tuple[int, dict[str, Any]]]) -> None:
        """What follows the last event is handed out; where another is missing, everybody's are looked for."""
        if self._last is None or happened[-1][0] <= self._last:
            return
        if happened[0][0] != self._last + 1:
            self._news.ring()
            return
        for event_id, row in happened:
            self._last = event_id
            stream = row["stream"]
            if stream in self._followers or None in self._followers:
                told = json.dumps(row["payload"])
                self._tell(Happened(event_id, stream, row["conversation_id"], Kind(row["kind"]), told))

    def _tell(self, happened: Happened) -> None:
        for stream in (happened.stream, None):
            for follower in self._followers.get(stream, ()):
                follower.take(happened)

    def seen(self, newest_event: int) -> None:
        """Looks if this is news: for what another process committed. Called on the event loop."""
        if self._last is not None and newest_event > self._last:
            self._news.ring()

    def close(self) -> None:
        """Ends every stream: the server ends."""
        self._is_closed = True
        for followers in self._followers.values():
            for follower in followers:
                follower.leave()

    async def run(self) -> None:
        """Runs until cancelled."""
        self._news.hang()
        self._loop = asyncio.get_running_loop()
        fresh: list[Happened] = []
        while True:
            if len(fresh) < BATCH:
                await self._news.wait()
            if not self._followers:
                self._last = None
                continue
            try:
                last = await self._set_out()
                fresh = await run_in_threadpool(self._since, last)
            except StoreDown:  # for a moment: the next look gets them
                fresh = []
                continue
            for happened in fresh:
                if self._last is not None and happened.id > self._last:  # else it was handed out meanwhile
                    self._last = happened.id
                    self._tell(happened)

    async def _set_out(self) -> int:
        """Where the next look begins: now, if nobody has followed. Raises StoreDown."""
        if self._last is None:
            async with self._setting_out:
                if self._last is None:
                    self._last = await run_in_threadpool(self.newest)
        return self._last

    def newest(self) -> int:
        """The id of the newest event. Raises StoreDown."""
        with self._store.read() as session:
            return newest(session)

    def _since(self, after: int, stream: str | None = None) -> list[Happened]:
        with self._store.read() as session:
            return since(session, after, stream)

    async def follow(
        self, after: int, stream: str | None = None, page: Follower | None = None, quiet: float | None = None
    ) -> AsyncGenerator[list[Happened]]:
        """Every event after an id as it happens, of one stream or (None) of all.

        What has happened meanwhile comes together, and nothing after so many seconds of quiet. It ends when
        the `page` leaves or the server ends. Raises StoreDown.
        """
        page = page or Follower()
        async with self.listening(page, stream):
            page.is_behind = True  # until it has looked what there is
            async for happened in self.told(page, after, stream, quiet):
                yield happened

    async def told(
        self, page: Follower, after: int, stream: str | None, quiet: float | None
    ) -> AsyncGenerator[list[Happened]]:
        """See `follow`: for a page that listens already."""
        while not page.has_left:
            happened = await page.next(quiet)
            while happened is None and not page.has_left:  # it looks
                missed = await run_in_threadpool(self._since, after, stream)
                if missed:
                    after = missed[-1].id
                    yield missed
                if len(missed) < BATCH:
                    break  # what has happened meanwhile comes from the hub
            if happened is None:
                continue
            news = [one for one in happened if one.id > after]
            if news:
                after = news[-1].id
            if news or not happened:
                yield news

    @asynccontextmanager
    async def listening(self, page: Follower, stream: str | None) -> AsyncIterator[None]:
        """Meanwhile the page is handed what happens; what had happened before it has to look for itself.

        Raises StoreDown.
        """
        self._followers[stream].add(page)
        try:
            if self._is_closed:
                page.leave()
            await self._set_out()
            yield
        finally:
            self._followers[stream].discard(page)
            if not self._followers[stream]:
                del self._followers[stream]
