"""Whether an agent is there: what they say of themselves, and when they last called, by page or program."""

from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bot.domain.errors import BadInput, StoreDown
from bot.store.care import Presence
from bot.store.engine import Store
from bot.store.tables import Agent, AgentSession

BEAT = timedelta(seconds=60)  # how exactly it is known when somebody was last there
CONNECTED = timedelta(minutes=3)  # whoever was seen longer ago has closed the desk


def seen(store: Store, agent_id: int, now: datetime, by_page: bool) -> None:
    """Notes that a page of this agent is connected, or that a program of theirs calls; once a `BEAT` at most.

    A program that works on keeps its chats, but it is nobody who is there: an agent who said that they are
    available and whose pages are closed is available no more. A database that can't be written to now
    keeps nobody from reading: then it isn't noted.
    """
    with store.read() as session:
        last = of(session, agent_id)
    is_available = last is not None and last.available
    beat = CONNECTED if is_available and not by_page else BEAT
    if last and timedelta(0) <= now - last.seen_at < beat:
        return
    with suppress(StoreDown), store.unit_of_work() as session:
        _row(session, agent_id, now)
        its = sa.update(Presence).where(Presence.agent_id == agent_id)
        if is_available and not by_page and last:
            its = its.where(Presence.seen_at == last.seen_at).values(available=False, since=now)
        session.execute(its.values(seen_at=now))


def set_available(session: Session, agent_id: int, available: bool, now: datetime) -> None:
    """An agent says that they may be given conversations, or not any more."""
    _row(session, agent_id, now)
    session.execute(
        sa.update(Presence)
        .where(Presence.agent_id == agent_id, Presence.available != available)
        .values(available=available, since=now)
    )
    if available:
        session.execute(sa.update(Presence).where(Presence.agent_id == agent_id).values(seen_at=now))


def set_capacity(session: Session, agent_id: int, capacity: int | None, now: datetime) -> None:
    """How many conversations an agent is given at once; None: the shop's default. Raises BadInput."""
    if capacity is not None and not 0 <= capacity <= 200:
        raise BadInput("The number is too small or too large.")
    _row(session, agent_id, now)
    session.execute(sa.update(Presence).where(Presence.agent_id == agent_id).values(capacity=capacity))


def logged_out(session: Session, agent_id: int, now: datetime) -> None:
    """After a log-out: whoever has no other session isn't available any more."""
    if not session.scalar(sa.select(has_session(agent_id, now))):
        set_available(session, agent_id, False, now)


def of(session: Session, agent_id: int) -> Presence | None:
    """What is known of an agent; None before their first log-in."""
    return session.get(Presence, agent_id)


def has_session(agent_id: int | sa.SQLColumnExpression[int], now: datetime) -> sa.ColumnElement[bool]:
    """Whether an agent is logged in anywhere."""
    return sa.exists().where(AgentSession.agent_id == agent_id, AgentSession.expires_at > now)


def is_there(now: datetime) -> sa.ColumnElement[bool]:
    """Condition on `Agent` and `Presence`: may be given conversations now."""
    return sa.and_(
        Agent.deactivated_at.is_(None),
        Presence.available,
        Presence.seen_at > now - CONNECTED,
        has_session(Agent.id, now),
    )


def is_gone(now: datetime, patience: timedelta) -> sa.ColumnElement[bool]:
    """Condition on `Agent` and `Presence` (outer joined): won't come back to their conversations soon.

    Logged out everywhere, deactivated, or not seen for `patience` (zero: that alone never counts). One of
    whom nothing is known, from before presence was kept, is left alone.
    """
    silent = Presence.seen_at <= now - patience if patience else sa.false()
    return sa.or_(
        Agent.deactivated_at.is_not(None),
        sa.and_(Presence.agent_id.is_not(None), sa.or_(silent, ~has_session(Agent.id, now))),
    )


def _row(session: Session, agent_id: int, now: datetime) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = insert(Presence).values(agent_id=agent_id, available=False, since=now, seen_at=now)
    session.execute(row.on_conflict_do_nothing())
