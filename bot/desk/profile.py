"""The pages and forms of the profile card."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from bot.channels.web import Shared
from bot.desk import agents, api, contacts, pages
from bot.desk.events import Reader
from bot.desk.place import Back
from bot.desk.render import page
from bot.desk.web import Page, Writer, status_of, times_of
from bot.desk.words import said
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound
from bot.services import Services
from bot.store.desk_tables import Joining
from bot.store.tables import Agent, Contact

router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)
Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
FormId = Annotated[int, Form(ge=1, le=2**31 - 1)]
From = Annotated[int, Form(alias="from", ge=1, le=2**31 - 1)]  # the conversation that it was done in


@router.get("/contacts/{contact_id}/merge")
def choose(
    contact_id: Id,
    reader: Reader,
    services: Shared,
    origin: Annotated[int, Query(alias="from", ge=1, le=2**31 - 1)],
    q: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Looks for the contact who may be the same person, and asks."""
    return _choice(services, reader, contact_id, origin, q)


@router.post("/contacts/{contact_id}/merge")
def merge(
    contact_id: Id, writer: Writer, services: Shared, place: Back, origin: From, other: FormId
) -> Response:
    """Makes two contacts one."""

    def act(session: Session, agent: Agent) -> None:
        contacts.merge(session, contact_id, other, agent, services.clock())

    try:
        _carry_out(services, writer, act)
    except (BadInput, Conflict) as error:
        notice = said(error, writer.language)
        return _choice(services, writer, contact_id, origin, "", notice, status_of(error))
    return RedirectResponse(f"/desk/conversations/{origin}?{place.query}", 303)


@router.post("/contacts/{contact_id}/split")
def split(
    contact_id: Id, writer: Writer, services: Shared, place: Back, origin: From, identity: FormId
) -> Response:
    """Makes a channel a contact of its own."""

    def act(session: Session, agent: Agent) -> None:
        contacts.split(session, contact_id, identity, agent, services.clock())

    _carry_out(services, writer, act)
    return RedirectResponse(f"/desk/conversations/{origin}?{place.query}", 303)


@router.post("/joinings/{joining_id}/undo")
def undo(joining_id: Id, writer: Writer, services: Shared, place: Back, origin: From) -> Response:
    """Undoes a merge or a split."""

    def act(session: Session, agent: Agent) -> None:
        contacts.undo(session, joining_id, agent, services.clock())

    try:
        _carry_out(services, writer, act)
    except Conflict as error:
        notice = said(error, writer.language)
        with services.store.read() as session:
            contact_id = session.get_one(Joining, joining_id).contact_id
        return _choice(services, writer, contact_id, origin, "", notice, 409)
    return RedirectResponse(f"/desk/conversations/{origin}?{place.query}", 303)


@router.post("/contacts/{contact_id}/notes")
def add_note(
    contact_id: Id,
    writer: Writer,
    services: Shared,
    place: Back,
    origin: From,
    text: Annotated[str, Form()] = "",
) -> Response:
    """Keeps a note on a contact."""

    def act(session: Session, agent: Agent) -> None:
        contacts.add_note(session, contact_id, agent, text, services.clock())

    return pages.carry_out(services, writer, place, origin, act, ("contact", text))


@router.post("/contact-notes/{note_id}/delete")
def delete_note(note_id: Id, writer: Writer, services: Shared, place: Back, origin: From) -> Response:
    """Deletes a note of one's own."""

    def act(session: Session, agent: Agent) -> None:
        contacts.delete_note(session, note_id, agent, services.clock())

    try:
        _carry_out(services, writer, act)
    except NotAllowed:
        raise NotFound("There is no such note.") from None
    return RedirectResponse(f"/desk/conversations/{origin}?{place.query}", 303)


def _carry_out(services: Services, writer: api.Caller, act: Callable[[Session, Agent], None]) -> None:
    with services.store.unit_of_work() as session:
        act(session, session.get_one(Agent, writer.agent.id))


def _choice(
    services: Services,
    caller: api.Caller,
    contact_id: int,
    origin: int,
    text: str,
    notice: str = "",
    status: int = 200,
) -> Response:
    with services.store.read() as session:
        contact = session.get(Contact, contact_id)
        if contact is None:
            raise NotFound("There is no such customer.")
        found = contacts.find(session, text, contact_id) if text.strip() else []
        shown = [(one, list(one.identities)) for one in found]
    return page(
        "merge.html",
        times_of(services, caller.language),
        status,
        contact=contact,
        found=shown,
        origin=origin,
        asked=text,
        notice=notice,
        csrf=agents.csrf_token(caller.token),
    )
