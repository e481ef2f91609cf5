"""Who gets a waiting conversation, and what becomes of one whose agent has left.

Off by default: a small team picks by hand. `round_robin` gives the most urgent, then the longest waiting
to whoever was given one longest ago; `team` gives a conversation that a team was named for to its members
only. Only agents who are there and have room get any, however many workers route at once: on PostgreSQL
one of them at a time does (an advisory lock), SQLite has one writer anyway.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, lazyload

from bot import live
from bot.desk import audit, conversations, presence
from bot.domain.words import Author, Reason, State, Status
from bot.runtime import Care
from bot.services import Services
from bot.store import queries
from bot.store.care import Assignment, Handling, Presence, Team, TeamMember
from bot.store.tables import Agent, Conversation, HandOff, Message

BATCH = 50
ONE_AT_A_TIME = 7205  # PostgreSQL's advisory lock
log = structlog.get_logger()


@dataclass(frozen=True)
class Candidate:
    """An agent who is there and has room for another conversation."""

    agent: Agent
    given_at: datetime | None
    teams: frozenset[int]


def work(services: Services) -> int:
    """Returns what nobody answers any more, then gives away what waits; says how many it moved."""
    now, care = services.clock(), services.care
    if not _is_needed(services, now):
        return 0
    with _alone(services) as session:
        moved = give_up_left(session, timedelta(minutes=care.return_minutes), now)
    while care.routing != "off":
        with _alone(services) as session:
            if not give_next(session, care, now):
                break
        moved += 1
    return moved


@contextmanager
def _alone(services: Services) -> Iterator[Session]:
    with services.store.unit_of_work() as session:
        if not services.store.is_sqlite:
            session.execute(sa.text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        yield session


def _is_needed(services: Services, now: datetime) -> bool:
    """Whether there is anything to move: an idle look only reads."""
    care = services.care
    with services.store.read() as session:
        left = _left(timedelta(minutes=care.return_minutes), now).with_only_columns(Conversation.id)
        if session.scalar(left.limit(1)) is not None:
            return True
        if care.routing == "off":
            return False
        able = _candidates(session, care, now)
        return bool(able) and session.execute(_waiting(able, care)).first() is not None


def give_next(session: Session, care: Care, now: datetime) -> bool:
    """Gives the most urgent conversation that somebody has room for; says whether there was one.

    One in a transaction: so it may wait for one that is locked, instead of giving a less urgent one away.
    """
    able = _candidates(session, care, now)
    while able and (found := session.execute(_waiting(able, care)).first()):
        conversation_id, team_id = found
        fit = [one for one in able if team_id is None or care.routing != "team" or team_id in one.teams]
        chosen = min(fit, key=lambda one: (one.given_at is not None, one.given_at or now, one.agent.id))
        # A moment apart, so that what is given at the same time goes to the next in turn.
        at = max([now, *(one.given_at for one in able if one.given_at)]) + timedelta(microseconds=1)
        if _give(session, conversation_id, chosen.agent, care.routing, now, at):
            return True
    return False


def _give(
    session: Session, conversation_id: int, to: Agent, why: str, now: datetime, given_at: datetime
) -> bool:
    """Gives one, unless somebody was faster."""
    one = sa.select(Conversation).where(Conversation.id == conversation_id, _may_be_given())
    if session.scalar(queries.for_update(one)) is None:
        return False
    conversations.take(session, conversation_id, to, now, "conversation_given")
    session.add(Assignment(conversation_id=conversation_id, agent_id=to.id, kind="given", reason=why, at=now))
    session.execute(sa.update(Presence).where(Presence.agent_id == to.id).values(given_at=given_at))
    session.flush()
    log.info("routing.given", conversation_id=conversation_id, agent_id=to.id, why=why)
    return True


def _may_be_given() -> sa.ColumnElement[bool]:
    """Condition on `Conversation`: it waits, and nothing of the bot's is just being sent."""
    sending = sa.exists().where(
        Message.conversation_id == Conversation.id,
        Message.author == Author.BOT,
        Message.status == Status.SENDING,
    )
    return sa.and_(Conversation.state == State.WAITING, ~sending)


def _candidates(session: Session, care: Care, now: datetime) -> list[Candidate]:
    holds = (
        sa.select(sa.func.count())
        .where(Conversation.state == State.AGENT, Conversation.agent_id == Agent.id)
        .scalar_subquery()
    )
    found = session.execute(
        sa.select(Agent, Presence.given_at)
        .join(Presence, Presence.agent_id == Agent.id)
        .where(presence.is_there(now), sa.func.coalesce(Presence.capacity, care.capacity) > holds)
        .order_by(Agent.id)
    ).all()
    teams: dict[int, set[int]] = {agent.id: set() for agent, _ in found}
    members = sa.select(TeamMember.agent_id, TeamMember.team_id).where(TeamMember.agent_id.in_(teams))
    for agent_id, team_id in session.execute(members):
        teams[agent_id].add(team_id)
    return [Candidate(agent, given_at, frozenset(teams[agent.id])) for agent, given_at in found]


def _waiting(able: Sequence[Candidate], care: Care) -> sa.Select[int, int | None]:
    """Id and team of what any of these agents may be given: the most urgent first, then who waits longest.

    A team that was retired is nobody's: what was its own is anybody's.
    """
    theirs = sa.or_(Team.id.is_(None), Team.id.in_({team for one in able for team in one.teams}))
    return (
        sa.select(Conversation.id, Team.id)
        .outerjoin(Handling, Handling.conversation_id == Conversation.id)
        .outerjoin(Team, sa.and_(Team.id == Handling.team_id, Team.retired_at.is_(None)))
        .outerjoin(HandOff, sa.and_(HandOff.conversation_id == Conversation.id, HandOff.ended_at.is_(None)))
        .where(_may_be_given(), theirs if care.routing == "team" else sa.true())
        .order_by(
            sa.func.coalesce(Handling.priority, 1).desc(),
            sa.func.coalesce(HandOff.at, Conversation.last_message_at),
            Conversation.id,
        )
        .limit(1)
    )


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
            queries.hand_over(session, conversation.id, Reason.UNSURE, conversation.answered, now)
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
