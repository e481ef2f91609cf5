"""Wakes whoever waits for work."""

import asyncio
from contextlib import suppress


class Bell:
    """Rung from any thread, heard by every task that waits on the event loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def hang(self) -> None:
        """Ties the bell to the running loop; before that, ringing does nothing."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Wakes every waiter. Safe from any thread."""
        if self._loop:
            with suppress(RuntimeError):  # the loop is closed: we are shutting down
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns at the next ring, at the latest after `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)
