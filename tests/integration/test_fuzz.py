"""Every route, fed with what nobody should send: never a 500, and nothing is stored twice.

The routes are read from the application, so a new one is fuzzed from its first day.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from bot.app import build
from bot.store.tables import InboxItem, Message
from tests.meta import APP, SECRET, signed
from tests.payloads import EVENTS
from tests.support import PlainBrain, Server, settings_for, wait_for

FIELDS = ["client_id", "text", "button", "email", "password", "identity", "name", "signature", "view", "kind",
          "csrf", "next", "after", "token", "state", "mine", "open", "hub.mode", "hub.challenge", "conversation_id"]  # fmt: skip
NASTY = ["", " ", "\0", "\ud800", "x" * 5_000, "../../etc/passwd", "' OR 1=1 --", "{{7*7}}", "-1", "0", "1",
         str(2**63), "NaN", "null", "é🧵", "waiting", "answer", "settled", "mina@example.com"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(NASTY) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6) | VALUES
NO_SURROGATES = [text for text in NASTY if "\ud800" not in text]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzz")
    secrets = {"MESSENGER_APP_ID": APP, "MESSENGER_APP_SECRET": SECRET, "MESSENGER_VERIFY_TOKEN": "verify me"}
    with Server(settings_for(folder, BURST_SECONDS="0.1", **secrets)) as server:
        yield server


@pytest.fixture(scope="module")
def insiders(server: Server) -> list[dict[str, str]]:
    """Headers of whoever may call: nobody, a customer, an agent; and of some who may not."""
    token = server.agent("Anna").headers["Authorization"]
    cookie = "reply_twice_desk=" + token.removeprefix("Bearer ")
    return [{}, server.visitor().headers, {"Authorization": token}, {"Cookie": cookie},
            {"Authorization": "Bearer é"}, {"Cookie": "reply_twice_desk=\"é;;=" }, {"Last-Event-ID": "9" * 40}]  # fmt: skip


def routes() -> list[tuple[str, str]]:
    """Every method and path of the application."""
    with TemporaryDirectory() as folder:
        app = build(settings_for(Path(folder)), PlainBrain())
        app.state.services.store.close()
    nested = [getattr(one, "original_router", None) for one in app.routes]
    routes = [*app.routes, *(route for router in nested if router for route in router.routes)]
    found = [(m, r.path) for r in routes if isinstance(r, Route | APIRoute) for m in sorted(r.methods)]
    assert len(found) > 30
    assert {("POST", "/api/chat/messages"), ("POST", "/webhooks/messenger"), ("GET", "/openapi.json")} < {
        *found
    }
    return [
        *found,
        ("GET", "/desk/static/{_rest}"),
        ("OPTIONS", "/api/chat/messages"),
    ]


@pytest.mark.parametrize(("method", "path"), routes())
def test_no_route_falls_over(server: Server, insiders: list[dict[str, str]], method: str, path: str):
    @settings(max_examples=settings().max_examples * 2)
    @given(
        ids=st.sampled_from(NO_SURROGATES),
        body=BODIES,
        form=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(NO_SURROGATES), max_size=5),
        query=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(NO_SURROGATES), max_size=3),
        who=st.sampled_from(insiders),
        shape=st.sampled_from(["json", "json", "form", "bytes"]),
        raw=st.binary(max_size=60),
    )
    def attack(  # the desk's own pages, too: they aren't in the OpenAPI document
        ids: str, body: Any, form: dict[str, str], query: dict[str, str], who: Any, shape: str, raw: bytes
    ) -> None:
        names = [part for part in path.replace("{", "\n{").split("\n") if part.startswith("{")]
        address = path
        for name in names:
            address = address.replace(name[: name.index("}") + 1], quote(ids, safe="") or "1")
        given_: dict[str, Any] = {"content": raw}
        kind = "application/json"
        if shape == "json":
            given_["content"] = json.dumps(body).encode()
        elif shape == "form":
            given_, kind = {"data": form}, "application/x-www-form-urlencoded"
        if method in ("GET", "HEAD", "OPTIONS"):
            given_ = {}
        headers = {k: v.encode() for k, v in who.items()} | {"Content-Type": kind.encode()}
        if "webhooks" in path and given_:
            headers |= {k: v.encode() for k, v in signed(given_.get("content", b"")).items()}
        with server.http.stream(method, address, params=query, headers=headers, **given_) as answer:
            assert answer.status_code < 500, f"{method} {address} {query} {given_} {answer.status_code}"

    attack()


class TestWebhook:
    """Every kind of event that Meta sends: singly, doubled, shuffled, batched, cut short."""

    def post(self, server: Server, body: bytes) -> int:
        headers = signed(body)
        return server.http.post("/webhooks/messenger", content=body, headers=headers).status_code

    def stored(self, server: Server) -> int:
        with server.services.store.read() as session:
            assert not session.scalars(sa.select(InboxItem.error).where(InboxItem.error.isnot(None))).all()
            return session.scalar(sa.select(sa.func.count(InboxItem.id))) or 0

    @pytest.mark.parametrize("name", EVENTS)
    def test_singly_and_doubled(self, server: Server, name: str):
        body = json.dumps(EVENTS[name]).encode()
        assert self.post(server, body) == 200
        once = self.stored(server)
        assert [self.post(server, body) for _ in range(2)] == [200, 200]
        assert self.stored(server) == once

    def test_shuffled_and_batched(self, server: Server):
        for body in EVENTS.values():
            self.post(server, json.dumps(body).encode())
        once = self.stored(server)
        random_ = random.Random(1)
        of_pages = [body for body in EVENTS.values() if body["object"] == "page"]
        for _ in range(30):
            bodies = random_.sample(of_pages, 4)
            batch = {"object": "page", "entry": [e for body in bodies for e in body.get("entry", [])]}
            assert self.post(server, json.dumps(batch).encode()) == 200
        assert self.stored(server) == once
        wait_for(lambda: not self._unfiled(server))
        with server.services.store.read() as session:
            ids = session.scalars(sa.select(Message.external_id).where(Message.external_id.isnot(None))).all()
        assert len(ids) == len(set(ids))

    def _unfiled(self, server: Server) -> int:
        with server.services.store.read() as session:
            count = sa.select(sa.func.count(InboxItem.id)).where(InboxItem.filed_at.is_(None))
            return session.scalar(count) or 0

    @pytest.mark.parametrize("name", EVENTS)
    def test_cut_short(self, server: Server, name: str):
        body = json.dumps(EVENTS[name]).encode()
        before = self.stored(server)
        for end in range(0, len(body) - 1, max(1, len(body) // 12)):
            assert self.post(server, body[:end]) == 422
        assert self.stored(server) == before

    @settings(max_examples=settings().max_examples * 6)
    @given(data=st.data())
    def test_bent(self, server: Server, data: st.DataObject):
        """Any part of any event replaced by anything."""
        bent = json.loads(json.dumps(data.draw(st.sampled_from(list(EVENTS.values())))))
        paths = list(_paths(bent))
        *way, last = data.draw(st.sampled_from(paths))
        place = bent
        for step in way:
            place = place[step]
        place[last] = data.draw(VALUES)
        body = json.dumps(bent).encode()
        assert self.post(server, body) == 200
        once = self.stored(server)
        assert self.post(server, body) == 200
        assert self.stored(server) == once

    def test_bodies_from_elsewhere(self, server: Server):
        """MESSENGER_PAYLOADS names a folder of JSON files that aren't part of this repository."""
        folder = os.environ.get("MESSENGER_PAYLOADS")
        if not folder:
            pytest.skip("MESSENGER_PAYLOADS isn't set")
        bodies = [p.read_bytes() for p in sorted(Path(folder).glob("*.json"))]
        webhooks = [b for b in bodies if isinstance(json.loads(b), dict) and "object" in json.loads(b)]
        assert webhooks
        for body in webhooks:
            assert self.post(server, body) == 200
        once = self.stored(server)
        for body in random.Random(1).sample(webhooks * 2, len(webhooks) * 2):
            assert self.post(server, body) == 200
        batch = {"object": "page", "entry": [e for b in webhooks for e in json.loads(b).get("entry") or []]}
        assert self.post(server, json.dumps(batch).encode()) == 200
        assert self.stored(server) == once
        for body in webhooks:
            assert self.post(server, body.rstrip()[: len(body) // 2]) == 422


def _paths(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, inner in steps:
        yield (*way, step)
        yield from _paths(inner, (*way, step))
