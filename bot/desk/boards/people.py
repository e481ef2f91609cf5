"""The board of agents and teams."""

import secrets
from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request, Response

from bot.channels.web import Shared
from bot.desk import agents, people, presence, teams
from bot.desk.api import Caller
from bot.desk.boards.base import Supervising, Supervisor, done, show
from bot.desk.boards.rules import Id, Text
from bot.desk.web import Page
from bot.domain.errors import BadInput
from bot.domain.words import State
from bot.services import Services
from bot.store.care import Presence
from bot.store.tables import Agent, Conversation

router = APIRouter(prefix="/desk/people", route_class=Page, include_in_schema=False)


@router.get("")
def board(request: Request, caller: Supervisor, services: Shared) -> Response:
    """Every agent and team."""
    return _board(request, services, caller)


@router.post("/add")
def add(
    request: Request,
    caller: Supervising,
    services: Shared,
    email: Text = "",
    name: Text = "",
    role: Text = "agent",
    password: Text = "",
) -> Response:
    """A new account."""
    return done(
        services,
        caller,
        lambda session, by: people.add(session, by, email, name, role, password, services.clock()),
        "/desk/people?done=saved",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/teams")
def add_team(request: Request, caller: Supervising, services: Shared, name: Text = "") -> Response:
    """A new team."""
    return done(
        services,
        caller,
        lambda session, by: teams.add(session, by, name, services.clock()),
        "/desk/people?done=saved#teams",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/teams/{team_id}/members")
def set_members(
    team_id: Id,
    request: Request,
    caller: Supervising,
    services: Shared,
    member: Annotated[list[int], Form()] = [],  # noqa: B006 (FastAPI copies it)
) -> Response:
    """Just these agents are in it."""
    return done(
        services,
        caller,
        lambda session, by: teams.set_members(session, by, team_id, set(member), services.clock()),
        "/desk/people?done=saved#teams",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/teams/{team_id}/retire")
def retire_team(team_id: Id, request: Request, caller: Supervising, services: Shared) -> Response:
    """Nothing goes to it any more."""
    return done(
        services,
        caller,
        lambda session, by: teams.retire(session, by, team_id, services.clock()),
        "/desk/people?done=saved#teams",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/{agent_id}/{verb}")
def change(
    agent_id: Id,
    verb: Literal["role", "password", "capacity", "deactivate", "activate"],
    request: Request,
    caller: Supervising,
    services: Shared,
    value: Text = "",
) -> Response:
    """Role, password, how many they are given, and whether they may log in."""
    now = services.clock()

    def act(session: sa.orm.Session, by: Agent) -> None:
        if verb == "role":
            people.set_role(session, by, agent_id, value, now)
        elif verb == "password":
            people.set_password(session, by, agent_id, value, now, caller.token)
        elif verb == "capacity":
            people.set_capacity(session, by, agent_id, _capacity(value), now)
        elif verb == "deactivate":
            people.deactivate(session, by, agent_id, now)
        else:
            people.activate(session, by, agent_id, now)

    return done(
        services,
        caller,
        act,
        f"/desk/people?done={'password' if verb == 'password' else 'saved'}",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


def _capacity(value: str) -> int | None:
    value = value.strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 6):
        raise BadInput("Write a number.")
    return int(value)


def _board(
    request: Request, services: Services, caller: Caller, problem: str = "", status: int = 200
) -> Response:
    now = services.clock()
    with services.store.read() as session:
        listed = people.listed(session)
        here = {one.agent_id: one for one in session.scalars(sa.select(Presence))}
        there = presence.is_there(now)
        free = session.scalars(sa.select(Agent.id).join(Presence, Presence.agent_id == Agent.id).where(there))
        holds = session.execute(
            sa.select(Conversation.agent_id, sa.func.count())
            .where(Conversation.state == State.AGENT, Conversation.agent_id.is_not(None))
            .group_by(Conversation.agent_id)
        )
        shown = {
            "available": set(free),
            "holds": dict(holds.all()),
            "teams": [(team, teams.members_of(session, team.id)) for team in teams.listed(session)],
        }
    return show(
        request, services, caller, "people", status, problem=problem, people=listed, presence=here,
        roles=agents.ROLES, capacity=services.care.capacity, shortest=agents.PASSWORD_SHORTEST,
        suggestion=secrets.token_urlsafe(12), **shown,
    )  # fmt: skip
