"""A Page at Meta to write promises against: its webhooks, and a stand-in for Graph at the network's edge.

The bodies are our own, in the shape of Meta's documentation; every value is invented.
"""

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import sqlalchemy as sa

from bot import accounts, delivery, inbox
from bot.channels import messenger
from bot.channels.graph import Graph
from bot.domain.words import Author, Status
from bot.settings import Messenger
from bot.store.tables import Identity
from tests.support import Shop

PAGE, CUSTOMER, APP = "100200300400500", "7392015648120394", "178200000000001"
SETTINGS = Messenger("verify me", "app secret", "page token", APP, "https://graph.invalid/v26.0")


def sign(body: bytes, secret: str = "app secret") -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def entry(*events: dict[str, Any], name: str = "messaging") -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": PAGE, "time": 1793000000340, name: list(events)}]}


def said(text: str, mid: str, sender: str = CUSTOMER, **more: Any) -> dict[str, Any]:
    return {
        "sender": {"id": sender},
        "recipient": {"id": PAGE},
        "timestamp": 1793000000000,
        "message": {"mid": mid, "text": text, **more},
    }


def echo(text: str, mid: str, app_id: int, **more: Any) -> dict[str, Any]:
    event = said(text, mid, sender=PAGE, is_echo=True, app_id=app_id, **more)
    return event | {"recipient": {"id": CUSTOMER}}


class StandIn:
    """Graph at the network's edge: sends end as a list of answers says, then in success.

    An answer is a response, or an exception: `httpx.ReadTimeout` is an answer lost after Meta took the
    message. Everything else that an app asks for is answered from `names`, or with success.
    """

    def __init__(self, *answers: Any, names: dict[str, Any] | None = None, mid: str = "m_out") -> None:
        self.answers = list(answers)
        self.mid = mid
        self.names = names or {}
        self.sent: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.actions: list[tuple[str, str]] = []  # customer, sender action
        self.taken: list[str] = []  # threads
        self.asked: list[str] = []  # names

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v26.0")
        if request.method == "GET":
            self.asked.append(path.removeprefix("/"))
            found = self.names.get(path.removeprefix("/"))
            return httpx.Response(200, json=found) if found else error(100, 33)
        body = json.loads(request.content)
        customer = body["recipient"]["id"]
        if path == "/me/take_thread_control":
            self.taken.append(customer)
            return httpx.Response(200, json={"success": True})
        assert path == "/me/messages"
        if "sender_action" in body:
            self.actions.append((customer, body["sender_action"]))
            return httpx.Response(200, json={"recipient_id": customer})
        self.sent.append(body)
        self.tokens.append(request.headers["authorization"].removeprefix("Bearer "))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer or httpx.Response(
            200, json={"recipient_id": customer, "message_id": f"{self.mid}_{len(self.sent)}"}
        )

    @property
    def texts(self) -> list[str]:
        return [body["message"]["text"] for body in self.sent]

    def echo(self, number: int = -1, **more: Any) -> dict[str, Any]:
        """The event by which Meta tells of a message that it took."""
        message = self.sent[number]["message"]
        return echo(message["text"], f"m_echo_{number}", int(APP), metadata=message["metadata"], **more)


class GraphOnPort:
    """Graph on a port of its own, for a process that we start: `answers` by method and path."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []  # method and path; query or body
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self.answer(parts.path, dict(parse_qsl(parts.query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(urlsplit(self.path).path, json.loads(body))

            def answer(self, path: str, given: dict[str, Any]) -> None:
                name = f"{self.command} {path.removeprefix('/v26.0')}"
                stand_in.asked.append((name, given | {"token": self.headers["Authorization"]}))
                status, found = stand_in.answers.get(name, (404, {"error": {"code": 100, "message": "?"}}))
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v26.0"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "GraphOnPort":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def error(code: int, subcode: int | None = None, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "error_subcode": subcode, "message": "…"}})


class Page(Shop):
    """A shop whose customers write on Messenger."""

    meta: Messenger = SETTINGS

    def gets(self, *events: dict[str, Any], name: str = "messaging") -> None:
        self.receives(entry(*events, name=name))

    def receives(self, *bodies: dict[str, Any]) -> None:
        """Webhooks arrive, and the workers work."""
        self.files(*bodies)
        self.passes(seconds=2)

    def files(self, *bodies: dict[str, Any]) -> None:
        """Webhooks arrive and are filed, while the workers do something else."""
        for body in bodies:
            self.takes_in(json.dumps(body).encode())

    def takes_in(self, body: bytes) -> None:
        """One webhook arrives, as its bytes, and is filed."""
        inbox.accept(self.store, messenger.parse(self.meta, body), self.now)
        self.file()

    def sends(self, graph: Callable[[httpx.Request], httpx.Response]) -> None:
        self.repeats(delivery.deliver, graph)

    def repeats(
        self, step: Callable[..., Awaitable[bool]], graph: Callable[[httpx.Request], httpx.Response]
    ) -> None:
        async def all_of_it() -> None:
            client = Graph(self.meta, httpx.MockTransport(graph))
            while await step(self.services, client):
                pass
            await client.close()

        asyncio.run(all_of_it())

    def says(self, text: str, mid: str, sender: str = CUSTOMER, **more: Any) -> None:
        """A customer writes now."""
        self.gets(said(text, mid, sender, **more) | {"timestamp": self.millis})

    @property
    def millis(self) -> int:
        return int(self.now.timestamp() * 1000)

    def alerts(self) -> list[str]:
        with self.store.read() as session:
            return [alert.trouble.value for alert in accounts.alerts(session)]

    def identity(self, who: str = CUSTOMER) -> Identity:
        with self.store.read() as session:
            return session.scalars(sa.select(Identity).where(Identity.thread == who)).one()

    def outbox(self, who: str = CUSTOMER) -> list[tuple[Author, Status]]:
        return [(m.author, m.status) for m in self.messages(who) if m.author is not Author.CUSTOMER]
