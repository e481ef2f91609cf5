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
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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


OK, REFUSE, HANG_UP = "ok", "refuse", "hang up"


class GraphServer:
    """The Send API on a port of its own. `mood` says how the next send ends:

    `OK`; `REFUSE` (nothing is sent, 503); `HANG_UP` (it is sent, and the answer is lost).
    """

    def __init__(self, mood: Callable[[], str] = lambda: OK) -> None:
        self.sent: list[Sent] = []
        self.on_sent: Callable[[Sent], None] = lambda _sent: None
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

    def take(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """What becomes of a request: status and answer, or None when the line goes dead."""
        if "message" not in body:  # typing_on, mark_seen
            return 200, {"recipient_id": body.get("recipient", {}).get("id")}
        mood = self._mood()
        if mood == REFUSE:
            return 503, {}
        with self._lock:
            message, mid = body["message"], f"m_out_{next(self._ids)}"
            sent = Sent(body["recipient"]["id"], message["text"], message["metadata"], mid, time.time())
            self.sent.append(sent)
        self.on_sent(sent)
        return None if mood == HANG_UP else (200, {"recipient_id": sent.customer, "message_id": mid})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        graph = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                try:
                    answer = graph.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                except ValueError:  # whoever called was killed in the middle of it
                    answer = None
                if answer is None:
                    self.close_connection = True
                    return
                data = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
