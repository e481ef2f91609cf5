"""What didn't get through: deliveries that failed or of which nobody knows, and turns that failed.

A person decides: once more, or let it go. An `unknown` delivery may have arrived, so sending it again may
double it; the page says so. Nothing here happens by itself, except that a customer whose answer may have
been lost is handed to a person.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from bot import live
from bot.desk import audit
from bot.domain.errors import Conflict, NotFound
from bot.domain.words import Author, Channel, Reason, State, Status
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Agent, Conversation, HandOff, Message

LIMIT = 200
GRACE = timedelta(minutes=2)  # an echo that isn't there by then doesn't come
LET_GO = "let go by "
LOST = sa.and_(
    Message.status.in_((Status.FAILED, Status.UNKNOWN)),
    Message.author.in_((Author.BOT, Author.AGENT)),
    sa.func.coalesce(Message.error, "") != queries.TAKEN,
    sa.not_(sa.func.coalesce(Message.error, "").startswith(LET_GO)),
)


@dataclass(frozen=True)
class DeadLetters:
    """Newest first."""

    deliveries: list[Message]
    turns: list[Conversation]

    def as_json(self) -> dict[str, Any]:
        """As the desk API gives it: ids and what went wrong."""
        return {
            "deliveries": [
                {
                    "id": m.public_id,
                    "conversation_id": m.conversation_id,
                    "author": m.author.value,
                    "status": m.status.value,
                    "error": m.error,
                    "attempts": m.attempts,
                    "at": m.at.isoformat(),
                }
                for m in self.deliveries
            ],
            "turns": [
                {"conversation_id": c.id, "error": c.turn_error, "at": c.last_message_at.isoformat()}
                for c in self.turns
            ],
        }


def listed(session: Session) -> DeadLetters:
    """At most `LIMIT` of each."""
    deliveries = sa.select(Message).where(LOST).options(joinedload(Message.conversation))
    deliveries = deliveries.order_by(Message.id.desc()).limit(LIMIT)
    turns = sa.select(Conversation).where(
        Conversation.turn_error.isnot(None),
        Conversation.due_at.is_(None),
        sa.exists().where(Message.conversation_id == Conversation.id, Message.handled_at.is_(None)),
    )
    return DeadLetters(
        list(session.scalars(deliveries)),
        list(session.scalars(turns.order_by(Conversation.id.desc()).limit(LIMIT))),
    )


def send_again(session: Session, public_id: str, agent: Agent, now: datetime) -> Message:
    """Queues a delivery once more. Raises NotFound, or Conflict where the bot may not speak any more."""
    message, conversation = _lost(session, public_id)
    if message.author is Author.BOT and conversation.state in (State.AGENT, State.CLOSED):
        raise Conflict("The bot may not speak here any more; take the conversation and answer yourself.")
    audit.note(session, agent, "letter_send_again", f"#{conversation.id}", now, before=_lost_as(message))
    message.status, message.next_try_at, message.error = Status.QUEUED, None, None
    message.attempts = min(message.attempts, 1)  # not 0: the echo of an earlier try may still come
    live.touched(session, conversation, now)
    return message


def let_go(session: Session, public_id: str, agent: Agent, now: datetime) -> Message:
    """It is not tried again, and not shown here any more. Raises NotFound."""
    message, conversation = _lost(session, public_id)
    audit.note(session, agent, "letter_let_go", f"#{conversation.id}", now, before=_lost_as(message))
    message.error = f"{LET_GO}{agent.name}; {message.status.value}: {message.error}"[:400]
    live.touched(session, conversation, now)
    return message


def decide_again(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """Gives a turn that failed to the bot once more. Raises NotFound, or Conflict when it isn't the bot's."""
    conversation = queries.locked(session, conversation_id)
    if conversation is None or conversation.turn_error is None:
        raise NotFound("There is no failed turn in this conversation.")
    if conversation.state not in (State.WAITING, State.BOT):
        raise Conflict("A person has this conversation; there is nothing left for the bot.")
    if conversation.state is State.WAITING:
        queries.end_hand_off(session, conversation.id, now)
        conversation.state = State.BOT
    was = {"error": conversation.turn_error}
    audit.note(session, agent, "letter_decide_again", f"#{conversation.id}", now, before=was)
    conversation.turn_error, conversation.tries, conversation.due_at = None, 0, now
    session.flush()
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
    return conversation


def hand_over_unsettled(store: Store, now: datetime) -> int:
    """A customer whose answer may never have arrived is handed to a person; returns how many were.

    A conversation is handed over at most once for it: whoever gives it back to the bot knows.
    """
    seen = sa.exists().where(HandOff.conversation_id == Conversation.id, HandOff.ended_at >= Message.at)
    unsettled = (
        sa.select(Conversation)
        .join(Message, Message.conversation_id == Conversation.id)
        .where(
            Conversation.state == State.BOT,
            Conversation.channel != Channel.WEB,
            Message.author == Author.BOT,
            Message.status == Status.UNKNOWN,
            LOST,
            sa.func.coalesce(Message.next_try_at, Message.at) <= now,
            Message.at <= now - GRACE,
            ~seen,
        )
        .limit(LIMIT)
    )
    with store.read() as session:  # an idle look only reads
        if session.scalar(unsettled.limit(1)) is None:
            return 0
    with store.unit_of_work() as session:
        found = session.scalars(queries.for_update(unsettled, skip_locked=True)).unique().all()
        for conversation in found:
            queries.hand_over(session, conversation.id, Reason.OUTAGE, conversation.answered, now)
            conversation.state = State.WAITING
            live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
        return len(found)


def _lost_as(message: Message) -> dict[str, Any]:
    """As the audit trail has it: nothing of what was said."""
    return {"author": message.author.value, "status": message.status.value, "error": message.error}


def _lost(session: Session, public_id: str) -> tuple[Message, Conversation]:
    """Both locked, the conversation first, as everybody does. Raises NotFound."""
    conversation_id = session.scalar(sa.select(Message.conversation_id).where(Message.public_id == public_id))
    conversation = queries.locked(session, conversation_id) if conversation_id else None
    lost = sa.select(Message).where(Message.public_id == public_id, LOST)
    found = session.scalar(lost.with_for_update(of=Message))
    if found is None or conversation is None:
        raise NotFound("There is no such delivery that failed; it may be settled by now.")
    return found, conversation
