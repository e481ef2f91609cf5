"""Teams: who answers what kind of conversation."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.desk import audit
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.mentions import normal
from bot.store.care import NAME_LENGTH, Rule, Team, TeamMember
from bot.store.tables import Agent

MOST = 50


def add(session: Session, agent: Agent, name: str, now: datetime) -> Team:
    """A new team, or a retired one of that name brought back. Raises BadInput or Conflict."""
    name = " ".join(name.split())
    if not 0 < len(name) <= NAME_LENGTH:
        raise BadInput("Give the team a name of 1 to 60 characters.")
    key = normal(name)[: 2 * NAME_LENGTH]
    found = session.scalar(sa.select(Team).where(Team.key == key))
    if found and found.retired_at is None:
        raise Conflict("There is a team of that name already.")
    if len(listed(session)) >= MOST:
        raise Conflict("There are 50 teams already; retire one first.")
    if found:
        found.retired_at = None
    else:
        found = Team(name=name, key=key, created_at=now)
        session.add(found)
    session.flush()
    audit.note(session, agent, "team_add", name, now)
    return found


def retire(session: Session, agent: Agent, team_id: int, now: datetime) -> None:
    """Nothing goes to it any more. Raises NotFound, or Conflict while a rule sends to it."""
    team = _team(session, team_id)
    uses = sa.select(Rule.id).where(Rule.team_id == team_id, Rule.retired_at.is_(None))
    if session.scalar(uses.limit(1)):
        raise Conflict("A rule sends to this team; change or retire the rule first.")
    team.retired_at = now
    audit.note(session, agent, "team_retire", team.name, now)


def set_members(session: Session, agent: Agent, team_id: int, members: set[int], now: datetime) -> None:
    """Just these agents are in the team. Raises NotFound for a team or an agent that isn't there."""
    team = _team(session, team_id)
    names = dict(session.execute(sa.select(Agent.id, Agent.name).where(Agent.id.in_(members))).all())
    if set(names) != members:
        raise NotFound("There is no such agent.")
    before = members_of(session, team_id)
    session.execute(sa.delete(TeamMember).where(TeamMember.team_id == team_id))
    session.add_all(TeamMember(team_id=team_id, agent_id=one) for one in members)
    was = dict(session.execute(sa.select(Agent.id, Agent.name).where(Agent.id.in_(before))).all())
    audit.note(
        session,
        agent,
        "team_members",
        team.name,
        now,
        {"members": sorted(was.values())},
        {"members": sorted(names.values())},
    )


def listed(session: Session) -> list[Team]:
    """Teams in use, by name."""
    return list(session.scalars(sa.select(Team).where(Team.retired_at.is_(None)).order_by(Team.key)))


def members_of(session: Session, team_id: int) -> set[int]:
    """The ids of its agents."""
    return set(session.scalars(sa.select(TeamMember.agent_id).where(TeamMember.team_id == team_id)))


def _team(session: Session, team_id: int) -> Team:
    found = session.get(Team, team_id)
    if found is None or found.retired_at:
        raise NotFound("There is no such team.")
    return found
