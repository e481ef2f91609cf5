"""The entrance: what a channel delivers is stored first, acknowledged, then filed.

`accept` is one INSERT under a unique key, so a redelivery changes nothing. `file_all` turns items
into messages of a conversation, in the order of their arrival, each exactly once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot import live
from bot.domain.conversation import is_idle
from bot.domain.errors import BadInput
from bot.domain.words import Author, Channel, State, Status
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Contact, Conversation, Identity, InboxItem, Message

BATCH = 100
ID_LENGTH = 200  # an external id longer than this isn't one; the columns hold 255
log = structlog.get_logger()


class Kind(StrEnum):
    """What an inbox item is."""

    MESSAGE = "message"  # payload: text, attachments, button, name, email
    STANDBY = "standby"  # a message that another app or person is answering
    ECHO = "echo"  # payload: text, metadata, ours; what was sent to a customer, by us or another
    THREAD = "thread"  # payload: ours; who owns the thread changed
    OTHER = "other"  # known or not, nothing to do; kept


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

    @property
    def public_id(self) -> str:
        """The id that pages see; the same for a redelivery."""
        return hashlib.blake2b(f"{self.account}\n{self.external_id}".encode(), digest_size=12).hexdigest()


def accept(store: Store, events: Sequence[Incoming], now: datetime) -> set[str]:
    """Stores events that aren't stored yet; returns the public ids of the new ones.

    On return they are on the disk. Raises BadInput if an id is too long, and StoreDown if the database
    can't store them: then nothing was stored, and nothing may be acknowledged.
    """
    for event in events:
        if not 0 < len(event.external_id) <= ID_LENGTH or len(event.thread) > 120:
            raise BadInput("An id is empty or too long.")
    if not events:
        return set()
    rows = [
        {
            "public_id": event.public_id,
            "channel": event.channel,
            "account": event.account,
            "external_id": event.external_id,
            "thread": event.thread,
            "kind": event.kind.value,
            "payload": event.payload,
            "at": event.at,
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
        items = session.scalars(
            sa.select(InboxItem).where(InboxItem.filed_at.is_(None)).order_by(InboxItem.id).limit(BATCH)
        ).all()
        for item in items:
            item.filed_at = now
            try:
                with session.begin_nested():
                    _file(session, item, now, burst, idle)
            except (sa.exc.IntegrityError, sa.exc.DataError, ValueError, KeyError, TypeError) as error:
                log.error("inbox.unfileable", inbox_id=item.id, kind=item.kind, error=type(error).__name__)
                item.error = type(error).__name__
        return len(items)


def _file(session: Session, item: InboxItem, now: datetime, burst: timedelta, idle: timedelta) -> None:
    kind = Kind(item.kind)
    if kind in (Kind.MESSAGE, Kind.STANDBY):
        _file_message(session, item, now, burst, idle)
    elif kind is Kind.ECHO:
        _file_echo(session, item, now, idle)
    elif kind is Kind.THREAD:
        _file_thread(session, item, now)


def _file_message(
    session: Session, item: InboxItem, now: datetime, burst: timedelta, idle: timedelta
) -> None:
    conversation = _conversation(session, item, now, idle)
    if item.kind == Kind.STANDBY and conversation.state is not State.AGENT:
        _held_elsewhere(session, conversation, now)
    held = conversation.state is State.AGENT
    message = _message(item, conversation, Author.CUSTOMER)
    message.attachments = item.payload.get("attachments", [])
    message.pressed = item.payload.get("button")
    message.client_id = item.payload.get("client_id")
    message.handled_at = now if held else None  # a person reads it: there is no turn for the bot
    session.add(message)
    session.flush()
    conversation.last_message_at = now
    conversation.due_at = None if held else now + burst
    live.said(session, conversation, message)


def _file_echo(session: Session, item: InboxItem, now: datetime, idle: timedelta) -> None:
    """Ours settles a send whose answer was lost; another's is a person answering elsewhere."""
    public_id, _, part = (item.payload.get("metadata") or "").partition("/")
    sent = session.scalar(
        sa.select(Message).where(Message.public_id == public_id, Message.account == item.account)
    )
    if sent and not part:
        sent.status = Status.SENT
        sent.sent_at = sent.sent_at or now
        sent.external_id = item.external_id
        live.touched(session, sent.conversation, now)
    if sent or item.payload.get("ours"):
        return
    conversation = _conversation(session, item, now, idle)
    _held_elsewhere(session, conversation, now)
    message = _message(item, conversation, Author.AGENT)
    message.sent_at = item.at
    message.handled_at = now
    session.add(message)
    session.flush()
    conversation.last_message_at = now
    live.said(session, conversation, message)


def _file_thread(session: Session, item: InboxItem, now: datetime) -> None:
    """Another app gave the thread to us, or took it."""
    identity = queries.find_identity(session, item.account, item.thread)
    conversation = queries.open_conversation(session, identity) if identity else None
    if conversation is None:
        return
    if not item.payload.get("ours"):
        _held_elsewhere(session, conversation, now)
    elif conversation.state is State.AGENT and conversation.agent_id is None:
        conversation.state = State.BOT
        live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def _held_elsewhere(session: Session, conversation: Conversation, now: datetime) -> None:
    """A person outside the desk answers: the bot is silent from here."""
    if conversation.state is State.AGENT:
        return
    conversation.state = State.AGENT
    conversation.due_at = None
    queries.take_back_queued(session, conversation.id)
    found = queries.open_hand_off(session, conversation.id)
    if found:
        found.taken_at = found.taken_at or now
    queries.handle_open_messages(session, conversation.id, now)
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def _message(item: InboxItem, conversation: Conversation, author: Author) -> Message:
    return Message(
        public_id=item.public_id,
        conversation_id=conversation.id,
        author=author,
        text=item.payload.get("text") or "",
        account=item.account,
        external_id=item.external_id,
        at=item.at,
    )


def _conversation(session: Session, item: InboxItem, now: datetime, idle: timedelta) -> Conversation:
    """The open conversation of whoever wrote, or a new one with two fresh replies."""
    identity = queries.find_identity(session, item.account, item.thread) or _identity(session, item, now)
    found = queries.open_conversation(session, identity)
    if found and close_if_idle(session, found, now, idle):
        found = None
    if found is None:
        found = Conversation(
            contact=identity.contact,
            identity=identity,
            channel=identity.channel,
            state=State.BOT,
            opened_at=now,
            last_message_at=now,
        )
        session.add(found)
        session.flush()
    return found


def _identity(session: Session, item: InboxItem, now: datetime) -> Identity:
    """A new identity; a customer whom the shop has logged in keeps the contact of their e-mail."""
    email = item.payload.get("email")
    contact = session.scalar(sa.select(Contact).where(Contact.email == email).limit(1)) if email else None
    if contact is None:
        contact = Contact(name=item.payload.get("name"), email=email, created_at=now)
    identity = Identity(
        contact=contact, channel=item.channel, account=item.account, thread=item.thread, created_at=now
    )
    session.add(identity)
    session.flush()
    return identity


def close_if_idle(session: Session, conversation: Conversation, now: datetime, idle: timedelta) -> bool:
    """Closes a conversation that has ended by silence; says whether it did.

    One with a turn that is still due has not.
    """
    if now - conversation.last_message_at < idle or conversation.due_at is not None:
        return False
    answered = queries.spoke_last(session, conversation.id) is Author.AGENT
    if not is_idle(conversation.state, answered, conversation.last_message_at, now, idle):
        return False
    queries.close(session, conversation, now)
    queries.handle_open_messages(session, conversation.id, now)
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
    return True


def close_idle(store: Store, now: datetime, idle: timedelta) -> int:
    """Closes every conversation that has ended by silence; returns how many of them."""
    last = (
        sa.select(Message.author)
        .where(Message.conversation_id == Conversation.id, Message.author != Author.NOTE)
        .order_by(Message.id.desc())
        .limit(1)
        .scalar_subquery()
    )
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
