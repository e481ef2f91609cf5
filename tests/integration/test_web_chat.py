"""The web chat's interface, over HTTP on a real port."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support import Server, Visitor, wait_for


class Stream:
    """An open SSE stream, read in the background."""

    def __init__(self, response: httpx.Response) -> None:
        self.events: list[tuple[str, dict[str, Any], str]] = []
        self._response = response
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        event: dict[str, str] = {}
        try:
            for line in self._response.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif "data" in event:
                    self.events.append((event["event"], json.loads(event["data"]), event.get("id", "")))
                    event = {}
        except (httpx.HTTPError, httpx.StreamError):
            pass

    def texts(self) -> list[str]:
        return [data["text"] for kind, data, _ in self.events if kind == "message"]


@contextmanager
def stream(visitor: Visitor, **headers: str) -> Iterator[Stream]:
    url = f"/api/chat/events?token={visitor.token}"
    with visitor.http.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


def test_a_message_is_stored_before_it_is_acknowledged_and_answered(server: Server):
    visitor = server.visitor()
    posted = visitor.posts("return_policy")
    assert posted.status_code == 202
    (message,) = visitor.history()["messages"]
    assert message["id"] == posted.json()["id"]
    wait_for(lambda: visitor.texts("bot"))
    reply = visitor.history()["messages"][-1]
    assert reply["buttons"] == [{"title": "That helps", "button": "settled"}]
    assert visitor.history()["status"]["replies_left"] == 1


def test_the_same_client_id_twice_is_one_message(server: Server):
    visitor = server.visitor()
    first, again = visitor.posts("return_policy", "one"), visitor.posts("return_policy", "one")
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    other = server.visitor().posts("return_policy", "one")
    assert other.json() != first.json()
    wait_for(lambda: visitor.texts("bot"))
    assert visitor.texts("customer") == ["return_policy"]


def test_messages_before_the_brain_is_ready_are_accepted_and_answered_once_it_is(server: Server):
    server.brain.down = True
    visitor = server.visitor()
    assert visitor.posts("return_policy").status_code == 202
    assert server.http.get("/healthz").status_code == 200
    assert server.http.get("/readyz").status_code == 503
    server.brain.down = False
    wait_for(lambda: visitor.texts("bot") == ["answer return_policy"])
    assert server.http.get("/readyz").status_code == 200


def test_events_arrive_live_and_resume_where_they_broke_off(server: Server):
    visitor = server.visitor()
    with stream(visitor) as live:
        wait_for(lambda: live.events)
        assert live.events[0][:2] == (
            "status",
            {"state": "bot", "replies_left": 2, "agent": None, "opens_at": None},
        )
        visitor.posts("return_policy")
        wait_for(lambda: live.texts() == ["return_policy", "answer return_policy"])
        last = next(id_ for kind, _, id_ in live.events if kind == "message")
    visitor.posts("upset")
    wait_for(lambda: visitor.state() == "waiting")
    with stream(visitor, **{"Last-Event-ID": last}) as live:
        wait_for(lambda: live.texts() == ["answer return_policy", "upset", "hand_off empathy"])
        status = [data for kind, data, _ in live.events if kind == "status"]
        assert status[-1]["state"] == "waiting"


def test_nobody_reads_or_writes_anothers_conversation(server: Server):
    mine, other = server.visitor(), server.visitor()
    mine.posts("return_policy")
    wait_for(lambda: mine.texts("bot"))
    assert other.history()["messages"] == []
    with stream(other) as live, stream(mine) as own:
        mine.posts("invoice")
        wait_for(lambda: "answer invoice" in own.texts())
        assert live.texts() == []


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "WyJzOjEiLG51bGwsbnVsbF0.aaaa.bbbb"])
def test_a_forged_token_opens_nothing(server: Server, token: str):
    headers = {"Authorization": f"bearer {token}".strip().encode()}
    for method, path in (("GET", "messages"), ("POST", "messages"), ("GET", "events")):
        body = {"client_id": "1", "text": "hi"} if method == "POST" else None
        answer = server.http.request(method, f"/api/chat/{path}", headers=headers, json=body)
        assert answer.status_code == 401
        assert "session" in answer.json()["detail"]


def test_a_token_for_the_desk_is_none_for_the_chat_and_the_other_way_round(server: Server):
    agent, visitor = server.agent("Anna"), server.visitor()
    assert server.http.get("/api/chat/messages", headers=agent.headers).status_code == 401
    assert server.http.get("/api/desk/conversations", headers=visitor.headers).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b'{"client_id": "1"}',
        b'{"client_id": "1", "text": ""}',
        b'{"client_id": "1", "text": "   "}',
        b'{"client_id": "", "text": "hi"}',
        b'{"client_id": "1", "text": 7}',
        b'{"client_id": "1", "text": "a\\u0000b"}',
        b'{"client_id": "1", "text": "\\ud800"}',
        b'{"client_id": "1", "text": "hi", "button": "explode"}',
        json.dumps({"client_id": "1", "text": "x" * 4001}).encode(),
        json.dumps({"client_id": "x" * 81, "text": "hi"}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_bad_message_is_refused_with_a_reason_and_stores_nothing(server: Server, body: bytes):
    visitor = server.visitor()
    headers = visitor.headers | {"Content-Type": "application/json"}
    answer = server.http.post("/api/chat/messages", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]
    assert visitor.history()["messages"] == []


def test_a_huge_body_is_refused(server: Server):
    visitor = server.visitor()
    answer = server.http.post("/api/chat/messages", content=b" " * (2 << 20), headers=visitor.headers)
    assert answer.status_code == 413


def test_any_script_and_emoji_comes_back_as_it_was_written(server: Server):
    visitor = server.visitor()
    text = "안녕하세요 こんにちは 👩‍👩‍👧 <b>&amp;</b>\nline two"
    visitor.posts(text)
    assert visitor.texts("customer") == [text]


def signed(email: str, secret: str = "the shop's own") -> str:
    return hmac.new(secret.encode(), email.encode(), hashlib.sha256).hexdigest()


def test_a_customer_whom_the_shop_logged_in_is_known_and_keeps_one_thread(server: Server):
    identity = {"email": "Mina@example.com", "name": "Mina", "signature": signed("Mina@example.com")}
    tokens = [
        server.http.post("/api/chat/sessions", json={"identity": identity}).json()["token"] for _ in range(2)
    ]
    phone, laptop = (Visitor(server.http, token) for token in tokens)
    phone.posts("order_status 10023")
    wait_for(lambda: laptop.texts("bot") == ["answer order_status"])
    assert server.agent("Anna").queue("bot")[0]["contact"] == "Mina"


@pytest.mark.parametrize(
    "signature", ["", "00", signed("other@example.com"), signed("mina@example.com", "x"), "é"]
)
def test_a_wrong_signature_is_refused(server: Server, signature: str):
    identity = {"email": "mina@example.com", "name": "Mina", "signature": signature}
    answer = server.http.post("/api/chat/sessions", json={"identity": identity})
    assert answer.status_code == 403


def test_a_name_that_no_database_holds_is_refused(server: Server):
    identity = {"email": "mina@example.com", "name": "Mi\0na", "signature": signed("mina@example.com")}
    assert server.http.post("/api/chat/sessions", json={"identity": identity}).status_code == 422
