"""The desk itself: links and forms that work by themselves; `static/desk.js` makes them live."""

import heapq
import secrets
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from bot import accounts, live
from bot.channels.web import Shared
from bot.components.times import spoken
from bot.desk import agents, api, care_view, conversations, detail, looking, stream
from bot.desk.events import Reader
from bot.desk.place import Back, Here, Place
from bot.desk.render import page
from bot.desk.snoozing import Pause, moment_of
from bot.desk.stream import View
from bot.desk.web import Page, Writer, status_of, times_of
from bot.desk.words import LANGUAGES, said
from bot.domain.errors import BadInput, Conflict, NotAllowed
from bot.domain.window import window
from bot.services import Services
from bot.store.desk_tables import Act
from bot.store.tables import Agent, HandOff, Message

router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)


@router.get("")
def desk(reader: Reader, services: Shared, place: Here) -> Response:
    """The desk, no conversation open."""
    return _desk(services, reader, place, None)


@router.get("/conversations/{conversation_id}")
def conversation(
    conversation_id: api.ConversationId, reader: Reader, services: Shared, place: Here
) -> Response:
    """The desk with a conversation open."""
    _opened(services, reader, conversation_id)
    return _desk(services, reader, place, conversation_id)


@router.get("/queue")
def queue(
    reader: Reader, services: Shared, place: Here, open_id: Annotated[int | None, Query(alias="open")] = None
) -> Response:
    """The left column alone, for a page that refreshes itself."""
    with services.store.read() as session:
        shown = _queue(session, services, reader, place)
    return page("queue.html", times_of(services, reader.language), **shown, open_id=open_id)


@router.get("/conversations/{conversation_id}/thread")
def thread(
    conversation_id: api.ConversationId,
    reader: Reader,
    services: Shared,
    place: Here,
    seen: Annotated[bool, Query()] = False,
) -> Response:
    """A conversation and its customer's card alone, for a page that refreshes itself; `seen` if somebody
    looks at it."""
    if seen:
        _opened(services, reader, conversation_id)
    with services.store.read() as session:
        shown = _thread(session, services, reader, conversation_id)
    csrf = agents.csrf_token(reader.token)
    return page("thread.html", times_of(services, reader.language), **shown, place=place, csrf=csrf)


@router.post("/conversations/{conversation_id}/take")
def take(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Takes it; whoever comes second is told who has it."""
    answer = _do(services, writer, place, conversation_id, conversations.take)
    if answer.status_code == 303:  # it is theirs
        conversations.let_it_land(services.store, conversation_id)
    return answer


@router.post("/conversations/{conversation_id}/take-over")
def take_over(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Takes it from the colleague who has it; the page has asked whether that is meant."""
    return _do(services, writer, place, conversation_id, conversations.take_over)


@router.post("/conversations/{conversation_id}/hand")
def hand(
    conversation_id: api.ConversationId,
    writer: Writer,
    services: Shared,
    place: Back,
    to: Annotated[int, Form(ge=1, le=2**31 - 1)],
    note: Annotated[str, Form()] = "",
) -> Response:
    """Gives it to a colleague, with a note."""

    def act(session: Session, agent: Agent) -> None:
        conversations.hand(session, conversation_id, agent, to, note, services.clock())

    return carry_out(services, writer, place, conversation_id, act)


@router.post("/conversations/{conversation_id}/snooze")
def snooze(
    conversation_id: api.ConversationId,
    writer: Writer,
    services: Shared,
    place: Back,
    pause: Annotated[Pause, Form(alias="until")],
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Puts it out of its holder's sight for a while."""
    now = services.clock()
    until = moment_of(pause, now.astimezone(services.settings.time_zone), services.settings.opening_hours)

    def act(session: Session, agent: Agent) -> None:
        conversations.snooze(session, conversation_id, agent, until, reason, now)

    return carry_out(services, writer, place, conversation_id, act)


@router.post("/conversations/{conversation_id}/wake")
def wake(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Puts it back into its holder's sight."""
    return _do(services, writer, place, conversation_id, conversations.wake)


@router.post("/conversations/{conversation_id}/give-back")
def give_back(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Gives it back to the bot."""
    return _do(services, writer, place, conversation_id, conversations.give_back)


@router.post("/conversations/{conversation_id}/resolve")
def resolve(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Closes it."""
    return _do(services, writer, place, conversation_id, conversations.resolve)


@router.post("/conversations/{conversation_id}/reopen")
def reopen(conversation_id: api.ConversationId, writer: Writer, services: Shared, place: Back) -> Response:
    """Undoes that it was resolved."""
    return _do(services, writer, place, conversation_id, conversations.reopen)


@router.post("/conversations/{conversation_id}/write")
def write(
    conversation_id: api.ConversationId,
    writer: Writer,
    services: Shared,
    place: Back,
    client_id: Annotated[api.Storable, Form()],
    kind: Annotated[Literal["answer", "note"], Form()],
    text: Annotated[str, Form()] = "",
) -> Response:
    """Answers the customer or leaves a note; the same `client_id` again writes nothing more."""
    verb = conversations.answer if kind == "answer" else conversations.note

    def act(session: Session, agent: Agent) -> None:
        verb(session, conversation_id, agent, client_id, text, services.clock())

    return carry_out(services, writer, place, conversation_id, act, (kind, text))


@router.post("/looking", status_code=204)
def look(
    writer: Writer,
    services: Shared,
    conversation_id: Annotated[int | None, Form(alias="conversation", ge=1, le=2**31 - 1)] = None,
    types: Annotated[bool, Form()] = False,
) -> Response:
    """An open page says which conversation it shows, and whether its agent writes there."""
    with services.store.unit_of_work() as session:
        looking.look(session, writer.agent, conversation_id, types, services.clock())
    return Response(status_code=204)


@router.post("/language")
def choose_language(writer: Writer, services: Shared, language: Annotated[str, Form()]) -> Response:
    """The desk in another language, for this agent."""
    if language not in LANGUAGES:
        raise BadInput("There is no such language.")
    with services.store.unit_of_work() as session:
        session.get_one(Agent, writer.agent.id).language = language
    return RedirectResponse("/desk", 303)


def _desk(
    services: Services,
    caller: api.Caller,
    place: Place,
    open_id: int | None,
    notice: str = "",
    draft: tuple[str, str] = ("answer", ""),
    status: int = 200,
) -> Response:
    """The whole page. `notice` is what went wrong, `draft` the kind (`answer`, `note` or `contact`) and text
    that were to be sent."""
    with services.store.read() as session:
        cursor = live.newest(session)  # before the rest: an event may come twice, never not at all
        shown = _queue(session, services, caller, place) | {"csrf": agents.csrf_token(caller.token)}
        if open_id is not None:
            shown |= _thread(session, services, caller, open_id) | {"draft": draft}
    return page(
        "desk.html",
        times_of(services, caller.language),
        status,
        **shown,
        agent=caller.agent,
        cursor=cursor,
        notice=notice,
        open_id=open_id,
        shop=services.settings.shop_name,
    )


def _queue(session: Session, services: Services, caller: api.Caller, place: Place) -> dict[str, Any]:
    now = services.clock()
    found = stream.listed(session, caller.agent, place.view, now, place.filters, place.before, place.rows)
    counts = stream.counts(session, caller.agent, now)
    return {
        "bar": care_view.bar(session, services, caller),
        "row_care": care_view.at(session, services, caller, [row.id for row in found.rows]),
        "place": place,
        "views": View,
        "rows": found.rows,
        "more": place.longer(found.more, len(found.rows)) if found.more else None,
        "short": len(found.rows) < place.rows,  # a search that looked at so many messages, and may go on
        "counts": counts,
        "shown": stream.counts(session, caller.agent, now, place.filters) if place.filters else counts,
        "many": stream.MANY,
        "choices": stream.choices(session),
        "me": caller.agent.id,
        "alerts": accounts.alerts(session),
    }


def _thread(session: Session, services: Services, caller: api.Caller, conversation_id: int) -> dict[str, Any]:
    """A conversation as its page shows it. Raises NotFound."""
    now = services.clock()
    it = detail.detail(session, conversation_id, caller.agent, now)
    waiting = stream.listed(session, caller.agent, View.WAITING, now, limit=2).rows
    told = it.told(services.settings)
    return {
        "it": it,
        "thread_care": care_view.at(session, services, caller, [conversation_id]),
        "window": window(it.conversation.channel, it.conversation.identity.wrote_at, now),
        "progress": {one.id: detail.progress(one, it.conversation.identity) for one in it.messages},
        "timeline": _timeline(it),
        "told": told and (told[0], spoken(told[1], caller.language)),
        "next_waiting": next((row for row in waiting if row.id != conversation_id), None),
        "others": looking.others(session, conversation_id, caller.agent, now),
        "colleagues": stream.colleagues(session, caller.agent),
        "pauses": Pause,
        "client_id": secrets.token_hex(12),
        "text_limit": conversations.TEXT_LIMIT,
        "draft": ("answer", ""),
        "me": caller.agent.id,
    }


def _timeline(it: detail.Detail) -> list[Message | HandOff | Act | detail.Routed]:
    """Messages in their order, and what was done with the conversation between them."""
    all_three: tuple[Sequence[Message | HandOff | Act | detail.Routed], ...]
    all_three = (it.messages, it.hand_offs, it.done)
    return list(heapq.merge(*all_three, key=lambda item: item.at))


def _opened(services: Services, caller: api.Caller, conversation_id: int) -> None:
    """Notes that the agent has read a conversation, if that is news."""

    def is_news(session: Session) -> bool:
        return stream.mark_seen(session, caller.agent, conversation_id, services.clock())

    with services.store.read() as session:
        fresh = is_news(session)
        session.rollback()
    if fresh:
        with services.store.unit_of_work() as session:
            is_news(session)


def _do(
    services: Services, writer: api.Caller, place: Place, conversation_id: int, verb: Callable[..., object]
) -> Response:
    def act(session: Session, agent: Agent) -> None:
        verb(session, conversation_id, agent, services.clock())

    return carry_out(services, writer, place, conversation_id, act)


def carry_out(
    services: Services,
    writer: api.Caller,
    place: Place,
    conversation_id: int,
    act: Callable[[Session, Agent], None],
    draft: tuple[str, str] = ("answer", ""),
) -> Response:
    """Does it and shows the conversation; what can't be done is said on the page, the text (`draft`: what
    kind it is, and the text) kept."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, writer.agent.id))
    except (BadInput, Conflict, NotAllowed) as error:
        notice = said(error, writer.language)
        return _desk(services, writer, place, conversation_id, notice, draft, status_of(error))
    return RedirectResponse(f"/desk/conversations/{conversation_id}?{place.query}", 303)
