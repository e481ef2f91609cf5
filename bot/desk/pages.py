"""The desk's pages: links and forms that work by themselves; `static/desk.js` makes them live."""

import heapq
import re
import secrets
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

import structlog
from fastapi import APIRouter, Depends, Form, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from bot import accounts, live
from bot.channels.web import Shared
from bot.desk import agents, api, care_view, conversations, dead_letters, presence
from bot.desk.events import Reader
from bot.desk.render import Times, page
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound, NotLoggedIn, StoreDown
from bot.domain.window import window
from bot.domain.words import Author, State
from bot.services import Services
from bot.store.tables import Agent, HandOff, Message

LOCAL = re.compile(r"/desk(/conversations/\d{1,10})?(\?view=[a-z]{1,10})?")  # where a log-in may lead
log = structlog.get_logger()


class View(StrEnum):
    """What the queue shows."""

    WAITING = "waiting"
    MINE = "mine"
    OPEN = "open"
    CLOSED = "closed"


class Page(APIRoute):
    """A route whose errors are pages, and which sends whoever isn't logged in to the log-in page."""

    def get_route_handler(self) -> Callable[..., Any]:
        """FastAPI's own handler, wrapped."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                response: Response = await handle(request)
            except NotLoggedIn:
                return _to_login(request)
            except NotFound:
                return _error(request, 404)
            except RequestValidationError:
                return _error(request, 404 if request.method == "GET" else 422)
            except NotAllowed:
                return _error(request, 403)
            except StoreDown as error:
                log.error("request.failed", error=str(error))
                return _error(request, 503)
            return response

        return handle_or_explain


def writer_of(
    reader: Reader, csrf: Annotated[str, Form()] = "", x_csrf_token: Annotated[str, Header()] = ""
) -> api.Caller:
    """Who sends a form of ours. Raises NotLoggedIn, or NotAllowed for another site's form."""
    api.check_csrf(reader.token, x_csrf_token or csrf)
    return reader


def check_same_site(
    request: Request, sec_fetch_site: Annotated[str, Header()] = "", origin: Annotated[str, Header()] = ""
) -> None:
    """Where there is no session yet, the browser says whose form it is. Raises NotAllowed."""
    elsewhere = bool(origin) and urlsplit(origin).netloc != request.headers.get("host")
    if sec_fetch_site not in ("", "same-origin", "none") or (not sec_fetch_site and elsewhere):
        raise NotAllowed("This form came from another site.")


router = APIRouter(prefix="/desk", route_class=Page, include_in_schema=False)
Writer = Annotated[api.Caller, Depends(writer_of)]
FormView = Annotated[View, Form(alias="view")]
SAME_SITE = [Depends(check_same_site)]


@router.get("")
def desk(reader: Reader, services: Shared, view: View = View.WAITING) -> Response:
    """The desk, no conversation open."""
    return _desk(services, reader, view, None)


@router.get("/conversations/{conversation_id}")
def conversation(
    conversation_id: api.ConversationId, reader: Reader, services: Shared, view: View = View.WAITING
) -> Response:
    """The desk with a conversation open."""
    return _desk(services, reader, view, conversation_id)


@router.get("/queue")
def queue(
    reader: Reader,
    services: Shared,
    view: View = View.WAITING,
    open_id: Annotated[int | None, Query(alias="open")] = None,
) -> Response:
    """The left column alone, for a page that refreshes itself."""
    with services.store.read() as session:
        shown = _queue(session, services, reader.agent, view)
    return page("queue.html", _times(services), **shown, open_id=open_id)


@router.get("/conversations/{conversation_id}/thread")
def thread(
    conversation_id: api.ConversationId, reader: Reader, services: Shared, view: View = View.WAITING
) -> Response:
    """A conversation and its customer's card alone, for a page that refreshes itself."""
    with services.store.read() as session:
        shown = _thread(session, services, reader, conversation_id)
    csrf = agents.csrf_token(reader.token)
    return page("thread.html", _times(services), **shown, view=view, csrf=csrf)


@router.post("/conversations/{conversation_id}/take")
def take(
    conversation_id: api.ConversationId, writer: Writer, services: Shared, view: FormView = View.WAITING
) -> Response:
    """Takes it; whoever comes second is told who has it."""
    answer = _do(services, writer, view, conversation_id, conversations.take)
    conversations.let_it_land(services.store, conversation_id)
    return answer


@router.post("/conversations/{conversation_id}/give-back")
def give_back(
    conversation_id: api.ConversationId, writer: Writer, services: Shared, view: FormView = View.WAITING
) -> Response:
    """Gives it back to the bot."""
    return _do(services, writer, view, conversation_id, conversations.give_back)


@router.post("/conversations/{conversation_id}/resolve")
def resolve(
    conversation_id: api.ConversationId, writer: Writer, services: Shared, view: FormView = View.WAITING
) -> Response:
    """Closes it."""
    return _do(services, writer, view, conversation_id, conversations.resolve)


@router.post("/conversations/{conversation_id}/write")
def write(
    conversation_id: api.ConversationId,
    writer: Writer,
    services: Shared,
    client_id: Annotated[str, Form()],
    kind: Annotated[Literal["answer", "note"], Form()],
    text: Annotated[str, Form()] = "",
    view: FormView = View.WAITING,
) -> Response:
    """Answers the customer or leaves a note; the same `client_id` again writes nothing more."""
    verb = conversations.answer if kind == "answer" else conversations.note

    def act(session: Session, agent: Agent) -> None:
        verb(session, conversation_id, agent, client_id, text, services.clock())

    return _act(services, writer, view, conversation_id, act, (kind, text))


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
            dead_letters.send_again(session, public_id, services.clock())
        else:
            dead_letters.let_go(session, public_id, agent, services.clock())

    return _settle(services, writer, act)


@router.post("/dead-letters/turns/{conversation_id}/decide-again")
def settle_turn(conversation_id: api.ConversationId, writer: Writer, services: Shared) -> Response:
    """Gives the turn to the bot once more."""

    def act(session: Session, _agent: Agent) -> None:
        dead_letters.decide_again(session, conversation_id, services.clock())

    return _settle(services, writer, act)


@router.get("/login")
def login_page(request: Request, services: Shared) -> Response:
    """The log-in page; `next` says where one wanted to go."""
    return _login(services, request.query_params.get("next", ""))


@router.post("/login", dependencies=SAME_SITE)
def login(
    request: Request,
    services: Shared,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next_path: Annotated[str, Form(alias="next")] = "",
) -> Response:
    """Opens a session, or says why not: 401, or 429 after too many wrong tries."""
    try:
        token = api.log_in(services, email, password, request)
    except agents.TooManyLogins as error:
        return _login(services, next_path, email, str(error), 429)
    except NotLoggedIn as error:
        return _login(services, next_path, email, str(error), 401)
    response = RedirectResponse(_local(next_path), 303)
    response.set_cookie(
        api.COOKIE,
        token,
        max_age=int(agents.SESSION_AGE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=services.settings.secure_cookies,
    )
    return response


@router.post("/logout")
def logout(writer: Writer, services: Shared) -> Response:
    """Ends the session; its open pages notice."""
    with services.store.unit_of_work() as session:
        agents.close_session(session, writer.token)
        presence.logged_out(session, writer.agent.id, services.clock())
    response = RedirectResponse("/desk/login", 303)
    response.delete_cookie(api.COOKIE)
    return response


@router.get("/{_rest:path}")
def nothing_here(_reader: Reader) -> Response:
    """A page for what is no page."""
    raise NotFound("There is no such page.")


def _desk(
    services: Services,
    caller: api.Caller,
    view: View,
    open_id: int | None,
    notice: str = "",
    draft: tuple[str, str] = ("answer", ""),
    status: int = 200,
) -> Response:
    """The whole page. `notice` is what went wrong, `draft` the kind and text that were to be sent."""
    cursor = live.newest(services.store)  # before the rest: an event may come twice, never not at all
    with services.store.read() as session:
        shown = _queue(session, services, caller.agent, view) | {"csrf": agents.csrf_token(caller.token)}
        if open_id is not None:
            shown |= _thread(session, services, caller, open_id) | {"draft": draft}
    return page(
        "desk.html",
        _times(services),
        status,
        **shown,
        agent=caller.agent,
        cursor=cursor,
        notice=notice,
        open_id=open_id,
        shop=services.settings.shop_name,
    )


def _queue(session: Session, services: Services, agent: Agent, view: View) -> dict[str, Any]:
    state = {View.WAITING: State.WAITING, View.CLOSED: State.CLOSED}.get(view)
    holder = agent.id if view is View.MINE else None
    rows = conversations.listed(session, state, holder)
    return {
        "bar": care_view.bar(session, services, agent),
        "row_care": care_view.at(session, services, agent, [row.id for row in rows]),
        "view": view,
        "views": View,
        "rows": rows,
        "counts": conversations.counts(session, agent),
        "limit": conversations.LIST_LIMIT,
        "alerts": accounts.alerts(session),
    }


def _thread(session: Session, services: Services, caller: api.Caller, conversation_id: int) -> dict[str, Any]:
    """A conversation as its page shows it. Raises NotFound."""
    now = services.clock()
    detail = conversations.detail(session, conversation_id, caller.agent)
    first = conversations.listed(session, State.WAITING, limit=1)
    return {
        "it": detail,
        "thread_care": care_view.at(session, services, caller.agent, [conversation_id]),
        "window": window(detail.conversation.channel, detail.conversation.identity.wrote_at, now),
        "progress": {
            one.id: conversations.progress(one, detail.conversation.identity) for one in detail.messages
        },
        "timeline": _timeline(detail),
        "hand_off": next((h for h in reversed(detail.hand_offs) if h.ended_at is None), None),
        "notes": [message for message in detail.messages if message.author is Author.NOTE],
        "next_waiting": next((row for row in first if row.id != conversation_id), None),
        "client_id": secrets.token_hex(12),
        "text_limit": conversations.TEXT_LIMIT,
        "draft": ("answer", ""),
    }


def _timeline(detail: conversations.Detail) -> list[Message | HandOff]:
    """Messages in their order, and each hand-off after what led to it."""
    both: tuple[Sequence[Message | HandOff], ...] = (detail.messages, detail.hand_offs)
    return list(heapq.merge(*both, key=lambda item: item.at))


def _do(
    services: Services, writer: api.Caller, view: View, conversation_id: int, verb: Callable[..., object]
) -> Response:
    def act(session: Session, agent: Agent) -> None:
        verb(session, conversation_id, agent, services.clock())

    return _act(services, writer, view, conversation_id, act)


def _act(
    services: Services,
    writer: api.Caller,
    view: View,
    conversation_id: int,
    act: Callable[[Session, Agent], None],
    draft: tuple[str, str] = ("answer", ""),
) -> Response:
    """Does it and shows the conversation; what can't be done is said on the page, the text kept."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, writer.agent.id))
    except (BadInput, Conflict, NotAllowed) as error:
        status = 409 if isinstance(error, Conflict) else 422 if isinstance(error, BadInput) else 403
        return _desk(services, writer, view, conversation_id, str(error), draft, status)
    return RedirectResponse(f"/desk/conversations/{conversation_id}?view={view.value}", 303)


def _letters(services: Services, caller: api.Caller, notice: str = "", status: int = 200) -> Response:
    with services.store.read() as session:
        found = dead_letters.listed(session)
    csrf = agents.csrf_token(caller.token)
    return page("dead_letters.html", _times(services), status, found=found, csrf=csrf, notice=notice)


def _settle(services: Services, writer: api.Caller, act: Callable[[Session, Agent], None]) -> Response:
    """Does it and shows the rest; what can't be done is said on the page."""
    try:
        with services.store.unit_of_work() as session:
            act(session, session.get_one(Agent, writer.agent.id))
    except (Conflict, NotFound) as error:
        return _letters(services, writer, str(error), 409)
    return RedirectResponse("/desk/dead-letters", 303)


def _login(
    services: Services, next_path: str, email: str = "", problem: str = "", status: int = 200
) -> Response:
    return page(
        "login.html",
        _times(services),
        status,
        next_path=_local(next_path),
        email=email[:320],
        problem=problem,
        shop=services.settings.shop_name,
    )


def _to_login(request: Request) -> Response:
    """To the log-in page, and from there back; a form that came too late leads to its page."""
    wanted = request.url.path
    if request.method == "POST":
        wanted = wanted.rpartition("/")[0]
    elif request.url.query:
        wanted += f"?{request.url.query}"
    return RedirectResponse(f"/desk/login?{urlencode({'next': _local(wanted)})}", 303)


def _local(path: str) -> str:
    return path if LOCAL.fullmatch(path) else "/desk"


def _error(request: Request, status: int) -> Response:
    services: Services = request.app.state.services
    return page("error.html", _times(services), status, status=status)


def _times(services: Services) -> Times:
    return Times(services.clock(), services.settings.time_zone)
