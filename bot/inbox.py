"""The entrance: what a channel delivers is stored first, acknowledged, then filed.

`accept` is one INSERT under a unique key, so a redelivery changes nothing. `file_all` turns items
into messages of a conversation, in the order of their arrival, each exactly once. `take_in` does both
in one transaction for a message that comes alone, and `Intake` stores in one what arrives together.
"""

import asyncio
import hashlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot.domain.errors import BadInput, Conflict, NotFound, StoreDown
from bot.domain.words import Author, Channel, State
from bot.filing import Kind, Times, close_if_idle, file_item
from bot.store import news, queries, rows
from bot.store.engine import LOCK_SECONDS, Store
from bot.store.news import News, Work
from bot.store.tables import Conversation, Identity, InboxItem, Message

# Items of one transaction: a message that comes meanwhile waits for it to be acknowledged.
BATCH = 4
SHORT_LOCK_SECONDS = 1  # a message that would wait longer to be filed is stored, and filed later
ONE_BATCH = "SELECT pg_advisory_xact_lock(7203)"  # one at a time files what was only stored
AHEAD = timedelta(days=1)  # an event from further ahead would count as the latest for as long
UNFILEABLE = (
    *(sa.exc.IntegrityError, sa.exc.DataError, ValueError, KeyError, TypeError),
    *(BadInput, Conflict, NotFound),
)
MOMENT_SECONDS = 0.25
FLOOD = 50  # webhooks within a moment: 200 a second, more than one machine answers
ID_LENGTH = 200  # of an external id; the columns hold 255
_ITEMS = rows.table(InboxItem)
_UNFILED = (
    sa.select(_ITEMS.c.id)
    .where(
        _ITEMS.c.account == sa.bindparam("account"),
        _ITEMS.c.thread == sa.bindparam("thread"),
        _ITEMS.c.filed_at.is_(None),
    )
    .limit(1)
)
log = structlog.get_logger()


@dataclass(frozen=True)
class Incoming:
    """One event from a channel. `external_id` is unique in its account; `at` is the channel's time."""

    channel: Channel
    account: str
    thread: str
    external_id: str
    kind: Kind
    payload: dict[str, Any]
    at: datetime
    about: str | None = None  # the external id of the message that this changes

    @property
    def public_id(self) -> str:
        """The id that pages see; the same for a redelivery."""
        return hashlib.blake2b(f"{self.account}\n{self.external_id}".encode(), digest_size=12).hexdigest()


def kept_id(value: object) -> str:
    """A channel's id of a message as we keep it; empty if it is none.

    One that is too long to be kept is known by its fingerprint.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    named = str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return named if len(named) <= ID_LENGTH else "sha256:" + hashlib.sha256(named.encode()).hexdigest()


def check(events: Sequence[Incoming]) -> None:
    """Raises BadInput if an id is empty or too long."""
    for event in events:
        ids = (event.external_id, event.about or event.external_id)
        if not all(0 < len(one) <= ID_LENGTH for one in ids) or len(event.thread) > 120:
            raise BadInput("An id is empty or too long.")


def accept(store: Store, events: Sequence[Incoming], now: datetime) -> set[str]:
    """Stores events that aren't stored yet; returns the public ids of the new ones.

    On return they are on the disk. Raises BadInput if an id is too long, and StoreDown if the database
    can't store them: then nothing was stored, and nothing may be acknowledged.
    """
    check(events)
    if not events:
        return set()
    with store.unit_of_work(urgent=True) as session:
        news.tell(session, News(Work.INBOX))
        statement = _insert(store).returning(_ITEMS.c.public_id)
        return set(session.scalars(statement, [_row(event, now) for event in events]))


def take_in(store: Store, event: Incoming, times: Times) -> set[str]:
    """`accept` and file in one transaction: for a message of a customer whose others are filed.

    What can't be filed here and now is stored all the same, for `file_all`. Raises as `accept` does.
    """
    check([event])
    try:
        with store.unit_of_work(urgent=True) as session:
            if not store.is_sqlite:
                _queue_up(session, event.account, event.thread, f"{SHORT_LOCK_SECONDS}s")
            if _has_unfiled(session, event.account, event.thread):
                raise NotNow
            row = _row(event, times.now) | {"filed_at": times.now}
            item_id = session.scalar(_insert(store).returning(_ITEMS.c.id), row)
            if item_id is None:
                return set()
            file_item(session, InboxItem(**row, id=item_id), times)
            return {event.public_id}
    except (NotNow, *UNFILEABLE) as reason:
        log.debug("inbox.later", reason=type(reason).__name__)
    except StoreDown:
        if store.is_sqlite:
            raise
    return accept(store, [event], times.now)


class NotNow(Exception):
    """Something of this customer waits to be filed first."""


def _insert(store: Store) -> sqlite.Insert | postgresql.Insert:
    insert = sqlite.insert if store.is_sqlite else postgresql.insert
    return insert(_ITEMS).on_conflict_do_nothing()


def _row(event: Incoming, now: datetime) -> dict[str, Any]:
    return {
        "public_id": event.public_id,
        "channel": event.channel,
        "account": event.account,
        "external_id": event.external_id,
        "about": event.about,
        "thread": event.thread,
        "kind": event.kind.value,
        "payload": event.payload,
        "at": min(event.at, now + AHEAD),
        "received_at": now,
    }


def _queue_up(session: Session, account: str, thread: str, lock_timeout: str) -> None:
    """On PostgreSQL one files for a customer at a time: two would both open a conversation."""
    session.execute(
        sa.text(
            "SELECT set_config('lock_timeout', :wait, true), pg_advisory_xact_lock(7204, hashtext(:who))"
        ),
        {"wait": lock_timeout, "who": f"{account}/{thread}"},
    )


def hold_filing(session: Session, contact_ids: Sequence[int]) -> None:
    """Until the commit nothing is filed for these contacts: whoever moves or reopens their conversations
    sees all of them. To be called before anything else is locked.

    Nobody files a batch meanwhile either: it holds several customers, in another order than this.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    session.execute(sa.text(ONE_BATCH))
    theirs = sa.select(Identity.account, Identity.thread).where(Identity.contact_id.in_(contact_ids))
    for account, thread in session.execute(theirs.order_by(Identity.id)).all():
        _queue_up(session, account, thread, f"{LOCK_SECONDS}s")


def _has_unfiled(session: Session, account: str, thread: str) -> bool:
    return session.scalar(_UNFILED, {"account": account, "thread": thread}) is not None


class Intake:
    """Takes what channels deliver. What arrives while one transaction runs shares the next: under load
    many acknowledgements cost one wait for the disk, and nobody's message waits for another's filing."""

    def __init__(self, store: Store, times: Callable[[], Times]) -> None:
        self._store, self._times = store, times
        self._waiting: list[tuple[Sequence[Incoming], asyncio.Future[set[str]]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._lately: deque[float] = deque(maxlen=FLOOD)  # when the last ones came

    async def take(self, events: Sequence[Incoming]) -> set[str]:
        """As `accept`; on return they are on the disk."""
        check(events)
        if not events:
            return set()
        loop = asyncio.get_running_loop()
        self._lately.append(loop.time())
        taken: asyncio.Future[set[str]] = loop.create_future()
        self._waiting.append((events, taken))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await taken

    async def calm(self) -> None:
        """Waits while messages are being taken in, for a moment at most. Whoever works on what is here
        already lets them through first: a channel gives up on an entrance that is slow. In a flood, which
        no worker can keep up with anyway, each works once in a moment."""
        came = self._lately[0] if len(self._lately) == FLOOD else -math.inf
        if asyncio.get_running_loop().time() - came < MOMENT_SECONDS:
            await asyncio.sleep(random.uniform(0.5, 1.5) * MOMENT_SECONDS)  # noqa: S311 (not all at once)
        elif self._draining:
            await asyncio.wait((self._draining,), timeout=MOMENT_SECONDS)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                results: list[set[str] | Exception]
                try:
                    results = await run_in_threadpool(self._store_all, [events for events, _ in batch])
                except Exception as error:  # there was no thread for it: whoever waits is told
                    results = [error] * len(batch)
                for (_, taken), result in zip(batch, results, strict=True):
                    if taken.done():
                        continue  # the caller hung up; its message is stored all the same
                    if isinstance(result, Exception):
                        taken.set_exception(result)
                    else:
                        taken.set_result(result)
        finally:
            self._draining = None

    def _store_all(self, batch: list[Sequence[Incoming]]) -> list[set[str] | Exception]:
        """Together; if that fails each alone, so that one that can't be stored fails nobody else's."""
        if len(batch) == 1:
            return [self._store_one(batch[0])]
        try:
            fresh = accept(self._store, [event for events in batch for event in events], self._times().now)
        except Exception:  # each gets its own below
            return [self._store_one(events) for events in batch]
        return [_first(fresh, events) for events in batch]

    def _store_one(self, events: Sequence[Incoming]) -> set[str] | Exception:
        try:
            times = self._times()
            if len(events) == 1 and events[0].kind is Kind.MESSAGE:
                return take_in(self._store, events[0], times)
            return accept(self._store, events, times.now)
        except Exception as error:
            return error


def _first(fresh: set[str], events: Sequence[Incoming]) -> set[str]:
    """Which of them are new; the same message posted twice at once is new for the first alone."""
    mine = fresh & {event.public_id for event in events}
    fresh -= mine
    return mine


def unfiled(session: Session, account: str, thread: str) -> Sequence[InboxItem]:
    """A customer's accepted messages that aren't part of a conversation yet."""
    return session.scalars(
        sa.select(InboxItem)
        .where(
            InboxItem.account == account,
            InboxItem.thread == thread,
            InboxItem.filed_at.is_(None),
            InboxItem.kind == Kind.MESSAGE,
        )
        .order_by(InboxItem.id)
    ).all()


def file_all(store: Store, now: datetime, burst: timedelta, idle: timedelta) -> int:
    """Files what has arrived; returns how many items it filed (call again while it isn't 0).

    One caller at a time files, so a customer's messages keep their order. An item that can't be
    filed is kept with its error and holds nobody up.
    """
    waiting = sa.select(InboxItem.id).where(InboxItem.filed_at.is_(None)).limit(1)
    with store.read() as session:  # an idle look only reads
        if session.scalar(waiting) is None:
            return 0
    with store.unit_of_work() as session:
        if not store.is_sqlite:  # SQLite has one writer anyway
            session.execute(sa.text(ONE_BATCH))
        items, times = _next(session), Times(now, burst, idle)
        for item in items:
            item.filed_at = now
            if not store.is_sqlite:
                _queue_up(session, item.account, item.thread, f"{LOCK_SECONDS}s")
        try:
            with session.begin_nested():
                for item in items:
                    file_item(session, item, times)
        except UNFILEABLE:
            for item in items:
                _file_alone(session, item, times)
        return len(items)


def _file_alone(session: Session, item: InboxItem, times: Times) -> None:
    """One of several among which is one that can't be filed."""
    try:
        _file(session, item, times)
    except UNFILEABLE as error:
        if _was_filed(session, item):
            return
        log.error("inbox.unfileable", inbox_id=item.id, kind=item.kind, error=type(error).__name__)
        item.error = type(error).__name__


def _file(session: Session, item: InboxItem, times: Times) -> None:
    """Once more where a commit came between the look and the row: the desk may have reopened one."""
    try:
        with session.begin_nested():
            file_item(session, item, times)
    except sa.exc.IntegrityError:
        with session.begin_nested():
            file_item(session, item, times)


def _next(session: Session) -> Sequence[InboxItem]:
    """What is filed in one transaction: the oldest, up to the first that changes an account.

    PostgreSQL locks row by row. Whoever else holds conversations of several customers skips those that are
    locked, or has filing wait (`hold_filing`); a worker that settles a send holds one, and after it its
    account. So filing must not hold an account and go on to a conversation: they would wait in a circle.
    """
    query = sa.select(InboxItem).where(InboxItem.filed_at.is_(None)).order_by(InboxItem.id).limit(BATCH)
    items = session.scalars(query).all()
    alone = next((place for place, item in enumerate(items) if item.kind == Kind.POLICY), len(items))
    return items[: max(alone, 1)]


def _was_filed(session: Session, item: InboxItem) -> bool:
    """Whether it is a message that we have: repeated so late that its inbox item is gone."""
    mine = sa.select(Message.id).where(
        Message.account == item.account, Message.external_id == item.external_id
    )
    return session.scalar(mine) is not None


def close_idle(store: Store, now: datetime, idle: timedelta) -> int:
    """Closes every conversation that has ended by silence; returns how many of them."""
    last = queries.last_author(Conversation.id).scalar_subquery()
    agent_spoke_last = sa.and_(Conversation.state == State.AGENT, last == Author.AGENT)
    with store.unit_of_work() as session:
        silent = (
            sa.select(Conversation)
            .where(
                sa.or_(Conversation.state == State.BOT, agent_spoke_last),
                Conversation.last_message_at <= now - idle,
                Conversation.due_at.is_(None),
                ~queries.put_off_since(now - idle),
            )
            .limit(BATCH)
        )
        found = session.scalars(queries.for_update(silent, skip_locked=True)).all()
        return sum(close_if_idle(session, conversation, now, idle) for conversation in found)
