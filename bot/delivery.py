"""Sending what is queued, in order, each message once.

    queued ──► sending ──► sent | failed | unknown

A row is marked `sending` before Meta is asked, so a crash in between leaves a row that may have been
sent: it becomes `unknown`, and only its echo settles it. Nothing is ever sent again blindly.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, aliased
from starlette.concurrency import run_in_threadpool

from bot import live
from bot.channels.messenger import Graph, Outcome, split
from bot.domain.words import Author, Channel, State, Status
from bot.services import Services
from bot.store import queries
from bot.store.tables import Conversation, Identity, Message

PATIENCE = timedelta(minutes=3)  # longer than the longest text's parts take: its sender is gone
HOLD_BACK = timedelta(minutes=2)  # how long an `unknown` message holds back the ones after it
RETRY_FIRST = timedelta(seconds=2)
RETRY_MOST = timedelta(minutes=5)
GIVE_UP = 20  # tries; about an hour and a half
HALTED = timedelta(minutes=1)  # how often a Page with a bad token is tried again
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
        earlier = aliased(Message)
        waits = sa.exists().where(
            earlier.conversation_id == Message.conversation_id,
            earlier.id < Message.id,
            sa.or_(
                earlier.status.in_((Status.QUEUED, Status.SENDING)),
                sa.and_(earlier.status == Status.UNKNOWN, earlier.next_try_at > now),
            ),
        )
        message = session.scalar(
            sa.select(Message)
            .join(Message.conversation)
            .where(
                Message.status == Status.QUEUED,
                Conversation.channel == Channel.MESSENGER,
                sa.or_(Message.next_try_at.is_(None), Message.next_try_at <= now),
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


def settle(services: Services, parcel: Parcel, outcome: Outcome, detail: str) -> None:
    """Writes down what became of a send, unless an echo has done so already."""
    now = services.clock()
    with services.store.unit_of_work() as session:
        message = session.get(Message, parcel.message_id, with_for_update={"of": Message})
        if message is None or message.status is not Status.SENDING:
            return
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


def _abandon(session: Session, now: datetime) -> None:
    """A row whose sender died may have been sent."""
    session.execute(
        sa.update(Message)
        .where(Message.status == Status.SENDING, Message.next_try_at <= now)
        .values(status=Status.UNKNOWN, next_try_at=now + HOLD_BACK, error="the sender stopped")
    )
