"""What changed at the desk, as it happens: ids only, for a page that then fetches what it shows."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request
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
_HELD = sa.select(Conversation.id).where(
    Conversation.id.in_(sa.bindparam("conversations", expanding=True)),
    Conversation.agent_id == sa.bindparam("agent"),
)
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
        after = await run_in_threadpool(services.hub.newest)
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
            asked = {change.conversation_id for change in happened if _is_customers(change)}
            mine = await run_in_threadpool(_held, services, reader, asked) if asked else set()
            views = ((change.id, _view(change, change.conversation_id in mine)) for change in happened)
            for piece in sse.joined(sse.event("changed", json.dumps(view), id_) for id_, view in views):
                yield piece


def _view(change: live.Happened, is_mine: bool) -> dict[str, int | str | bool | None]:
    """`author` is set when somebody wrote, `state` when that is new, `mine` when a customer wrote to the
    reader. What was written is fetched with the page."""
    author, state = change.payload.get("author"), change.payload.get("state")
    mine = is_mine and _is_customers(change)
    return {"conversation": change.conversation_id, "author": author, "state": state, "mine": mine}


def _is_customers(change: live.Happened) -> bool:
    return change.payload.get("author") == Author.CUSTOMER.value


def _held(services: Services, reader: api.Caller, conversation_ids: set[int]) -> set[int]:
    """Which of these the reader holds."""
    with services.store.read() as session:
        return {*session.scalars(_HELD, {"agent": reader.agent.id, "conversations": [*conversation_ids]})}


def _is_logged_in(services: Services, token: str) -> bool:
    try:
        api.caller_with(services, token)
    except NotLoggedIn:
        return False
    return True
