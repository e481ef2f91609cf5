"""What customers think of a conversation that is over: one question, 1 to 5, and a comment if they like.

Asked by the rule when a conversation ended well: its customer said that it is settled, or an agent who
wrote to them resolved it, and nobody was upset. Otherwise only if an agent asks for it. In the web chat
the question is part of the page; on Messenger it is Meta's own template (`bot.feedback`) and no message of
the bot's. A rating may be changed for a day.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.words import Author, Ending, Reason, State
from bot.store import queries
from bot.store.care import Rating, RatingRequest
from bot.store.tables import Agent, Conversation, HandOff, Identity, Message

CHANGEABLE = timedelta(days=1)
COMMENT_LIMIT = 1_000  # characters
SCORES = range(1, 6)
QUESTION = "rating-"  # and the conversation's id: how Meta's template names its question


def may_ask(session: Session, conversation: Conversation, enabled: bool) -> bool:
    """Whether its customer is asked. `enabled` is the shop's setting; an agent's wish wins over it."""
    if conversation.state is not State.CLOSED:
        return False
    if session.get(RatingRequest, conversation.id) is not None:
        return True
    if not enabled:
        return False
    well = sa.select(Conversation.id).where(Conversation.id == conversation.id, ended_well())
    return session.scalar(well) is not None


def ended_well() -> sa.ColumnElement[bool]:
    """Condition on `Conversation`: it is over, its customer was helped, and nobody was upset."""
    its = Message.conversation_id == Conversation.id
    by_person = sa.exists().where(its, Message.author == Author.AGENT)
    by_anyone = sa.exists().where(its, Message.author.in_((Author.AGENT, Author.BOT)))
    upset = sa.exists().where(HandOff.conversation_id == Conversation.id, HandOff.reason == Reason.EMPATHY)
    return sa.and_(
        Conversation.state == State.CLOSED,
        sa.or_(
            sa.and_(Conversation.ending == Ending.RESOLVED, by_person),
            sa.and_(Conversation.ending == Ending.SETTLED, by_anyone),
        ),
        ~upset,
    )


def ask(session: Session, conversation: Conversation, agent: Agent | None, now: datetime) -> None:
    """Asks for one, whatever the ending was. The conversation is locked. Raises Conflict if it is open."""
    if conversation.state is not State.CLOSED:
        raise Conflict("This conversation isn't over yet.")
    if session.get(RatingRequest, conversation.id) is None:
        row = RatingRequest(conversation_id=conversation.id, agent_id=agent.id if agent else None, at=now)
        session.add(row)
        session.flush()
        live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def rate(
    session: Session, conversation_id: int, score: int, comment: str, enabled: bool, now: datetime
) -> Rating:
    """Stores or changes a rating. Raises NotFound (not asked for), BadInput or Conflict (too late)."""
    conversation = queries.locked(session, conversation_id)
    if conversation is None or not (
        may_ask(session, conversation, enabled) or session.get(Rating, conversation_id) is not None
    ):
        raise NotFound("There is no conversation to rate.")
    comment = comment.replace("\0", "").strip()
    if score not in SCORES or len(comment) > COMMENT_LIMIT:
        raise BadInput("A rating is a number from 1 to 5 and a comment of at most 1000 characters.")
    found = session.get(Rating, conversation_id)
    if found and (found.score, found.comment) == (score, comment):
        return found
    if found and now - found.at >= CHANGEABLE:
        raise Conflict("A rating can be changed for a day; that is over.")
    if found is None:
        found = Rating(conversation_id=conversation_id, at=now)
        session.add(found)
    found.score, found.comment, found.changed_at = score, comment, now
    session.flush()
    live.touched(session, conversation, now)
    return found


def view(session: Session, conversation: Conversation, enabled: bool, now: datetime) -> dict[str, Any] | None:
    """What the web chat shows: the question, what was answered, whether it can still be changed."""
    found = session.get(Rating, conversation.id) if conversation.state is State.CLOSED else None
    if found is None and not may_ask(session, conversation, enabled):
        return None
    return {
        "conversation": conversation.id,
        "score": found.score if found else None,
        "comment": found.comment if found else "",
        "open": found is None or now - found.at < CHANGEABLE,
    }


def newest_closed(session: Session, identity: Identity) -> Conversation | None:
    """A customer's newest conversation, if it is over."""
    newest = (
        sa.select(Conversation)
        .where(Conversation.identity_id == identity.id)
        .order_by(Conversation.id.desc())
        .limit(1)
    )
    found = session.scalar(newest)
    return found if found and found.state is State.CLOSED else None


def from_template(session: Session, identity: Identity, payload: dict[str, Any], now: datetime) -> None:
    """What a customer answered to Meta's template; one that we can't place or that is too late is kept
    in the inbox only. Raises KeyError, TypeError or ValueError if the payload is damaged."""
    conversation = session.get(Conversation, int(payload["conversation"]))
    if conversation is None or conversation.identity_id != identity.id:
        return
    if session.get(RatingRequest, conversation.id) is None:
        return
    comment = str(payload.get("comment") or "")[:COMMENT_LIMIT]
    try:
        rate(session, conversation.id, int(payload["score"]), comment, True, now)
    except (Conflict, BadInput, NotFound):
        return
