"""Sending what is queued, in order, each message once.

    queued ──► sending ──► sent | failed | unknown

A row is marked `sending` before Meta is asked, so a crash in between leaves a row that may have been
sent: it becomes `unknown`, and only its echo settles it. Nothing is ever sent again blindly.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, aliased
from starlette.concurrency import run_in_threadpool

from bot import live
from bot.channels.messenger import Graph, Outcome, split
from bot.domain.words import Author, Channel, State, Status
from bot.services import Services
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Conversation, Identity, Message

PATIENCE = timedelta(minutes=3)  # longer than the longest text's parts take: its sender is gone
HOLD_BACK = timedelta(minutes=2)  # how long an `unknown` message holds back the ones after it
RETRY_FIRST = timedelta(seconds=2)
RETRY_MOST = timedelta(minutes=5)
GIVE_UP = 20  # tries; about an hour and a half
HALTED = timedelta(minutes=1)  # how often a Page with a bad token is tried again
LONGEST = timedelta(minutes=10)  # no time in the outbox is set further ahead: the clock was set back
OUTBOX = (Status.QUEUED, Status.SENDING)
log = structlog.get_logger()


@dataclass(frozen=True)
class Parcel:
    """One message on its way."""

    message_id: int
    public_id: str
    thread: str
    text: str
    buttons: list[dict[str, str]]
    attempt: int


async def deliver(services: Services, graph: Graph) -> bool:
    """Sends one queued message, if there is one; says whether there was."""
    parcel = await run_in_threadpool(claim, services)
    if parcel is None:
        return False
    if not await run_in_threadpool(may_go, services, parcel):
        await run_in_threadpool(settle, services, parcel, Outcome.REFUSED, "a person took the conversation")
        return True
    parts = split(parcel.text)
    for number, part in enumerate(parts, start=1):
        last = number == len(parts)
        # Only the last part's echo may settle the message: the id of the others isn't a message's.
        part_id = parcel.public_id if last else f"{parcel.public_id}/{number}"
        outcome, detail = await graph.send(parcel.thread, part, part_id, parcel.buttons if last else [])
        if outcome is not Outcome.SENT:
            if number > 1:  # half a reply is out: sending it all again would double that half
                outcome = Outcome.UNKNOWN
            break
    await run_in_threadpool(settle, services, parcel, outcome, detail)
    return True


def claim(services: Services) -> Parcel | None:
    """The next message to send, marked `sending`. A message waits for those before it."""
    now = services.clock()
    with services.store.read() as session:  # an idle look only reads
        if session.scalar(sa.select(Message.id).where(Message.status.in_(OUTBOX)).limit(1)) is None:
            return None
    with services.store.unit_of_work() as session:
        _abandon(session, now)
        earlier, its = aliased(Message), aliased(Conversation)
        waits = (  # in its thread: a closed conversation's last answer goes before the next one's first
            sa.select(earlier.id)
            .join(its, its.id == earlier.conversation_id)
            .where(
                its.identity_id == Conversation.identity_id,
                earlier.id < Message.id,
                sa.or_(
                    earlier.status.in_((Status.QUEUED, Status.SENDING)),
                    sa.and_(earlier.status == Status.UNKNOWN, ~_is_past(earlier.next_try_at, now)),
                ),
            )
            .exists()
        )
        message = session.scalar(
            sa.select(Message)
            .join(Message.conversation)
            .where(
                Message.status == Status.QUEUED,
                Conversation.channel == Channel.MESSENGER,
                sa.or_(Message.next_try_at.is_(None), _is_past(Message.next_try_at, now)),
                ~waits,
                sa.or_(Message.author != Author.BOT, Conversation.state != State.AGENT),
            )
            .order_by(Message.id)
            .limit(1)
            .with_for_update(of=Message, skip_locked=True)
        )
        if message is None:
            return None
        identity: Identity = message.conversation.identity
        message.status = Status.SENDING
        message.attempts += 1
        message.next_try_at = now + PATIENCE
        return Parcel(
            message.id, message.public_id, identity.thread, message.text, message.buttons, message.attempts
        )


def may_go(services: Services, parcel: Parcel) -> bool:
    """The last look before Meta is asked: whether the row is still this sender's, and the bot may speak.

    A sender that slept may have been taken for dead; a person may have taken the conversation.
    """
    with services.store.read() as session:
        message = session.get_one(Message, parcel.message_id)
        ours = message.status is Status.SENDING and message.attempts == parcel.attempt
        return ours and not queries.bot_is_silenced(message)


def release_all(store: Store, now: datetime) -> None:
    """What a killed process was sending may have been sent. For the embedded database, which one bot
    process serves."""
    with store.unit_of_work() as session:
        _abandon(session, now, all_died=True)


def settle(services: Services, parcel: Parcel, outcome: Outcome, detail: str) -> None:
    """Writes down what became of a send, unless an echo has done so already."""
    now = services.clock()
    with services.store.unit_of_work() as session:
        message = session.get(Message, parcel.message_id, with_for_update={"of": Message})
        open_ = (Status.SENDING, Status.UNKNOWN) if outcome is Outcome.SENT else (Status.SENDING,)
        if message is None or message.status not in open_ or message.attempts != parcel.attempt:
            return  # an echo has settled it, or this sender slept and was taken for dead
        message.error = None
        if outcome in (Outcome.RETRY, Outcome.HALT) and queries.bot_is_silenced(message):
            outcome, detail = Outcome.REFUSED, "a person took the conversation"
        match outcome:
            case Outcome.SENT:
                message.status, message.sent_at, message.external_id = Status.SENT, now, detail
            case Outcome.UNKNOWN:
                message.status, message.next_try_at = Status.UNKNOWN, now + HOLD_BACK
            case Outcome.HALT:
                message.status, message.next_try_at = Status.QUEUED, now + HALTED
            case Outcome.RETRY if parcel.attempt < GIVE_UP:
                wait = min(RETRY_FIRST * 2 ** (parcel.attempt - 1), RETRY_MOST)
                message.status, message.next_try_at = Status.QUEUED, now + wait
            case _:
                message.status = Status.FAILED
        if outcome is not Outcome.SENT:
            message.error = detail[:400]
            log.warning("delivery.not_sent", message=parcel.public_id, outcome=outcome.value, detail=detail)
        live.touched(session, message.conversation, now)


def _abandon(session: Session, now: datetime, all_died: bool = False) -> None:
    """A row whose sender died may have been sent."""
    dead = sa.true() if all_died else _is_past(Message.next_try_at, now)
    session.execute(
        sa.update(Message)
        .where(Message.status == Status.SENDING, dead)
        .values(status=Status.UNKNOWN, next_try_at=now + HOLD_BACK, error="the sender stopped")
    )


def _is_past(at: Any, now: datetime) -> sa.ColumnElement[bool]:
    """Whether a time of ours has come; what is too far ahead was set before the clock was set back."""
    return sa.or_(at <= now, at > now + LONGEST)
