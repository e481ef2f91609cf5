"""An open-loop load: messages arrive when they are due, however long the answers before them take.

What a message waits because the system is busy counts, from the moment it was due. A message that is
never answered counts as endless, so that a percentile can't be improved by dropping some.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

PATIENCE = 20.0  # seconds; a customer who waits longer has not been answered
Ask = Callable[[int], Awaitable[None]]  # message number n: returns once it is answered


@dataclass(frozen=True)
class Run:
    """What became of one load. Times are seconds; None: endless."""

    rate: float
    asked: int
    answered: int
    p50: float | None
    p90: float | None
    p99: float | None
    worst: float | None
    first_error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def percentile(times: Sequence[float], share: float) -> float | None:
    """The nearest rank: so many of the times are at most this one."""
    if not times:
        return None
    value = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    return None if math.isinf(value) else value


def summary(rate: float, times: Sequence[float], first_error: str = "") -> Run:
    """The percentiles of a load."""
    p50, p90, p99, worst = (percentile(times, share) for share in (0.5, 0.9, 0.99, 1.0))
    answered = sum(not math.isinf(time) for time in times)
    return Run(rate, len(times), answered, p50, p90, p99, worst, first_error)


async def open_loop(rate: float, seconds: float, ask: Ask) -> Run:
    """Asks `rate` times a second, evenly, for so long; waits for what is still unanswered then."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.05
    errors: list[str] = []

    async def one(number: int, due: float) -> float:
        try:
            async with asyncio.timeout(PATIENCE):
                await ask(number)
        except Exception as error:
            errors.append(f"{type(error).__name__} {error}")
            return math.inf
        return loop.time() - due

    tasks = []
    for number in range(round(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.append(asyncio.create_task(one(number, due)))
    return summary(rate, await asyncio.gather(*tasks), errors[0][:200] if errors else "")


class Http:
    """A client that costs the machine little: what it uses up is missing to the system it measures."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON (or None) of a request. Raises OSError."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = _head("POST", path, self.port, {**(headers or {}), "Content-Length": str(len(data))})
        while True:
            used = self._used()
            reader, writer = used or await self._connect()
            try:
                writer.write(head + data)
                status, length = await _answer_head(reader)
                text = await reader.readexactly(length)
                break
            except BaseException as error:
                writer.close()
                if not (used and isinstance(error, ConnectionError)):  # a server closes what is idle too long
                    raise
        self._idle.append((reader, writer))
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None

    async def events(self, path: str, headers: dict[str, str]) -> AsyncIterator[tuple[str, str]]:
        """The events of a stream (SSE): kind and data. The first item comes as soon as it is open."""
        reader, writer = await self._connect()
        try:
            writer.write(_head("GET", path, self.port, headers | {"Accept": "text/event-stream"}))
            await _answer_head(reader)
            kind = ""
            while line := await reader.readline():  # the lines between hold the sizes of chunks
                if line.startswith(b"event:"):
                    kind = line[6:].decode().strip()
                elif line.startswith(b"data:"):
                    yield kind, line[5:].decode().strip()
        finally:
            writer.close()

    def _used(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def close(self) -> None:
        """Closes what is idle."""
        for _reader, writer in self._idle:
            writer.close()
        self._idle.clear()


def _head(method: str, path: str, port: int, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


async def _answer_head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Status and length. Raises OSError if the connection is closed, ValueError for another protocol."""
    first = await reader.readline()
    if not first:
        raise ConnectionResetError("closed before it answered")
    status, length = int(first.split()[1]), 0
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, length


async def serve_json(answer: Callable[[str, Any], Any]) -> asyncio.Server:
    """A server on a free port that answers each request (path, JSON body) with 200 and JSON."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while first := await reader.readline():
                length = 0
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = json.loads(await reader.readexactly(length)) if length else None
                said = json.dumps(answer(first.split()[1].decode(), body)).encode()
                head = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(said)}"]
                writer.write("\r\n".join([*head, "", ""]).encode() + said)
        writer.close()

    return await asyncio.start_server(connection, "127.0.0.1", 0)
