"""Who gets a waiting conversation, and what becomes of one whose agent has left.

Off by default: a small team picks by hand. `round_robin` gives the most urgent, then the longest waiting
to whoever was given one longest ago; `team` gives a conversation that a team was named for to its members
only. Only agents who are there and have room get any, however many workers route at once: on PostgreSQL
one of them at a time does (advisory lock 7204), SQLite has one writer anyway.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, lazyload

from bot import live
from bot.desk import audit, conversations, presence
from bot.domain.words import Author, Reason, State
from bot.runtime import Care
from bot.services import Services
from bot.store import queries
from bot.store.care import Assignment, Handling, Presence, TeamMember
from bot.store.tables import Agent, Conversation, HandOff

BATCH = 50
ONE_AT_A_TIME = 7204  # PostgreSQL's advisory lock
log = structlog.get_logger()


@dataclass
class Candidate:
    """An agent who is there, and how many more conversations they may be given."""

    agent: Agent
    room: int
    given_at: datetime | None


def work(services: Services) -> int:
    """Returns what nobody answers any more, then gives away what waits; says how many it moved."""
    now, care = services.clock(), services.care
    if not _is_needed(services, now):
        return 0
    with services.store.unit_of_work() as session:
        if not services.store.is_sqlite:
            session.execute(sa.text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        moved = give_up_left(session, timedelta(minutes=care.return_minutes), now)
        return moved + (give_away(session, care, now) if care.routing != "off" else 0)


def _is_needed(services: Services, now: datetime) -> bool:
    """Whether there is anything to move: an idle look only reads."""
    care = services.care
    with services.store.read() as session:
        left = _left(timedelta(minutes=care.return_minutes), now).with_only_columns(Conversation.id)
        if session.scalar(left.limit(1)) is not None:
            return True
        if care.routing == "off":
            return False
        waits = sa.select(Conversation.id).where(Conversation.state == State.WAITING).limit(1)
        return session.scalar(waits) is not None and any(c.room > 0 for c in _candidates(session, care, now))


def give_away(session: Session, care: Care, now: datetime) -> int:
    """Gives waiting conversations to agents who have room; returns how many."""
    candidates = _candidates(session, care, now)
    given = 0
    for conversation_id, team_id in _waiting(session):
        able = [one for one in candidates if one.room > 0]
        if not able:
            break
        if care.routing == "team" and team_id is not None:
            members = set(
                session.scalars(sa.select(TeamMember.agent_id).where(TeamMember.team_id == team_id))
            )
            able = [one for one in able if one.agent.id in members]
        if not able:
            continue
        chosen = min(able, key=lambda one: (one.given_at is not None, one.given_at or now, one.agent.id))
        if _give(session, conversation_id, chosen, care.routing, now):
            given += 1
    return given


def _give(session: Session, conversation_id: int, to: Candidate, why: str, now: datetime) -> bool:
    """Gives one, unless somebody was faster."""
    one = sa.select(Conversation).where(
        Conversation.id == conversation_id, Conversation.state == State.WAITING
    )
    if session.scalar(queries.for_update(one, skip_locked=True)) is None:
        return False
    conversations.take(session, conversation_id, to.agent, now, "conversation_given")
    session.add(
        Assignment(conversation_id=conversation_id, agent_id=to.agent.id, kind="given", reason=why, at=now)
    )
    session.execute(sa.update(Presence).where(Presence.agent_id == to.agent.id).values(given_at=now))
    to.room -= 1
    # A moment apart, so that the next of the same batch goes to the next in turn.
    to.given_at = max(now, to.given_at or now) + timedelta(microseconds=1)
    session.flush()
    log.info("routing.given", conversation_id=conversation_id, agent_id=to.agent.id, why=why)
    return True


def _candidates(session: Session, care: Care, now: datetime) -> list[Candidate]:
    holds = (
        sa.select(sa.func.count())
        .where(Conversation.state == State.AGENT, Conversation.agent_id == Agent.id)
        .scalar_subquery()
    )
    found = session.execute(
        sa.select(Agent, sa.func.coalesce(Presence.capacity, care.capacity) - holds, Presence.given_at)
        .join(Presence, Presence.agent_id == Agent.id)
        .where(presence.is_there(now))
        .order_by(Agent.id)
    )
    return [Candidate(agent, room, given_at) for agent, room, given_at in found]


def _waiting(session: Session) -> list[tuple[int, int | None]]:
    """Ids and teams of those that wait: the most urgent first, then who waits longest."""
    found = session.execute(
        sa.select(Conversation.id, Handling.team_id)
        .outerjoin(Handling, Handling.conversation_id == Conversation.id)
        .outerjoin(HandOff, sa.and_(HandOff.conversation_id == Conversation.id, HandOff.ended_at.is_(None)))
        .where(Conversation.state == State.WAITING)
        .order_by(
            sa.func.coalesce(Handling.priority, 1).desc(),
            sa.func.coalesce(HandOff.at, Conversation.last_message_at),
            Conversation.id,
        )
        .limit(BATCH)
    )
    return [(conversation_id, team_id) for conversation_id, team_id in found]


def give_up_left(session: Session, patience: timedelta, now: datetime) -> int:
    """Those whose customer still waits for an answer and whose agent has left wait again; returns how many.

    One that the agent answered last, or snoozed, needs nobody until its customer writes or its time has
    come: then it is found here.
    """
    found = session.scalars(queries.for_update(_left(patience, now).limit(BATCH), skip_locked=True)).all()
    for conversation in found:
        holder = session.get_one(Agent, conversation.agent_id)
        conversation.agent, conversation.agent_id = None, None
        conversation.state, conversation.snoozed_until = State.WAITING, None
        hand_off = queries.open_hand_off(session, conversation.id)
        if hand_off:
            hand_off.taken_at = None
        else:  # the agent had stepped in by themselves; why it is a person's now, nobody has said
            queries.hand_over(session, conversation, Reason.UNSURE, conversation.answered, now)
        session.add(
            Assignment(
                conversation_id=conversation.id, agent_id=holder.id, kind="returned", reason="left", at=now
            )
        )
        audit.note(
            session, None, "conversation_returned", f"#{conversation.id}", now, after={"agent": holder.name}
        )
        session.flush()
        live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
        log.info("routing.returned", conversation_id=conversation.id, agent_id=holder.id)
    return len(found)


def _left(patience: timedelta, now: datetime) -> sa.Select[Conversation]:
    last = queries.last_author(Conversation.id).scalar_subquery()
    gone = (
        sa.select(Agent.id)
        .outerjoin(Presence, Presence.agent_id == Agent.id)
        .where(presence.is_gone(now, patience))
    )
    return (
        sa.select(Conversation)
        .options(lazyload("*"))
        .where(
            Conversation.state == State.AGENT,
            Conversation.agent_id.in_(gone),
            sa.or_(last.is_(None), last != Author.AGENT),
            sa.or_(Conversation.snoozed_until.is_(None), Conversation.snoozed_until <= now),
        )
    )
