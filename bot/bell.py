"""Wakes whoever waits for work."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def call_on(loop: asyncio.AbstractEventLoop | None, function: Callable[..., Any], *args: Any) -> None:
    """Has a loop call a function. Safe from any thread; one that isn't there, or is closed, calls nothing."""
    if loop is None or loop.is_closed():
        return
    with suppress(RuntimeError):  # it was closed meanwhile: we are shutting down
        loop.call_soon_threadsafe(function, *args)


class Bell:
    """Rung from any thread, heard on the event loop by the one who has waited longest.

    A ring that nobody waits for is kept for the next who comes: what it told of may have been written
    just after they looked.
    """

    def __init__(self) -> None:
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._rung = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def hang(self) -> None:
        """Ties the bell to the running loop; before that, ringing does nothing."""
        self._loop = asyncio.get_running_loop()

    def ring(self, delay: float = 0) -> None:
        """Wakes one waiter, now or in `delay` seconds. Safe from any thread."""
        if self._loop is None or self._loop.is_closed():
            return
        if asyncio._get_running_loop() is self._loop:  # we are on it
            self._loop.call_later(delay, self._ring) if delay > 0 else self._ring()
            return
        if delay > 0:
            call_on(self._loop, self._loop.call_later, delay, self._ring)
        else:
            call_on(self._loop, self._ring)

    def _ring(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._rung = True

    async def wait(self) -> None:
        """Returns when it is this waiter's turn to look."""
        if self._rung:
            self._rung = False
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
