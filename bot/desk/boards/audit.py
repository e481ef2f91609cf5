"""The board of the audit trail: read only, for everybody."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bot.channels.web import Shared
from bot.desk import audit, people
from bot.desk.boards.base import Supervisor, show
from bot.desk.web import Page

router = APIRouter(prefix="/desk/audit", route_class=Page, include_in_schema=False)
KINDS = (
    *("agent", "team", "rule", "tag", "target", "holiday", "setting", "reply"),
    *("conversation", "contact", "letter", "rating", "report"),
)


@router.get("")
def board(
    request: Request,
    caller: Supervisor,
    services: Shared,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    agent: str = "",
    kind: str = "",
) -> Response:
    """Who did what when, newest first."""
    agent_id = int(agent) if agent.isascii() and agent.isdigit() and len(agent) < 10 else None
    kind = kind if kind in KINDS else ""
    with services.store.read() as session:
        entries = audit.listed(session, before, agent_id, f"{kind}_" if kind else "")
        staff = people.listed(session)
    more = entries[-1].id if len(entries) == audit.PAGE else None
    return show(
        request, services, caller, "audit", entries=entries, staff=staff, kinds=KINDS, kind=kind,
        agent_id=agent_id, more=more, plain=plain,
    )  # fmt: skip


def plain(values: dict[str, Any]) -> str:
    """What was before or after, as a line."""
    return ", ".join(f"{name}: {_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)
