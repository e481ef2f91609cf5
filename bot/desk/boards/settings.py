"""The board of settings that are changed while the product runs."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from bot import runtime
from bot.channels.web import Shared
from bot.desk import audit
from bot.desk.api import Caller
from bot.desk.boards.base import Supervising, Supervisor, done, show
from bot.desk.boards.rules import Text
from bot.desk.web import Page
from bot.services import Services
from bot.store.tables import Agent

router = APIRouter(prefix="/desk/settings", route_class=Page, include_in_schema=False)
SHOWN = (  # in this order; opening hours have their place beside the targets
    "shop_name", "routing", "capacity", "return_minutes", "escalate_percent", "rating", "privacy_url",
    "idle_hours", "new_topic_closes",
)  # fmt: skip
CHOICES = {"routing": runtime.ROUTING, "rating": ("yes", "no"), "new_topic_closes": ("yes", "no")}


@router.get("")
def board(request: Request, caller: Supervisor, services: Shared) -> Response:
    """Each setting, what holds now, and where it comes from."""
    return _board(request, services, caller)


@router.post("/{name}")
def change(
    name: str, request: Request, caller: Supervising, services: Shared, value: Text = "", verb: Text = "set"
) -> Response:
    """Sets one, or (`verb` is "reset") takes the environment's again."""
    wanted = None if verb == "reset" else value

    def act(session: Session, by: Agent) -> None:
        before = runtime.change(session, name, wanted)
        audit.note(
            session, by, "setting_change", name, services.clock(), {"value": before}, {"value": wanted}
        )

    return done(
        services,
        caller,
        act,
        f"/desk/settings?done=saved#set-{name}",
        lambda problem, status: _board(request, services, caller, problem, status, {name: value}),
    )


def _board(
    request: Request,
    services: Services,
    caller: Caller,
    problem: str = "",
    status: int = 200,
    typed: dict[str, str] | None = None,  # what was wrong, to be mended
) -> Response:
    with services.store.read() as session:
        stored = runtime.stored(session)
    wrong = [name for name in SHOWN if name in (typed or {})]
    now = {name: written(_held(services, name)) for name in SHOWN} | (typed or {})
    fixed = {
        "TIME_ZONE": services.base.time_zone.key,
        "BURST_SECONDS": written(services.base.burst.total_seconds()),
        "GREETING_SECONDS": written(services.base.greeting_wait.total_seconds()),
        "BRAIN_SECONDS": written(services.base.brain_patience.total_seconds()),
        "WORKERS": str(services.base.workers),
    }
    return show(
        request, services, caller, "settings", status, problem=problem, names=SHOWN, now=now, stored=stored,
        choices=CHOICES, fixed=fixed, wrong=wrong,
    )  # fmt: skip


def _held(services: Services, name: str) -> Any:
    field = runtime.SPECS[name].field
    return getattr(services.care if hasattr(services.care, field) else services.settings, field)


def written(value: Any) -> str:
    """A value as its field shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 3600:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
