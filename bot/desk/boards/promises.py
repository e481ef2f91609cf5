"""The board of promises: targets, opening hours, holidays, and who waits too long now."""

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from bot import runtime
from bot.channels.web import Shared
from bot.desk import audit, promises
from bot.desk.api import Caller
from bot.desk.boards.base import Supervising, Supervisor, done, show
from bot.desk.boards.rules import Text
from bot.desk.web import Page
from bot.domain.errors import BadInput
from bot.domain.hours import written
from bot.domain.words import Channel
from bot.services import Services
from bot.store.tables import Agent

router = APIRouter(prefix="/desk/promises", route_class=Page, include_in_schema=False)


@router.get("")
def board(request: Request, caller: Supervisor, services: Shared) -> Response:
    """Targets, hours and holidays."""
    return _board(request, services, caller)


@router.post("/targets")
def set_target(
    request: Request,
    caller: Supervising,
    services: Shared,
    channel: Text = "",
    priority: Text = "",
    first: Text = "",
    solve: Text = "",
) -> Response:
    """Sets the target of a channel and priority."""
    return done(
        services,
        caller,
        lambda session, by: promises.set_target(
            session, by, _channel(channel), _priority(priority), _minutes(first), _minutes(solve),
            services.clock(),
        ),
        "/desk/promises?done=saved",
        lambda problem, status: _board(request, services, caller, problem, status),
    )  # fmt: skip


@router.post("/targets/remove")
def remove_target(request: Request, caller: Supervising, services: Shared, place: Text = "") -> Response:
    """The wider target holds again."""
    return done(
        services,
        caller,
        lambda session, by: promises.remove_target(session, by, place, services.clock()),
        "/desk/promises?done=saved",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/hours")
def set_hours(request: Request, caller: Supervising, services: Shared, value: Text = "") -> Response:
    """The opening hours; empty: the environment's."""

    def act(session: Session, by: Agent) -> None:
        before = runtime.change(session, "opening_hours", value.strip() or None)
        audit.note(
            session, by, "setting_change", "opening_hours", services.clock(),
            {"value": before}, {"value": value.strip() or None},
        )  # fmt: skip

    return done(
        services,
        caller,
        act,
        "/desk/promises?done=saved#hours",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/holidays")
def add_holiday(
    request: Request, caller: Supervising, services: Shared, day: Text = "", name: Text = ""
) -> Response:
    """A day on which the desk is closed."""
    return done(
        services,
        caller,
        lambda session, by: promises.add_holiday(session, by, day, name, services.clock()),
        "/desk/promises?done=saved#holidays",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


@router.post("/holidays/remove")
def remove_holiday(request: Request, caller: Supervising, services: Shared, day: Text = "") -> Response:
    """The desk is open on it again."""
    return done(
        services,
        caller,
        lambda session, by: promises.remove_holiday(session, by, day, services.clock()),
        "/desk/promises?done=saved#holidays",
        lambda problem, status: _board(request, services, caller, problem, status),
    )


def _channel(value: str) -> Channel | None:
    if value and value not in {one.value for one in Channel}:
        raise BadInput("There is no such channel.")
    return Channel(value) if value else None


def _priority(value: str) -> int | None:
    if value not in ("", "0", "1", "2", "3"):
        raise BadInput("There is no such priority.")
    return int(value) if value else None


def _minutes(value: str) -> int:
    value = value.strip()
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise BadInput("Write minutes from 1 to 86400.")
    return int(value)


def _board(
    request: Request, services: Services, caller: Caller, problem: str = "", status: int = 200
) -> Response:
    with services.store.read() as session:
        shown = {
            "targets": promises.listed(session),
            "holidays": promises.holidays(session),
            "hours": runtime.stored(session).get("opening_hours", ""),
            "risk": promises.risk(session, services.clock()),
        }
    spans = [
        (day, written(opens), written(closes)) for day, opens, closes in services.settings.opening_hours.spans
    ]
    return show(
        request, services, caller, "promises", status, problem=problem, channels=list(Channel),
        default=(promises.FIRST, promises.SOLVE), spans=spans,
        zone=services.settings.time_zone.key, percent=services.care.escalate_percent, **shown,
    )  # fmt: skip
