"""Meta, seen from outside: signed webhooks in, and a stand-in for Graph over real HTTP.

The bodies are our own, in the shape of Meta's documentation; every value is invented.
"""

import hashlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PAGE, APP, SECRET = "100200300400500", "178200000000001", "app secret"


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """The header that Meta sends with a body."""
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def webhook(*events: dict[str, Any]) -> bytes:
    """One webhook's body with these events."""
    return json.dumps({"object": "page", "entry": [{"id": PAGE, "messaging": list(events)}]}).encode()


def said(customer: str, text: str, mid: str, at: float) -> dict[str, Any]:
    """A customer's message; `at` in seconds."""
    return {
        "sender": {"id": customer},
        "recipient": {"id": PAGE},
        "timestamp": int(at * 1000),
        "message": {"mid": mid, "text": text},
    }


@dataclass(frozen=True)
class Sent:
    """What the stand-in took for a customer."""

    customer: str
    text: str
    metadata: str
    mid: str
    at: float  # time.time()

    def echo(self) -> dict[str, Any]:
        """The event by which Meta tells of it."""
        return {
            "sender": {"id": PAGE},
            "recipient": {"id": self.customer},
            "timestamp": int(self.at * 1000),
            "message": {
                "is_echo": True,
                "app_id": int(APP),
                "metadata": self.metadata,
                "mid": self.mid,
                "text": self.text,
            },
        }


@dataclass(frozen=True)
class Mood:
    """How a send ends: whether Meta takes the message, and what it answers.

    `body` None is the answer that belongs to it; `part` of it is written before the line goes dead.
    """

    takes: bool
    status: int = 200
    body: bytes | None = None
    part: float = 1


OK = Mood(takes=True)
REFUSE = Mood(False, 503, b'{"error": {"code": 2, "is_transient": true}}')
THROTTLE = Mood(False, 400, b'{"error": {"code": 613}}')
HANG_UP = Mood(True, part=0)
IN_DOUBT = {  # Meta has the message, and its answer doesn't say so
    "hung up": HANG_UP,
    "broken off": Mood(True, part=0.5),
    "500": Mood(True, 500, b""),
    "500 with an error": Mood(True, 500, b'{"error": {"code": 1}}'),
    "502": Mood(True, 502, b"<html>Bad gateway"),
    "503": Mood(True, 503, b"{}"),
    "empty": Mood(True, 200, b""),
    "garbage": Mood(True, 200, b"\xff\xfe garbage"),
    "an error within": Mood(True, 200, b'{"error": {"code": 2}}'),
}
DOWN = Mood(False, 503, b"")  # nothing was sent, and nobody can know


class GraphServer:
    """Graph on a port of its own, for processes that we start.

    `mood` says how each send ends. Every other call, and a send of which `answers` has one, is answered
    by method and path: a status, and JSON or bytes.
    """

    def __init__(self, mood: Callable[[], Mood] = lambda: OK) -> None:
        self.sent: list[Sent] = []
        self.on_sent: Callable[[Sent], None] = lambda _sent: None
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []  # method and path; query or body, and the token
        self._mood = mood
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v26.0"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any]) -> Mood:
        """What becomes of a message."""
        mood = self._mood()
        if not mood.takes:
            return mood
        with self._lock:
            message, mid = body["message"], f"m_out_{next(self._ids)}"
            sent = Sent(body["recipient"]["id"], message["text"], message["metadata"], mid, time.time())
            self.sent.append(sent)
        self.on_sent(sent)
        answer = json.dumps({"recipient_id": sent.customer, "message_id": mid}).encode()
        return mood if mood.body is not None else replace(mood, body=answer)

    def _answer(self, call: str, given: dict[str, Any]) -> Mood:
        found = self.answers.get(call)
        if found is None and call == "POST /me/messages":
            return self.take(given) if "message" in given else Mood(True, 200, b'{"recipient_id": "1"}')
        status, data = found or (404, {"error": {"code": 100, "message": "?"}})
        return Mood(True, status, data if isinstance(data, bytes) else json.dumps(data).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        graph = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(dict(parse_qsl(urlsplit(self.path).query)))

            def do_POST(self) -> None:
                try:
                    self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                except ValueError:  # whoever called was killed in the middle of it
                    self.close_connection = True

            def answer(self, given: dict[str, Any]) -> None:
                call = f"{self.command} {urlsplit(self.path).path.removeprefix('/v26.0')}"
                graph.asked.append((call, given | {"token": self.headers["Authorization"]}))
                answer = graph._answer(call, given)
                data = answer.body or b""
                self.close_connection = answer.part < 1
                if not answer.part:
                    return
                with suppress(ConnectionError):  # whoever called was killed
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: round(len(data) * answer.part)])

            def log_message(self, *_: object) -> None:
                pass

        return Handler
