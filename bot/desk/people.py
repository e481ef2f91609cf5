"""What supervisors do with agents' accounts."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk import agents, audit, presence
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.orders import normal_email
from bot.store.tables import Agent


def add(session: Session, by: Agent, email: str, name: str, role: str, password: str, now: datetime) -> Agent:
    """A new account. Raises BadInput or Conflict."""
    if session.scalar(sa.select(Agent.id).where(Agent.email == normal_email(email))):
        raise Conflict("That e-mail address has an account already.")
    made = agents.add_agent(session, email, name, role, password, now)
    audit.note(session, by, "agent_add", made.name, now, after={"email": made.email, "role": made.role})
    return made


def set_role(session: Session, by: Agent, agent_id: int, role: str, now: datetime) -> None:
    """Raises NotFound, BadInput, or Conflict for the last supervisor."""
    agent = _agent(session, agent_id)
    if role not in agents.ROLES:
        raise BadInput("There is no such role.")
    if agent.role == role:
        return
    if role != "supervisor":
        _check_another(session, agent)
    audit.note(session, by, "agent_role", agent.name, now, {"role": agent.role}, {"role": role})
    agent.role = role


def set_password(
    session: Session, by: Agent, agent_id: int, password: str, now: datetime, kept: str = ""
) -> None:
    """Ends the agent's sessions, too: whoever knew the old password is out. Of the caller's own the one
    with the token `kept` stays.

    Raises NotFound or BadInput.
    """
    agent = _agent(session, agent_id)
    agents.set_password(agent, password)
    agents.close_sessions(session, agent, kept if agent.id == by.id else "")
    audit.note(session, by, "agent_password", agent.name, now)


def deactivate(session: Session, by: Agent, agent_id: int, now: datetime) -> None:
    """They can't log in any more, and what they hold goes to colleagues as its customers write.

    Raises NotFound, or Conflict for oneself and the last supervisor.
    """
    agent = _agent(session, agent_id)
    if agent.id == by.id:
        raise Conflict("You can't deactivate yourself.")
    if agent.deactivated_at:
        return
    _check_another(session, agent)
    agent.deactivated_at = now
    agents.close_sessions(session, agent)
    presence.set_available(session, agent_id, False, now)
    audit.note(session, by, "agent_deactivate", agent.name, now)


def activate(session: Session, by: Agent, agent_id: int, now: datetime) -> None:
    """They may log in again. Raises NotFound."""
    agent = _agent(session, agent_id)
    if agent.deactivated_at:
        agent.deactivated_at = None
        audit.note(session, by, "agent_activate", agent.name, now)


def set_capacity(session: Session, by: Agent, agent_id: int, capacity: int | None, now: datetime) -> None:
    """How many they are given at once; None: the shop's default. Raises NotFound or BadInput."""
    agent = _agent(session, agent_id)
    found = presence.of(session, agent_id)
    before = found.capacity if found else None
    presence.set_capacity(session, agent_id, capacity, now)
    if before != capacity:
        audit.note(
            session, by, "agent_capacity", agent.name, now, {"capacity": before}, {"capacity": capacity}
        )


def listed(session: Session) -> list[Agent]:
    """Everybody, those who may log in first, by name."""
    order = (Agent.deactivated_at.is_not(None), sa.func.lower(Agent.name), Agent.id)
    return list(session.scalars(sa.select(Agent).order_by(*order)))


def _agent(session: Session, agent_id: int) -> Agent:
    """An agent. Everybody's row is locked, in one order: two supervisors can't remove each other at once.

    Raises NotFound.
    """
    session.execute(sa.select(Agent.id).order_by(Agent.id).with_for_update(key_share=True))
    found = session.get(Agent, agent_id, populate_existing=True)
    if found is None:
        raise NotFound("There is no such agent.")
    return found


def _check_another(session: Session, agent: Agent) -> None:
    """Somebody must be left to supervise. Raises Conflict."""
    others = sa.select(Agent.id).where(
        Agent.role == "supervisor", Agent.deactivated_at.is_(None), Agent.id != agent.id
    )
    if agent.role == "supervisor" and session.scalar(others.limit(1)) is None:
        raise Conflict("This is the last supervisor; make another one first.")
