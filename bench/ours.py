"""Reply Twice as a shop starts it, its customers in the web chat and on Messenger, and Meta's stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.load import PATIENCE, Http, serve_json
from bench.machine import PYTHON, Process, answers, family, free_port, pss, until
from bot.store.engine import Store

APP, APP_SECRET, PAGES = "178200000000001", "the app's secret", tuple(str(9_000_000 + n) for n in range(4))
ALWAYS_OPEN = "Mon-Sun 00:00-23:59"


class Product:
    """`make run` in a folder of its own, on free ports."""

    def __init__(self, folder: Path, graph_port: int, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = folder / "shop.db"
        self.store = Store(f"sqlite:///{self.database}")
        self._log = folder / "run.log"
        self._settings = {
            "DATA_DIR": str(folder), "DATABASE_URL": self.store.url, "PORT": str(self.port),
            "RASA_PORT": str(free_port()), "ACTIONS_PORT": str(free_port()),
            "BURST_SECONDS": "0", "GREETING_SECONDS": "0", "OPENING_HOURS": ALWAYS_OPEN,
            "DEMO": "true", "LOG_LEVEL": "WARNING",
            "MESSENGER_APP_ID": APP, "MESSENGER_APP_SECRET": APP_SECRET, "MESSENGER_VERIFY_TOKEN": "v",
            "MESSENGER_PAGES": ",".join(f"{page}:token" for page in PAGES),
            "MESSENGER_GRAPH_URL": f"http://127.0.0.1:{graph_port}/v26.0",
            **settings,
        }  # fmt: skip

    def start(self) -> tuple[float, float]:
        """Seconds until messages are accepted, and until they are answered."""
        start = time.perf_counter()
        self.process = Process([PYTHON, "-m", "bot", "run"], self._log, **self._settings)
        until(lambda: answers(f"{self.url}/healthz"), 120, self.process)
        accepted = time.perf_counter() - start
        until(lambda: answers(f"{self.url}/readyz"), 600, self.process)
        return accepted, time.perf_counter() - start

    def memory(self) -> dict[str, float]:
        """PSS in MB of each process, by what it is."""
        found: dict[str, float] = {}
        for pid in family(self.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            names = {"bot serve": "bot", "-m actions": "actions", "rasa run": "rasa", "bot run": "starter"}
            name = next((name for part, name in names.items() if part in command), "other")
            found[name] = found.get(name, 0.0) + pss([pid])
        return found

    def bot_pid(self) -> int:
        """The process that holds the connections."""
        return next(
            pid for pid in family(self.process.pid) if "\0serve" in Path(f"/proc/{pid}/cmdline").read_text()
        )

    def end(self) -> None:
        """Ends every process."""
        self.process.end()
        self.store.close()


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[tuple[Product, Meta, tuple[float, float]]]:
    """The product with its stand-in for Meta; also how long it took to start."""
    async with Meta.serving() as meta:
        product = Product(folder, meta.port, **settings)
        try:
            times = await asyncio.to_thread(product.start)
            yield product, meta, times
        finally:
            await asyncio.to_thread(product.end)


class Visitor:
    """A customer who has the shop's page open: the chat's stream is there before they write."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._open = asyncio.Event()

    async def arrive(self) -> None:
        """Opens a session and its stream."""
        status, body = await self._http.post("/api/chat/sessions", {})
        _expect(status, 201)
        self.token: str = body["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self._listening = asyncio.create_task(self._listen())
        await asyncio.wait_for(self._open.wait(), PATIENCE)

    async def _listen(self) -> None:
        async for kind, data in self._http.events("/api/chat/events", self.headers):
            self._open.set()
            if kind == "message":
                message = json.loads(data)
                if message["author"] != "customer":
                    self.heard.put_nowait(message)

    async def write(self, text: str) -> None:
        """Sends a message; returns once it is stored."""
        body = {"client_id": uuid.uuid4().hex, "text": text}
        status, _ = await self._http.post("/api/chat/messages", body, self.headers)
        _expect(status, 202)

    async def ask(self, text: str) -> dict[str, Any]:
        """Sends a message and returns what is answered."""
        await self.write(text)
        return await self.heard.get()

    def leave(self) -> None:
        """Closes the page."""
        self._listening.cancel()


async def visitors(http: Http, count: int) -> list[Visitor]:
    """So many, with open pages."""
    found = [Visitor(http) for _ in range(count)]
    turnstile = asyncio.Semaphore(8)

    async def arrive(visitor: Visitor) -> None:
        async with turnstile:
            await visitor.arrive()

    await asyncio.gather(*map(arrive, found))
    return found


class Meta:
    """Graph, as far as the product calls it, and the webhooks that Meta sends."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self.sent: list[tuple[str, str]] = []  # customer and text

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[Meta]:
        """Listens on a free port."""
        meta = cls()
        server = await serve_json(meta._answer)
        meta.port = server.sockets[0].getsockname()[1]
        yield meta
        server.close()

    def _answer(self, path: str, body: Any) -> dict[str, Any]:
        if not body or "message" not in body:
            return {"name": "Kim"} if not body else {"recipient_id": body["recipient"]["id"]}
        customer = body["recipient"]["id"]
        self.sent.append((customer, body["message"]["text"]))
        if waiting := self._waiting.pop(customer, None):
            waiting.set_result(body["message"]["text"])
        return {"recipient_id": customer, "message_id": f"m_out_{len(self.sent)}"}

    async def ask(self, http: Http, customer: str, text: str) -> str:
        """A customer's message arrives; returns the reply once it has been sent to them."""
        waiting = self._waiting[customer] = asyncio.get_running_loop().create_future()
        await deliver(http, [(customer, uuid.uuid4().hex, text)])
        return await waiting


async def deliver(http: Http, messages: Sequence[tuple[str, str, str]]) -> None:
    """A webhook with messages (customer, id, text); returns once it is acknowledged."""
    now = int(time.time() * 1000)
    by_page: dict[str, list[dict[str, Any]]] = {}
    for customer, mid, text in messages:
        page = PAGES[int(customer) % len(PAGES)]
        event = {"sender": {"id": customer}, "recipient": {"id": page}, "timestamp": now}
        by_page.setdefault(page, []).append(event | {"message": {"mid": mid, "text": text}})
    entries = [{"id": page, "time": now, "messaging": events} for page, events in by_page.items()]
    body = json.dumps({"object": "page", "entry": entries}).encode()
    signature = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    status, _ = await http.post("/webhooks/messenger", body, {"X-Hub-Signature-256": f"sha256={signature}"})
    _expect(status, 200)


def _expect(status: int, wanted: int) -> None:
    if status != wanted:
        raise RuntimeError(f"answered with {status}, not {wanted}")
