"""What changed at the desk, as it happens: ids only, for a page that then fetches what it shows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from bot import live
from bot.channels.web import PING_SECONDS, Shared
from bot.desk import api
from bot.desk.words import chosen
from bot.domain.errors import NotLoggedIn
from bot.domain.words import Author
from bot.services import Services
from bot.store.tables import Conversation

RECHECK_SECONDS = 15.0  # how long a stream may outlive its session
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
) -> EventSourceResponse:
    """`changed` events (SSE), from `Last-Event-ID`, else `after`, else from now on.

    A `logged-out` event ends the stream soon after the session has ended.
    """
    after = await run_in_threadpool(live.cursor, services.store, last_event_id, after)
    return EventSourceResponse(_stream(services, reader, after), ping=PING_SECONDS)


async def _stream(services: Services, reader: api.Caller, after: int) -> AsyncIterator[dict[str, str]]:
    happened = services.hub.follow(after)
    following = asyncio.ensure_future(anext(happened))
    checked = time.monotonic()
    try:
        while True:
            await asyncio.wait({following}, timeout=RECHECK_SECONDS)
            if time.monotonic() - checked >= RECHECK_SECONDS:
                checked = time.monotonic()
                if not await run_in_threadpool(_is_logged_in, services, reader.token):
                    yield {"event": "logged-out", "data": "{}"}
                    return
            if following.done():
                change = following.result()
                following = asyncio.ensure_future(anext(happened))
                view = await run_in_threadpool(_view, services, reader, change)
                yield {"id": str(change.id), "event": "changed", "data": json.dumps(view)}
    finally:
        following.cancel()


def _view(
    services: Services, reader: api.Caller, change: live.Happened
) -> dict[str, int | str | bool | None]:
    """`author` is set when somebody wrote, `state` when that is new, `mine` when a customer wrote to the
    reader. What was written is fetched with the page."""
    author, state = change.payload.get("author"), change.payload.get("state")
    mine = False
    if author == Author.CUSTOMER.value:
        with services.store.read() as session:
            conversation = session.get(Conversation, change.conversation_id)
            mine = conversation is not None and conversation.agent_id == reader.agent.id
    return {"conversation": change.conversation_id, "author": author, "state": state, "mine": mine}


def _is_logged_in(services: Services, token: str) -> bool:
    try:
        api.caller_with(services, token)
    except NotLoggedIn:
        return False
    return True
