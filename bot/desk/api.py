"""The desk's JSON API: a session cookie with the CSRF header, or a bearer token."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session

from bot.channels.web import Shared, storable
from bot.desk import agents, audit, conversations, dead_letters, detail, presence, stream
from bot.domain.errors import NotAllowed, NotLoggedIn
from bot.domain.texts import is_text
from bot.domain.words import State
from bot.services import Services
from bot.store.tables import Agent

COOKIE = "reply_twice_desk"
Storable = Annotated[str, AfterValidator(storable)]
router = APIRouter(prefix="/api/desk", tags=["desk"])


@dataclass(frozen=True)
class Caller:
    """A logged-in agent and the token they came with."""

    agent: Agent
    token: str
    language: str = "en"  # of the desk's pages for them


class LoginIn(BaseModel):
    """What the log-in page asks for."""

    email: str = Field(max_length=320)
    password: str = Field(max_length=1_000)


class HandIn(BaseModel):
    """The colleague's id, and what they should know."""

    to: int = Field(ge=1, le=2**31 - 1)
    note: str = Field(default="", max_length=conversations.TEXT_LIMIT)


class SnoozeIn(BaseModel):
    """Until when, with a time zone, and why."""

    until: AwareDatetime
    reason: str = Field(default="", max_length=conversations.REASON_LIMIT)


class TextIn(BaseModel):
    """`client_id` is the page's own id of the message: sent again, nothing is written twice."""

    client_id: Storable = Field(min_length=1, max_length=80)
    text: str = Field(min_length=1, max_length=conversations.TEXT_LIMIT)


def caller_of(
    request: Request,
    services: Shared,
    authorization: Annotated[str, Header()] = "",
    x_csrf_token: Annotated[str, Header()] = "",
) -> Caller:
    """Who calls. A cookie, which a browser adds by itself, needs the CSRF header to change anything.

    Raises NotAllowed.
    """
    scheme, _, bearer = authorization.partition(" ")
    cookie = request.cookies.get(COOKIE, "")
    if scheme.lower() == "bearer":
        return caller_with(services, bearer.strip(), by_page=False)
    caller = caller_with(services, cookie)
    if request.method not in ("GET", "HEAD"):
        check_csrf(caller.token, x_csrf_token)
    return caller


def caller_with(services: Services, token: str, by_page: bool = True) -> Caller:
    """Whose session a token opens, and whether a page or a program brings it. Raises NotLoggedIn."""
    with services.store.read() as session:
        caller = Caller(agents.agent_of(session, token, services.clock()), token)
    presence.seen(services.store, caller.agent.id, services.clock(), by_page)
    return caller


def check_csrf(token: str, given: str) -> None:
    """Raises NotAllowed unless the page that sends this is one of ours."""
    if not agents.same(agents.csrf_token(token), given):
        raise NotAllowed("This page is out of date; reload it.")


ConversationId = Annotated[int, Path(ge=1, le=2**31 - 1)]
PublicId = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
Desk = Annotated[Caller, Depends(caller_of)]


@router.post("/login")
def login(body: LoginIn, request: Request, services: Shared) -> dict[str, str]:
    """Exchanges e-mail and password for a bearer token; 429 after too many wrong ones."""
    token = log_in(services, body.email, body.password, request)
    return {"token": token}


def log_in(services: Shared, email: str, password: str, request: Request) -> str:
    """A new session's token. Raises NotLoggedIn; a refused try is counted."""
    now = services.clock()
    email = email if is_text(email) else ""  # nobody's
    address = request.client.host if request.client else "unknown"
    with services.store.read() as session:
        agents.check_pace(session, email, address, now)
        agent = agents.find_agent(session, email)
    right = agents.check_password(agent, password)  # slow by design: no transaction waits for it
    with services.store.unit_of_work() as session:
        if agent and right:
            audit.note(session, agent, "agent_login", agent.name, now)
            return agents.open_session(session, agent, now)
        agents.note_failure(session, email, address, now)
    raise NotLoggedIn("E-mail or password is wrong.")


@router.get("/conversations")
def list_conversations(
    caller: Desk,
    services: Shared,
    state: State | None = None,
    mine: bool = False,
    view: stream.View | None = None,
    q: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[str | None, Query(max_length=60)] = None,
    limit: Annotated[int, Query(ge=1, le=stream.LONGEST)] = 200,
) -> dict[str, Any]:
    """A view of the stream, or all conversations in a state; `next` is the `before` of the next page.

    `q` searches messages, contacts and order numbers.
    """
    chosen = stream.View.WAITING if state is State.WAITING else stream.View.ALL
    states = (state,) if state else () if view or q else stream.OPEN
    filters = stream.Filters(text=q, states=() if mine else states)
    view = view or (stream.View.MINE if mine else chosen)
    with services.store.read() as session:
        found = stream.listed(session, caller.agent, view, services.clock(), filters, before, limit)
    return {"conversations": [row.as_json() for row in found.rows], "next": found.more}


@router.get("/conversations/{conversation_id}")
def get_conversation(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """One conversation with its messages, hand-offs and orders."""
    with services.store.read() as session:
        return detail.detail(session, conversation_id, caller.agent, services.clock()).as_json()


@router.post("/conversations/{conversation_id}/take")
def take(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Takes it; 409 names the colleague who has it."""
    answer = _do(services, caller, conversation_id, conversations.take)
    conversations.let_it_land(services.store, conversation_id)
    return answer


@router.post("/conversations/{conversation_id}/take-over")
def take_over(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Takes it from the colleague who has it; recorded."""
    return _do(services, caller, conversation_id, conversations.take_over)


@router.post("/conversations/{conversation_id}/hand")
def hand(conversation_id: ConversationId, body: HandIn, caller: Desk, services: Shared) -> dict[str, Any]:
    """Gives it to a colleague, with a note."""
    verb = partial(conversations.hand, to=body.to, note=body.note)
    return _do(services, caller, conversation_id, verb)


@router.post("/conversations/{conversation_id}/snooze")
def snooze(conversation_id: ConversationId, body: SnoozeIn, caller: Desk, services: Shared) -> dict[str, Any]:
    """Puts it off until a time, or until the customer writes."""
    verb = partial(conversations.snooze, until=body.until, reason=body.reason)
    return _do(services, caller, conversation_id, verb)


@router.post("/conversations/{conversation_id}/wake")
def wake(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Puts it back into its holder's sight."""
    return _do(services, caller, conversation_id, conversations.wake)


@router.post("/conversations/{conversation_id}/reopen")
def reopen(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Undoes that the caller has just resolved it."""
    return _do(services, caller, conversation_id, conversations.reopen)


@router.post("/conversations/{conversation_id}/give-back")
def give_back(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Gives it back to the bot."""
    return _do(services, caller, conversation_id, conversations.give_back)


@router.post("/conversations/{conversation_id}/resolve")
def resolve(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, Any]:
    """Closes it."""
    return _do(services, caller, conversation_id, conversations.resolve)


@router.post("/conversations/{conversation_id}/messages", status_code=201)
def answer(
    conversation_id: ConversationId, body: TextIn, caller: Desk, services: Shared, response: Response
) -> dict[str, str]:
    """Answers the customer: 201, or 200 and the same id if it was sent before.

    403 when nobody at the desk has the conversation, 409 when a colleague has it, it is closed, or the
    channel takes no answer any more.
    """
    return _write(services, caller, conversation_id, body, response, conversations.answer)


@router.post("/conversations/{conversation_id}/notes", status_code=201)
def note(
    conversation_id: ConversationId, body: TextIn, caller: Desk, services: Shared, response: Response
) -> dict[str, str]:
    """Leaves a note for colleagues."""
    return _write(services, caller, conversation_id, body, response, conversations.note)


@router.get("/dead-letters")
def list_dead_letters(_caller: Desk, services: Shared) -> dict[str, Any]:
    """Deliveries that failed or are unknown, and turns that failed again and again."""
    with services.store.read() as session:
        return dead_letters.listed(session).as_json()


@router.post("/deliveries/{public_id}/send-again")
def send_again(public_id: PublicId, caller: Desk, services: Shared) -> dict[str, str]:
    """Queues it once more; an `unknown` one may arrive twice. 409 where the bot may not speak any more."""
    with services.store.unit_of_work() as session:
        agent = _attached(session, caller)
        return {"status": dead_letters.send_again(session, public_id, agent, services.clock()).status.value}


@router.post("/deliveries/{public_id}/let-go")
def let_go(public_id: PublicId, caller: Desk, services: Shared) -> dict[str, str]:
    """It isn't tried again and leaves the list."""
    with services.store.unit_of_work() as session:
        agent = _attached(session, caller)
        return {"status": dead_letters.let_go(session, public_id, agent, services.clock()).status.value}


@router.post("/conversations/{conversation_id}/decide-again")
def decide_again(conversation_id: ConversationId, caller: Desk, services: Shared) -> dict[str, str]:
    """Gives a turn that failed to the bot once more."""
    with services.store.unit_of_work() as session:
        agent = _attached(session, caller)
        again = dead_letters.decide_again(session, conversation_id, agent, services.clock())
        return {"state": again.state.value}


def _do(services: Shared, caller: Caller, conversation_id: int, verb: Callable[..., Any]) -> dict[str, Any]:
    with services.store.unit_of_work() as session:
        agent = _attached(session, caller)
        verb(session, conversation_id, agent, now=services.clock())
        session.flush()
        return detail.detail(session, conversation_id, agent, services.clock()).row.as_json()


def _write(
    services: Shared,
    caller: Caller,
    conversation_id: int,
    body: TextIn,
    response: Response,
    verb: Callable[..., Any],
) -> dict[str, str]:
    with services.store.unit_of_work() as session:
        agent = _attached(session, caller)
        message, fresh = verb(session, conversation_id, agent, body.client_id, body.text, services.clock())
        response.status_code = 201 if fresh else 200
        public_id: str = message.public_id
    return {"id": public_id}


def _attached(session: Session, caller: Caller) -> Agent:
    return session.get_one(Agent, caller.agent.id)
