"""The web chat: signed sessions, messages in, history and live events out.

A session token names one thread and is signed by us, so nobody can read or write another's
conversation. A customer whom the shop's own page has logged in proves it with a signature of the
shop's, and keeps one thread on every device.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot import inbox, live, ratings, sse
from bot.channels import plain
from bot.domain.errors import BadInput, NotAllowed, NotFound, NotLoggedIn
from bot.domain.rule import MAX_REPLIES
from bot.domain.texts import is_text
from bot.domain.words import Author, Button, Channel, State
from bot.filing import Kind
from bot.orders import normal_email
from bot.services import Services
from bot.settings import Settings, opens_at
from bot.store import queries
from bot.store.tables import Conversation, Identity, InboxItem, Message

ACCOUNT = "web"
TEXT_LIMIT = 4_000  # characters of one message
HISTORY = 200  # messages that a page is given
SESSION_AGE = timedelta(days=30)
# Of a session with an identity: then the page opens another, which one whose customer has logged out can't.
# The signature itself holds as long as CHAT_IDENTITY_SECRET does: there is no time in it.
IDENTITY_AGE = timedelta(days=1)
_identity = Identity.__table__.c
_IDENTITY = sa.select(_identity.id).where(
    _identity.account == ACCOUNT, _identity.thread == sa.bindparam("thread")
)
_NEWEST = (
    sa.select(Conversation)
    .where(Conversation.identity_id == sa.bindparam("identity"))
    .order_by(Conversation.id.desc())
    .limit(1)
)
_AFTER: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=0)])

router = APIRouter(prefix="/api/chat", tags=["web chat"])


async def services_of(request: Request) -> Services:
    """What `bot.app.build` made."""
    services: Services = request.app.state.services
    return services


Shared = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True)
class Visitor:
    """Whose session it is. The shop has signed for `email`, where there is one.

    `name` comes with it and is not signed: whoever holds the signature may put any. It is for people to
    read, and nothing is decided by it.
    """

    thread: str
    email: str | None = None
    name: str | None = None


def storable(text: str) -> str:
    """The text, if a database can hold it. Raises ValueError."""
    if not is_text(text):
        raise ValueError("has a character that is no text")
    return text


class IdentityIn(BaseModel):
    """A customer whom the shop's page has logged in."""

    email: str = Field(max_length=320)
    name: str | None = Field(None, max_length=200)
    signature: str = Field(max_length=200)

    @field_validator("email", "name")
    @classmethod
    def storable(cls, value: str | None) -> str | None:
        """Refuses what no database can hold."""
        return value and storable(value)


class SessionIn(BaseModel):
    """An anonymous visitor sends `{}`."""

    identity: IdentityIn | None = None


class MessageIn(BaseModel):
    """`client_id` is the page's own id of the message: sent again, nothing is stored twice."""

    model_config = ConfigDict(str_strip_whitespace=True)

    client_id: str = Field(min_length=1, max_length=80)
    text: str = Field(min_length=1, max_length=TEXT_LIMIT)
    button: Button | None = None

    @field_validator("text", "client_id")
    @classmethod
    def storable(cls, value: str) -> str:
        """Refuses what no database can hold."""
        return storable(value)


class RatingIn(BaseModel):
    """How the conversation that is over was: 1 (bad) to 5 (very good)."""

    score: int = Field(ge=1, le=5)
    comment: str = Field("", max_length=ratings.COMMENT_LIMIT)

    @field_validator("comment")
    @classmethod
    def storable(cls, value: str) -> str:
        """Refuses what no database can hold."""
        return storable(value)


async def open_session(request: Request) -> JSONResponse:
    """POST `/sessions`: opens a session, 201 and its token; 403 when the shop's signature is wrong."""
    services, body = await services_of(request), plain.checked(SessionIn, await plain.body_of(request))
    visitor = Visitor("s:" + secrets.token_urlsafe(24))
    if body.identity:
        visitor = _vouched(services.settings, body.identity)
    token = _signer(services.settings.secret_key).dumps([visitor.thread, visitor.email, visitor.name])
    return JSONResponse({"token": token}, status_code=201)


async def visitor_of(
    services: Shared,
    authorization: Annotated[str, Header()] = "",
    token: Annotated[str, Query()] = "",
) -> Visitor:
    """Reads the bearer token, or `?token=` where a browser can't send headers. Raises NotLoggedIn."""
    scheme, _, bearer = authorization.partition(" ")
    given = bearer.strip() if scheme.lower() == "bearer" else token
    try:
        data, signed_at = _signer(services.settings.secret_key).loads(given, return_timestamp=True)
    except BadSignature:
        raise NotLoggedIn("This chat session isn't valid any more; open a new one.") from None
    visitor, age = Visitor(*data), services.clock() - signed_at  # less than 0 once the clock was set back
    if age > SESSION_AGE:
        raise NotLoggedIn("This chat session is too old; open a new one.")
    if visitor.email and age > IDENTITY_AGE:
        raise NotLoggedIn("This log-in is too old; open a new session.")
    return visitor


Caller = Annotated[Visitor, Depends(visitor_of)]


async def _caller(request: Request, services: Services) -> Visitor:
    given = request.headers.get("authorization", ""), request.query_params.get("token", "")
    return await visitor_of(services, *given)


async def receive(request: Request) -> JSONResponse:
    """POST `/messages`: stores a message; 202, or 200 and the same id if it was stored before."""
    services, given = await services_of(request), await plain.body_of(request)
    visitor = await _caller(request, services)
    body = plain.checked(MessageIn, given)
    message = inbox.Incoming(
        channel=Channel.WEB,
        account=ACCOUNT,
        thread=visitor.thread,
        external_id=hashlib.sha256(f"{visitor.thread}\n{body.client_id}".encode()).hexdigest(),
        kind=Kind.MESSAGE,
        payload={
            "text": body.text,
            "client_id": body.client_id,
            "button": body.button.value if body.button else None,
            "email": visitor.email,
            "name": visitor.name,
        },
        at=services.clock(),
    )
    fresh = await services.intake.take([message])
    return JSONResponse({"id": message.public_id}, status_code=202 if fresh else 200)


@router.post("/rating")
def rate(body: RatingIn, visitor: Caller, services: Shared) -> dict[str, Any]:
    """Rates the newest conversation, or changes the rating: 404 if it isn't asked for, 409 after a day."""
    now, enabled = services.clock(), services.care.rating
    with services.store.unit_of_work() as session:
        identity = queries.find_identity(session, ACCOUNT, visitor.thread)
        conversation = identity and ratings.newest_closed(session, identity)
        if not conversation:
            raise NotFound("There is no conversation to rate.")
        ratings.rate(session, conversation.id, body.score, body.comment, enabled, now)
        return {"rating": ratings.view(session, conversation, enabled, now)}


async def get_history(request: Request) -> JSONResponse:
    """GET `/messages`: see `history`."""
    services = await services_of(request)
    visitor = await _caller(request, services)
    return JSONResponse(await run_in_threadpool(history, visitor, services))


def history(visitor: Visitor, services: Services) -> dict[str, Any]:
    """What was said so far, oldest first, the state, and the cursor to follow events from."""
    with services.store.read() as session:
        cursor = live.newest(session)  # before the messages: an event may repeat one, never skip it
        identity = _identity_of(session, visitor)
        return {
            "messages": _said(session, visitor, identity),
            "status": _status(session, services, identity),
            "cursor": cursor,
        }


def _identity_of(session: Session, visitor: Visitor) -> int | None:
    """The id of the visitor's identity, if they ever wrote."""
    return session.scalar(_IDENTITY, {"thread": visitor.thread})


def _said(session: Session, visitor: Visitor, identity_id: int | None) -> list[dict[str, Any]]:
    messages = _messages(session, identity_id) if identity_id else []
    pending = inbox.unfiled(session, ACCOUNT, visitor.thread)
    known = {message.public_id for message in messages}
    return [live.message_view(m) for m in messages] + [
        _pending_view(item) for item in pending if item.public_id not in known
    ]


async def events(request: Request) -> sse.EventStream:
    """GET `/events`: live messages and states (SSE), from `Last-Event-ID`, else `after`, else from now on."""
    services = await services_of(request)
    visitor = await _caller(request, services)
    after = plain.parameter(_AFTER, request, "after")
    after = live.position(request.headers.get("last-event-id", ""), after)
    page = live.Follower()
    return sse.EventStream(_stream(services, visitor, page, after), page.leave)


async def _stream(
    services: Services, visitor: Visitor, page: live.Follower, after: int | None
) -> AsyncGenerator[bytes]:
    stream = live.stream_of(ACCOUNT, visitor.thread)
    async with services.hub.listening(page, stream):
        told, start, missed = await run_in_threadpool(_opening, services, visitor, after)
        told += await _encoded(services, visitor, missed)
        page.is_behind |= len(missed) == live.BATCH  # there may be more: it looks again
        for piece in sse.joined(told):
            yield piece
        async with aclosing(services.hub.told(page, start, stream, sse.PING_SECONDS)) as news:
            async for happened in news:
                told = await _encoded(services, visitor, happened) if happened else [sse.PING]
                for piece in sse.joined(told):
                    yield piece


def _opening(
    services: Services, visitor: Visitor, after: int | None
) -> tuple[list[bytes], int, list[live.Happened]]:
    """What a page is told first, where it goes on, and what it has missed."""
    with services.store.read() as session:
        newest = live.newest(session)  # before the rest: what comes now, the hub tells
        identity = _identity_of(session, visitor)
        told = [sse.event("status", json.dumps(_status(session, services, identity)))]
        if after is None or after >= newest:
            return told, newest if after is None else after, []
        if live.has_gap(session, after):
            told += [sse.event("message", json.dumps(one)) for one in _said(session, visitor, identity)]
        missed = live.since(session, after, live.stream_of(ACCOUNT, visitor.thread))
        return told, missed[-1].id if missed else after, missed


async def _encoded(services: Services, visitor: Visitor, news: Iterable[live.Happened]) -> list[bytes]:
    """As the customer's page gets it. What only the desk is told is left out."""
    told = []
    for happened in news:
        data = happened.told
        if happened.kind is live.Kind.DESK:
            continue
        if happened.kind is live.Kind.STATUS:
            payload = happened.payload
            payload = payload | {"opens_at": _opens_at(services, payload["state"])}
            if payload["state"] == State.CLOSED:
                now = await run_in_threadpool(_status_now, services, visitor)
                payload["rating"] = now.get("rating")
            data = json.dumps(payload)
        told.append(sse.event(happened.kind.value, data, happened.id))
    return told


# What a customer's page calls all the time; `bot.app` puts these before the others.
ROUTES = [
    plain.route(method, f"/api/chat/{name}", endpoint)
    for method, name, endpoint in (
        ("POST", "messages", receive),
        ("GET", "events", events),
        ("POST", "sessions", open_session),
        ("GET", "messages", get_history),
    )
]


def _status_now(services: Services, visitor: Visitor) -> dict[str, Any]:
    with services.store.read() as session:
        return _status(session, services, _identity_of(session, visitor))


def _status(session: Session, services: Services, identity_id: int | None) -> dict[str, Any]:
    """The newest conversation's state; before the first message, that of a fresh one."""
    conversation = identity_id and session.scalar(_NEWEST, {"identity": identity_id})
    if not conversation:
        return {"state": State.BOT.value, "replies_left": MAX_REPLIES, "agent": None, "opens_at": None}
    view = live.status_view(conversation, queries.replies_used(session, conversation.id))
    rating = ratings.view(session, conversation, services.care.rating, services.clock())
    asked = {"rating": rating} if rating else {}  # only where there is a question
    return view | {"opens_at": _opens_at(services, view["state"])} | asked


def _opens_at(services: Services, state: str) -> str | None:
    """When people are back, for a customer who waits for one; None while they are there."""
    return opens_at(services.settings, services.clock()) if state == State.WAITING else None


def _messages(session: Session, identity_id: int) -> list[Message]:
    """The newest messages that this customer may see, oldest first. No conversation is without one."""
    lately = (
        sa.select(Conversation.id)
        .where(Conversation.identity_id == identity_id)
        .order_by(Conversation.id.desc())
        .limit(HISTORY)
    )
    newest = session.scalars(
        sa.select(Message)
        .where(Message.conversation_id.in_(lately), Message.author != Author.NOTE)
        .order_by(Message.id.desc())
        .limit(HISTORY)
    )
    return list(newest)[::-1]


def _pending_view(item: InboxItem) -> dict[str, Any]:
    """A message that is stored but not filed yet, as `live.message_view` will show it."""
    return {
        "id": item.public_id,
        "client_id": item.payload.get("client_id"),
        "author": Author.CUSTOMER.value,
        "name": None,
        "text": item.payload.get("text"),
        "buttons": [],
        "at": item.at.isoformat(),
    }


def _vouched(settings: Settings, identity: IdentityIn) -> Visitor:
    """The customer that the shop's signature names. Raises NotAllowed or BadInput."""
    if not settings.chat_identity_secret:
        raise NotAllowed("CHAT_IDENTITY_SECRET isn't set, so no identity can be trusted.")
    key = settings.chat_identity_secret.encode()
    expected = hmac.new(key, identity.email.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(identity.signature.lower().encode("utf-8", "replace"), expected.encode()):
        raise NotAllowed("The identity's signature is wrong.")
    try:
        validate_email(identity.email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise BadInput("The identity's e-mail isn't an e-mail address.") from None
    email = normal_email(identity.email)
    return Visitor("e:" + hashlib.sha256(email.encode()).hexdigest(), email, identity.name)


@lru_cache(maxsize=8)
def _signer(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt="web-chat-session")
