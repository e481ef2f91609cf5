"""What every agent does at the desk beside answering: presence; tags, priority, team, rating of a chat."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from bot.channels.web import Shared
from bot.desk import care, presence
from bot.desk.api import ConversationId, Desk
from bot.desk.place import Back
from bot.desk.promises import Line
from bot.desk.web import Page, Writer
from bot.domain.errors import NotFound
from bot.services import Services
from bot.store.tables import Agent, Conversation

router = APIRouter(include_in_schema=False)
desk = APIRouter(prefix="/desk", route_class=Page)
json_api = APIRouter(prefix="/api/desk")


class PresenceIn(BaseModel):
    """Whether the agent may be given conversations."""

    available: bool


@desk.post("/presence")
def set_presence(
    writer: Writer, services: Shared, available: Annotated[Literal["yes", "no"], Form()]
) -> Response:
    """An agent is there, or not."""
    with services.store.unit_of_work() as session:
        presence.set_available(session, writer.agent.id, available == "yes", services.clock())
    return RedirectResponse("/desk", 303)


@desk.post("/conversations/{conversation_id}/care")
def sort(
    conversation_id: ConversationId,
    writer: Writer,
    services: Shared,
    place: Back,
    verb: Annotated[Literal["tag", "untag", "priority", "team", "rating"], Form()],
    value: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Tags, priority, team, or asks for a rating; then shows the conversation."""
    _do(services, writer.agent, _verb(services, conversation_id, verb, value))
    return RedirectResponse(f"/desk/conversations/{conversation_id}?{place.query}", 303)


@json_api.post("/presence")
def set_presence_json(body: PresenceIn, caller: Desk, services: Shared) -> dict[str, bool]:
    """The same for programs; whoever says so at least every three minutes stays available."""
    with services.store.unit_of_work() as session:
        presence.set_available(session, caller.agent.id, body.available, services.clock())
    return {"available": body.available}


@json_api.get("/conversations/{conversation_id}/care")
def care_json(conversation_id: ConversationId, _caller: Desk, services: Shared) -> dict[str, Any]:
    """Tags, priority, team, and what is owed next by when; 404 for none."""
    with services.store.read() as session:
        if session.get(Conversation, conversation_id) is None:
            raise NotFound("There is no such conversation.")
        found = care.of(session, [conversation_id], services.clock())[conversation_id]
    due = found.due
    return {
        "priority": found.priority,
        "team": found.team,
        "tags": [tag.name for tag in found.tags],
        "rating": found.rating.score if found.rating else None,
        "due": {"what": due.what, "at": due.at.isoformat(), "state": due.phase, "raised": due.escalated}
        if due
        else None,
    }


router.include_router(desk)
router.include_router(json_api)


def _verb(
    services: Services, conversation_id: int, verb: str, value: str
) -> Callable[[Session, Agent], None]:
    now = services.clock()
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None

    def act(session: Session, agent: Agent) -> None:
        if verb == "rating":
            care.ask_rating(session, agent, conversation_id, now)
        elif verb == "team":
            care.set_team(session, agent, conversation_id, number, now)
        elif number is None:
            raise NotFound("There is no such tag.")
        elif verb == "priority":
            care.set_priority(session, agent, conversation_id, number, Line.of(services), now)
        else:
            (care.tag if verb == "tag" else care.untag)(session, agent, conversation_id, number, now)

    return act


def _do(services: Services, agent: Agent, act: Callable[[Session, Agent], None]) -> None:
    with services.store.unit_of_work() as session:
        act(session, session.get_one(Agent, agent.id))
