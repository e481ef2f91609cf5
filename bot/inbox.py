"""The entrance: what a channel delivers is stored first, acknowledged, then filed.

`accept` is one INSERT under a unique key, so a redelivery changes nothing. `file_all` turns items
into messages of a conversation, in the order of their arrival, each exactly once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot.domain.errors import BadInput
from bot.domain.words import Author, Channel, State
from bot.filing import Kind, Times, close_if_idle, file_item
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Conversation, InboxItem

BATCH = 100
AHEAD = timedelta(days=1)  # an event from further ahead would count as the latest for as long
ID_LENGTH = 200  # of an external id; the columns hold 255
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


def accept(store: Store, events: Sequence[Incoming], now: datetime) -> set[str]:
    """Stores events that aren't stored yet; returns the public ids of the new ones.

    On return they are on the disk. Raises BadInput if an id is too long, and StoreDown if the database
    can't store them: then nothing was stored, and nothing may be acknowledged.
    """
    for event in events:
        ids = (event.external_id, event.about or event.external_id)
        if not all(0 < len(one) <= ID_LENGTH for one in ids) or len(event.thread) > 120:
            raise BadInput("An id is empty or too long.")
    if not events:
        return set()
    rows = [
        {
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
        for event in events
    ]
    insert = sqlite.insert if store.is_sqlite else postgresql.insert
    with store.unit_of_work() as session:
        statement = insert(InboxItem).on_conflict_do_nothing().returning(InboxItem.public_id)
        return set(session.scalars(statement, rows))


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
            session.execute(sa.text("SELECT pg_advisory_xact_lock(7203)"))
        items = _next(session)
        for item in items:
            item.filed_at = now
            try:
                with session.begin_nested():
                    file_item(session, item, Times(now, burst, idle))
            except (sa.exc.IntegrityError, sa.exc.DataError, ValueError, KeyError, TypeError) as error:
                log.error("inbox.unfileable", inbox_id=item.id, kind=item.kind, error=type(error).__name__)
                item.error = type(error).__name__
        return len(items)


def _next(session: Session) -> Sequence[InboxItem]:
    """What is filed in one transaction: the oldest, up to the first that changes an account.

    PostgreSQL locks row by row. Only filing holds the conversations of several customers; everybody else
    holds one, and after it at most its account. So filing must not hold an account and go on to a
    conversation: it would wait in a circle with a worker that settles a send there.
    """
    query = sa.select(InboxItem).where(InboxItem.filed_at.is_(None)).order_by(InboxItem.id).limit(BATCH)
    items = session.scalars(query).all()
    alone = next((place for place, item in enumerate(items) if item.kind == Kind.POLICY), len(items))
    return items[: max(alone, 1)]


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
            )
            .limit(BATCH)
        )
        found = session.scalars(queries.for_update(silent, skip_locked=True)).all()
        return sum(close_if_idle(session, conversation, now, idle) for conversation in found)
