"""The page of what didn't get through."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from bot.channels.web import Shared
from bot.desk import agents, api, dead_letters
from bot.desk.events import Reader
from bot.desk.render import page
from bot.desk.web import Page, Writer, times_of
from bot.desk.words import said
from bot.domain.errors import Conflict, NotFound
from bot.services import Services
from bot.store.tables import Agent

router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)


@router.get("/dead-letters")
def letters(reader: Reader, services: Shared) -> Response:
    """What didn't get through, each with what can be done about it."""
    return _letters(services, reader)


@router.post("/dead-letters/deliveries/{public_id}/{verb}")
def settle_delivery(
    public_id: api.PublicId, verb: Literal["send-again", "let-go"], writer: Writer, services: Shared
) -> Response:
    """Sends it again, or lets it go."""

    def act(session: Session, agent: Agent) -> None:
        if verb == "send-again":
            dead_letters.send_again(session, public_id, agent, services.clock())
        else:
            dead_letters.let_go(session, public_id, agent, services.clock())

    return _settle(services, writer, act)


@router.post("/dead-letters/turns/{conversation_id}/decide-again")
def settle_turn(conversation_id: api.ConversationId, writer: Writer, services: Shared) -> Response:
    """Gives the turn to the bot once more."""

    def act(session: Session, agent: Agent) -> None:
        dead_letters.decide_again(session, conversation_id, agent, services.clock())

    return _settle(services, writer, act)


def _letters(services: Services, caller: api.Caller, notice: str = "", status: int = 200) -> Response:
    with services.store.read() as session:
        found = dead_letters.listed(session)
    csrf = agents.csrf_token(caller.token)
    times = times_of(services, caller.language)
    return page("dead_letters.html", times, status, found=found, csrf=csrf, notice=notice)


def _settle(services: Services, writer: api.Caller, act: Callable[[Session, Agent], None]) -> Response:
    """Does it and shows the rest; what can't be done is said on the page."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, writer.agent.id))
    except (Conflict, NotFound) as error:
        return _letters(services, writer, said(error, writer.language), 409)
    return RedirectResponse("/desk/dead-letters", 303)
