"""A stream of events to a page (Server-Sent Events), with little on it: one task beside the request's own.

What is told together is sent together: each write wakes whoever reads, and that costs both more than the
bytes do.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PING_SECONDS = 15  # keeps proxies from closing a quiet stream
PING = b": ping\r\n\r\n"
AT_ONCE = 64 << 10  # bytes: what is told together is cut behind it, for a page that reads slowly


def event(kind: str, data: str, event_id: int | None = None) -> bytes:
    """One event; `data` has no line breaks, as JSON has none."""
    head = "" if event_id is None else f"id: {event_id}\r\n"
    return f"{head}event: {kind}\r\ndata: {data}\r\n\r\n".encode()


def joined(events: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in few pieces."""
    piece = bytearray()
    for one in events:
        piece += one
        if len(piece) >= AT_ONCE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


class EventStream(Response):
    """Sends what a generator gives. `hang_up` is called when the page is gone: it has the generator end.

    The stream is opened with the first piece: what fails before it is answered as any request's failure.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[bytes], hang_up: Callable[[], None]) -> None:
        self._pieces, self._hang_up = pieces, hang_up
        self.status_code, self.background = 200, None
        self.init_headers(
            {"Cache-Control": "no-store", "Connection": "keep-alive", "X-Accel-Buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: self._hang_up())
        try:
            async with aclosing(self._pieces) as pieces:
                is_open = False
                async for piece in pieces:
                    if not is_open:
                        is_open = True
                        head = {"status": self.status_code, "headers": self.raw_headers}
                        await send({"type": "http.response.start", **head})
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if is_open:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    """Returns when the page is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
