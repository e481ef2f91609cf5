"""Reads, and the few writes that more than one module needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, lazyload
from sqlalchemy.orm.attributes import set_committed_value

from bot.domain.errors import Conflict
from bot.domain.words import Author, Channel, Ending, Reason, State, Status, Topic, more_pressing
from bot.store import rows
from bot.store.desk_tables import Act, Deed
from bot.store.tables import Conversation, HandOff, Identity, Message, Part

TAKEN = "a person took the conversation"  # the error of what the bot was kept from sending, as it should be


def replies_used(session: Session, conversation_id: int) -> int:
    """How many of the two replies are spent."""
    return session.scalar(_REPLIES, {"conversation": conversation_id}) or 0


def for_update[T: sa.Select[Any]](query: T, skip_locked: bool = False) -> T:
    """Locks the conversations it finds until the commit (SQLite locks as a whole anyway).

    Nothing is joined in: whoever waits for PostgreSQL's lock is given the new row, but what was joined
    to the old one. `key_share`: a row that refers to the conversation, such as a live event, may be
    written meanwhile; waiting for that would make two writers wait for each other.
    """
    locking = query.with_for_update(of=Conversation, skip_locked=skip_locked, key_share=True)
    return locking.options(lazyload("*")).execution_options(populate_existing=True)


def locked(session: Session, conversation_id: int) -> Conversation | None:
    """A conversation that nobody else changes until the commit."""
    return session.scalar(_LOCKED, {"conversation": conversation_id})


def locked_message(session: Session, message_id: int) -> Message | None:
    """A message that nobody else changes until the commit.

    Its conversation is locked first, as everywhere: two that lock in another order could wait for each
    other.
    """
    conversation_id = session.scalar(sa.select(Message.conversation_id).where(Message.id == message_id))
    if conversation_id is None or locked(session, conversation_id) is None:
        return None
    return session.get(Message, message_id, with_for_update={"of": Message}, populate_existing=True)


def keep_part(session: Session, message: Message, number: int, external_id: str) -> None:
    """Notes the channel's id of a part of a long message, once."""
    if session.get(Part, (message.id, number)) is None:
        kept = unused(session, message.account, external_id)
        if kept:
            session.add(Part(message_id=message.id, number=number, account=message.account, external_id=kept))


def unused(session: Session, account: str, external_id: str) -> str | None:
    """A channel's id of what we sent; None if it has given it to another message already."""
    ours = sa.select(Message.id).where(Message.account == account, Message.external_id == external_id)
    part = sa.select(Part.number).where(Part.account == account, Part.external_id == external_id)
    taken = session.scalar(ours.limit(1)) is not None or session.scalar(part.limit(1)) is not None
    return None if taken else external_id[:255]


def find_identity(session: Session, account: str, thread: str) -> Identity | None:
    """The identity of a channel's user, if they ever wrote."""
    return session.scalar(_IDENTITY, {"account": account, "thread": thread})


def open_conversation(session: Session, identity: Identity) -> Conversation | None:
    """The one open conversation of a contact on a channel."""
    if sa.inspect(identity.contact).pending:
        return None  # a new one
    found = session.scalar(_OPEN[identity.channel], {"contact": identity.contact.id})
    if found and found.identity_id == identity.id:
        set_committed_value(found, "identity", identity)
    return found


def conversation_with(session: Session, identity: Identity) -> Conversation | None:
    """The open conversation that goes to this identity, not to another of the same contact."""
    mine = sa.select(Conversation).where(Conversation.identity_id == identity.id)
    found = session.scalar(for_update(mine.where(Conversation.state != State.CLOSED)))
    if found:
        set_committed_value(found, "identity", identity)
    return found


@contextmanager
def one_open_at_a_time() -> Iterator[None]:
    """A contact's second open conversation on a channel, which the database refuses, is a Conflict.

    The transaction is lost then, and whoever flushes does it within.
    """
    try:
        yield
    except sa.exc.IntegrityError:
        raise Conflict("The customer has written just now. Look at it, then try again.") from None


def open_hand_off(session: Session, conversation_id: int) -> HandOff | None:
    """The hand-off that a person hasn't ended yet."""
    return session.scalar(
        sa.select(HandOff).where(HandOff.conversation_id == conversation_id, HandOff.ended_at.is_(None))
    )


def hand_over(
    session: Session,
    conversation_id: int,
    reason: Reason,
    topic: Topic | None,
    now: datetime,
    cause: tuple[int | None, str | None] = (None, None),
) -> None:
    """Opens a hand-off, or makes the open one more pressing. `cause` is the message that it came from,
    and the words in it, where they are known."""
    found = open_hand_off(session, conversation_id)
    if found is None:
        found = HandOff(conversation_id=conversation_id, reason=reason, topic=topic, at=now)
        found.message_id, found.words = cause
        session.add(found)
        return
    if more_pressing(found.reason, reason) is not found.reason:
        found.reason = reason
        found.message_id, found.words = cause
    found.topic = found.topic or topic


def end_hand_off(session: Session, conversation_id: int, now: datetime) -> None:
    """Ends the open hand-off, if there is one."""
    found = open_hand_off(session, conversation_id)
    if found:
        found.ended_at = now


def close(
    session: Session, conversation: Conversation, now: datetime, ending: Ending = Ending.SETTLED
) -> None:
    """Closes a conversation; `ending` says who decided it."""
    conversation.ending = ending
    conversation.state = State.CLOSED
    conversation.closed_at = now
    conversation.agent_id = None
    conversation.due_at = conversation.snoozed_until = None
    end_hand_off(session, conversation.id, now)


def handle_open_messages(session: Session, conversation_id: int, now: datetime) -> None:
    """A person reads the customer's open messages: there is no turn left for the bot."""
    session.execute(
        sa.update(Message)
        .where(Message.conversation_id == conversation_id, Message.handled_at.is_(None))
        .values(handled_at=now)
    )


def put_off_since(moment: datetime) -> sa.ColumnElement[bool]:
    """Condition on `Conversation`: it is snoozed beyond a moment, or came back after it."""
    came_back = sa.exists().where(
        Act.conversation_id == Conversation.id, Act.deed == Deed.WOKEN, Act.at > moment
    )
    return sa.or_(sa.func.coalesce(Conversation.snoozed_until > moment, sa.false()), came_back)


def reopen_unanswered(session: Session, conversation: Conversation, now: datetime) -> None:
    """Nobody holds it any more: what the customer wrote since they last heard from us is a turn, due now."""
    ours = sa.select(sa.func.max(Message.id)).where(
        Message.conversation_id == conversation.id,
        Message.author.in_((Author.BOT, Author.AGENT)),
        Message.status != Status.FAILED,  # the customer never saw it
    )
    unanswered = sa.select(Message).where(
        Message.conversation_id == conversation.id,
        Message.author == Author.CUSTOMER,
        Message.unsent_at.is_(None),
        Message.id > sa.func.coalesce(ours.scalar_subquery(), 0),
    )
    found = session.scalars(unanswered).all()
    for message in found:
        message.handled_at = None
    if found:
        conversation.due_at, conversation.tries, conversation.failing_since = now, 0, None
        conversation.lease_no += 1  # whoever still decides an earlier turn of it has read other words
        conversation.lease_until = None


def last_author(conversation_id: int | sa.SQLColumnExpression[int]) -> sa.Select[Author]:
    """Selects who wrote last to the customer, or as the customer; notes don't count."""
    return (
        sa.select(Message.author)
        .where(Message.conversation_id == conversation_id, Message.author != Author.NOTE)
        .order_by(Message.id.desc())
        .limit(1)
    )


def bot_is_silenced(message: Message) -> bool:
    """Whether this is the bot's, and a person speaks by now."""
    return message.author is Author.BOT and message.conversation.state is State.AGENT


def queue_again(message: Message) -> None:
    """What is left of it goes out next, unless a person took the conversation while it was on its way."""
    message.next_try_at = None
    if bot_is_silenced(message):
        message.status, message.error = Status.FAILED, TAKEN
    else:
        message.status, message.error = Status.QUEUED, None


def take_back_queued(session: Session, conversation_id: int) -> None:
    """A person speaks now: what the bot still meant to send is not sent."""
    session.execute(
        sa.update(Message)
        .where(
            Message.conversation_id == conversation_id,
            Message.author == Author.BOT,
            Message.status == Status.QUEUED,
        )
        .values(status=Status.FAILED, error=TAKEN)
    )


# What every message asks, made once: to make a statement costs more than SQLite takes to answer it.
_IDENTITY = (
    sa.select(Identity)
    .where(Identity.account == sa.bindparam("account"), Identity.thread == sa.bindparam("thread"))
    .options(joinedload(Identity.contact))
    .execution_options(populate_existing=True)  # filing writes rows, too
)
_LOCKED = for_update(sa.select(Conversation).where(Conversation.id == sa.bindparam("conversation")))
_OPEN = {
    channel: for_update(
        sa.select(Conversation).where(
            Conversation.contact_id == sa.bindparam("contact"),
            Conversation.channel == channel,
            Conversation.state != State.CLOSED,
        )
    )
    for channel in Channel
}


def said_by_us_in(conversation_id: Any) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Selects how many of a conversation's two replies are spent, and which of us the customer heard last."""
    said = rows.table(Message).c
    here = said.conversation_id == conversation_id
    heard = sa.select(said.author).where(
        here,
        said.author.in_((Author.BOT, Author.AGENT)),
        said.status != Status.FAILED,  # the customer never saw it
    )
    count = sa.select(sa.func.count()).where(here, said.reply_no.is_not(None))
    return count, heard.order_by(said.id.desc()).limit(1)


_REPLIES, _ = said_by_us_in(sa.bindparam("conversation"))
