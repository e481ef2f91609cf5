"""A stream to a page: what is sent, and when it ends."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from bot import sse
from bot.domain.errors import StoreDown


def test_an_event_is_written_as_the_standard_says():
    assert sse.event("message", '{"a": 1}', 7) == b'id: 7\r\nevent: message\r\ndata: {"a": 1}\r\n\r\n'
    assert sse.event("status", "{}") == b"event: status\r\ndata: {}\r\n\r\n"


def test_what_is_told_together_is_one_piece_and_much_is_several():
    assert list(sse.joined([b"a", b"b"])) == [b"ab"]
    assert list(sse.joined([])) == []
    many = [b"x" * 1000] * 200
    pieces = list(sse.joined(many))
    assert b"".join(pieces) == b"".join(many)
    assert max(map(len, pieces)) < sse.AT_ONCE + 1000


class Page:
    """A browser at the other end of a stream."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.closed = asyncio.Event()

    async def receive(self) -> Message:
        await self.closed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def opens(self, stream: sse.EventStream) -> None:
        async with asyncio.timeout(10):
            await stream({"type": "http"}, self.receive, self.send)


def test_a_stream_ends_when_its_page_is_closed_and_leaves_no_task_behind():
    async def test() -> None:
        page, left, cleaned = Page(), asyncio.Event(), []

        async def pieces() -> AsyncGenerator[bytes]:
            try:
                yield b"one"
                page.closed.set()
                await left.wait()
            finally:
                cleaned.append(1)

        await page.opens(sse.EventStream(pieces(), left.set))
        assert [m.get("body") for m in page.sent] == [None, b"one", b""]
        assert cleaned
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())


def test_what_fails_before_the_first_piece_can_still_be_answered_as_a_failure():
    async def test() -> None:
        async def pieces() -> AsyncGenerator[bytes]:
            raise StoreDown("away")
            yield b""

        page = Page()
        with pytest.raises(StoreDown):
            await page.opens(sse.EventStream(pieces(), lambda: None))
        assert page.sent == []

    asyncio.run(test())


def test_the_stream_says_that_nobody_may_keep_it():
    async def none() -> AsyncGenerator[bytes]:
        yield b""

    headers: dict[str, Any] = dict(sse.EventStream(none(), lambda: None).headers)
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
