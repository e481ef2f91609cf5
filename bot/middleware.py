"""What holds for every request."""

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 1 << 20  # bytes
WEBHOOK_LIMIT = 16 << 20  # a batch of a thousand events, each a message of 2,000 letters in six bytes


class Guard:
    """ASGI middleware: 413 for a body over the limit, and the headers that every answer carries.

    A webhook that isn't taken comes again and again, and its events are lost in the end: its limit is what
    the channel may send.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = WEBHOOK_LIMIT if scope["path"].startswith("/webhooks/") else BODY_LIMIT
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, f"The body is over {limit} bytes.")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
            await send(message)

        await self._app(scope, counted, with_headers)
