"""What changed at the desk, as it happens: ids only, for a page that then fetches what it shows."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot import live, sse
from bot.channels.web import Shared
from bot.desk import api
from bot.desk.words import chosen
from bot.domain.errors import NotLoggedIn
from bot.domain.words import Author
from bot.services import Services
from bot.store.tables import Conversation

RECHECK_SECONDS = 15.0  # how long a stream may outlive its session
_HOLDER = sa.select(Conversation.agent_id).where(Conversation.id == sa.bindparam("conversation"))
router = APIRouter(prefix="/desk", include_in_schema=False)


def reader_of(request: Request, services: Shared) -> api.Caller:
    """Whose cookie it is; enough to read. Raises NotLoggedIn."""
    caller = api.caller_with(services, request.cookies.get(api.COOKIE, ""))
    return replace(caller, language=chosen(caller.agent.language, request.headers.get("accept-language", "")))


Reader = Annotated[api.Caller, Depends(reader_of)]


@router.get("/events")
async def events(
    reader: Reader,
    services: Shared,
    after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    last_event_id: Annotated[str, Header()] = "",
) -> sse.EventStream:
    """`changed` events (SSE), from `Last-Event-ID`, else `after`, else from now on.

    A `logged-out` event ends the stream soon after the session has ended.
    """
    page = live.Follower()
    after = live.position(last_event_id, after)
    return sse.EventStream(_stream(services, reader, page, after), page.leave)


async def _stream(
    services: Services, reader: api.Caller, page: live.Follower, after: int | None
) -> AsyncGenerator[bytes]:
    checked = time.monotonic()
    if after is None:
        after = await run_in_threadpool(_newest, services)
    quiet = min(sse.PING_SECONDS, RECHECK_SECONDS)
    yield sse.PING  # it is open
    async with aclosing(services.hub.follow(after, None, page, quiet)) as changes:
        async for happened in changes:
            if time.monotonic() - checked >= RECHECK_SECONDS:
                checked = time.monotonic()
                if not await run_in_threadpool(_is_logged_in, services, reader.token):
                    yield sse.event("logged-out", "{}")
                    return
            if not happened:
                yield sse.PING
                continue
            views = await run_in_threadpool(_views, services, reader, happened)
            told = (sse.event("changed", json.dumps(view), id_) for id_, view in views)
            for piece in sse.joined(told):
                yield piece


def _newest(services: Services) -> int:
    with services.store.read() as session:
        return live.newest(session)


def _views(
    services: Services, reader: api.Caller, changes: list[live.Happened]
) -> list[tuple[int, dict[str, int | str | bool | None]]]:
    """Each event's id, and what the page is told of it.

    `author` is set when somebody wrote, `state` when that is new, `mine` when a customer wrote to the reader.
    What was written is fetched with the page.
    """
    told = []
    with services.store.read() as session:
        for change in changes:
            author, state = change.payload.get("author"), change.payload.get("state")
            mine = author == Author.CUSTOMER.value and _holder(session, change) == reader.agent.id
            view = {"conversation": change.conversation_id, "author": author, "state": state, "mine": mine}
            told.append((change.id, view))
    return told


def _holder(session: Session, change: live.Happened) -> int | None:
    return session.scalar(_HOLDER, {"conversation": change.conversation_id})


def _is_logged_in(services: Services, token: str) -> bool:
    try:
        api.caller_with(services, token)
    except NotLoggedIn:
        return False
    return True
