"""The pages of saved replies, and what the reply assistant shows beside an answer."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot.channels.web import Shared
from bot.desk import agents, api, assistant, saved
from bot.desk.detail import detail
from bot.desk.events import Reader
from bot.desk.render import page
from bot.desk.web import Page, Writer, status_of, times_of
from bot.desk.words import LANGUAGES, said, words
from bot.domain.errors import BadInput, Conflict, NotAllowed
from bot.domain.voice import Fault, warnings
from bot.services import Services
from bot.store.tables import Agent

router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)
GUIDE_LIMIT = 20_000  # characters of the voice guide that are shown


@router.get("/conversations/{conversation_id}/suggestions")
async def suggestions(conversation_id: api.ConversationId, reader: Reader, services: Shared) -> Response:
    """What might be answered to what the customer has said; nothing is sent by it."""
    case = await run_in_threadpool(_case, services, reader, conversation_id)
    advice = await assistant.advise(services, case[0]) if case[0] else assistant.Advice([])
    return page("suggestions.html", times_of(services, reader.language), advice=advice)


@router.post("/conversations/{conversation_id}/check")
def check(
    conversation_id: api.ConversationId, writer: Writer, services: Shared, text: Annotated[str, Form()] = ""
) -> Response:
    """How an answer reads, before it is sent."""
    case, upset = _case(services, writer, conversation_id)
    stored = assistant.stored_texts(case) if case else []
    found = warnings(text[: saved.TEXT_LIMIT], upset, public=False, stored=stored)
    texts = words(writer.language)["ASSIST"]
    said_so = [
        texts[one.fault.value] % one.words if one.fault is Fault.STOCK else texts[one.fault.value]
        for one in found
    ]
    said_so += [texts["unfilled"].format(name=f"{{{name}}}") for name in saved.unfilled(text)]
    return page("warnings.html", times_of(services, writer.language), warnings=said_so)


@router.get("/voice")
def voice(reader: Reader, services: Shared) -> Response:
    """The shop's voice guide."""
    return page("voice.html", times_of(services, reader.language), guide=guide(services.settings.voice_guide))


def guide(file: Path | None) -> list[tuple[str, list[str]]]:
    """A guide's blocks: `heading`, `list` or `text`, and their lines. Empty if there is none."""
    try:
        text = file.read_text(encoding="utf-8")[:GUIDE_LIMIT] if file else ""
    except (OSError, UnicodeDecodeError):
        return []
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("#"):
            blocks.append(("heading", [lines[0].lstrip("# ")]))
            lines = lines[1:]
        if lines:
            listed = lines[0].startswith(("- ", "* "))
            blocks.append(
                ("list", [line.lstrip("-* ") for line in lines]) if listed else ("text", [" ".join(lines)])
            )
    return blocks


@router.get("/replies")
def replies(reader: Reader, services: Shared) -> Response:
    """All saved replies, with forms to make and change them."""
    return _replies(services, reader)


@router.post("/replies")
async def create(request: Request, writer: Writer, services: Shared) -> Response:
    """A new one; a text for each language."""
    fields = await _fields(request)

    def act(session: Session, agent: Agent) -> None:
        saved.create(session, agent, fields["name"], fields, services.clock())

    return await run_in_threadpool(_settle, services, writer, act, None, fields)


@router.post("/replies/{reply_id}")
async def change(
    reply_id: api.ConversationId, request: Request, writer: Writer, services: Shared
) -> Response:
    """Changes one."""
    fields = await _fields(request)
    version = int(fields["version"]) if fields.get("version", "").isdecimal() else 0

    def act(session: Session, agent: Agent) -> None:
        saved.change(session, reply_id, agent, fields["name"], fields, version, services.clock())

    return await run_in_threadpool(_settle, services, writer, act, reply_id, fields)


@router.post("/replies/{reply_id}/delete")
def delete(reply_id: api.ConversationId, writer: Writer, services: Shared) -> Response:
    """Deletes one."""

    def act(session: Session, agent: Agent) -> None:
        saved.delete(session, reply_id, agent, services.clock())

    return _settle(services, writer, act, reply_id, {})


async def _fields(request: Request) -> dict[str, str]:
    form = await request.form()
    return {"name": ""} | {name: value for name, value in form.items() if isinstance(value, str)}


def _settle(
    services: Services,
    writer: api.Caller,
    act: Callable[[Session, Agent], None],
    reply_id: int | None,
    fields: dict[str, str],
) -> Response:
    """Does it and shows all; what can't be done is said there, what was written is kept."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, writer.agent.id))
    except (BadInput, Conflict, NotAllowed) as error:
        kept: dict[str, Any] = {"id": reply_id, "name": fields.get("name", ""), "texts": fields}
        return _replies(services, writer, said(error, writer.language), status_of(error), kept)
    return RedirectResponse("/desk/replies", 303)


def _replies(
    services: Services,
    caller: api.Caller,
    notice: str = "",
    status: int = 200,
    kept: dict[str, Any] | None = None,
) -> Response:
    with services.store.read() as session:
        found = saved.listed(session)
    return page(
        "replies.html",
        times_of(services, caller.language),
        status,
        replies=[(one, saved.may_change(one, caller.agent)) for one in found],
        variables=saved.VARIABLES,
        codes=LANGUAGES,
        notice=notice,
        kept=kept,
        csrf=agents.csrf_token(caller.token),
        name_limit=saved.NAME_LIMIT,
        text_limit=saved.TEXT_LIMIT,
    )


def _case(services: Services, caller: api.Caller, conversation_id: int) -> tuple[assistant.Case | None, bool]:
    """What suggestions are made from, and whether the customer is upset. Raises NotFound."""
    now = services.clock()
    with services.store.read() as session:
        it = detail(session, conversation_id, caller.agent, now)
        today = now.astimezone(services.settings.time_zone).date()
        case = assistant.case_of(session, it, caller.agent.name, services.settings, today)
        return case, it.upset
