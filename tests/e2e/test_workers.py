"""A real bot process that is asked to stop, or put to sleep and woken up, in the middle of a turn."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from bot.domain.rule import Action, Proposal
from bot.domain.words import Topic
from bot.processes import free_port
from bot.settings import ROOT
from bot.store.engine import Store
from bot.store.tables import Conversation
from tests.plain_brain import as_json
from tests.support import Visitor, settings_for, wait_for

ANSWER = json.dumps(as_json(Proposal(Action.ANSWER, "30 days.", Topic.RETURN_POLICY, confidence=1))).encode()


class HeldBrain:
    """A brain at Rasa's address that answers when it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()
        brain = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(b"{}")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                brain.asked += 1
                if brain.asked == 1:
                    brain.go.wait(60)
                self._say(ANSWER)

            def _say(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def brain() -> Iterator[HeldBrain]:
    brain = HeldBrain()
    yield brain
    brain.go.set()
    brain.server.shutdown()
    brain.server.server_close()


running: list["Bot"] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    yield
    while running:
        running.pop().close()


class Bot:
    """`python -m bot serve` on a port of its own."""

    def __init__(self, folder: Path, database_url: str, brain: HeldBrain, **settings: str) -> None:
        self.port, self.log = free_port(), folder / f"bot-{free_port()}.log"
        env = {
            "DATA_DIR": str(folder), "DATABASE_URL": database_url, "PORT": str(self.port),
            "BURST_SECONDS": "0.1", "RASA_URL": f"http://127.0.0.1:{brain.server.server_port}", **settings,
        }  # fmt: skip
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "bot", "serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=log, stderr=log)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)
        running.append(self)
        wait_for(self._answers, 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/healthz").is_success
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()


def test_a_process_that_is_asked_to_stop_gives_its_turn_back(
    database_url: str, tmp_path: Path, brain: HeldBrain
):
    bot = Bot(tmp_path, database_url, brain)
    visitor = Visitor(bot.http)
    visitor.posts("how do returns work?")
    wait_for(lambda: brain.asked)
    bot.process.send_signal(signal.SIGTERM)
    bot.process.wait(30)
    store = Store(settings_for(tmp_path, DATABASE_URL=database_url).database_url)
    with store.read() as session:
        conversation = session.scalars(sa.select(Conversation)).one()
        assert conversation.due_at
        assert conversation.lease_until is None  # the next process needn't wait for it
    store.close()
    after = Bot(tmp_path, database_url, brain)
    here = Visitor(after.http, visitor.token)
    assert wait_for(lambda: here.texts("bot")) == ["30 days."]


def test_a_process_that_is_asked_to_stop_ends_the_streams_that_are_open(tmp_path: Path, brain: HeldBrain):
    bot = Bot(tmp_path, f"sqlite:///{tmp_path}/shop.db", brain)
    visitor = Visitor(bot.http)
    with bot.http.stream("GET", "/api/chat/events", headers=visitor.headers) as stream:
        pieces = stream.iter_text()
        assert "status" in next(pieces)
        bot.process.send_signal(signal.SIGTERM)
        assert list(pieces) == []
    bot.process.wait(30)
    assert "graceful shutdown exceeded" not in bot.log.read_text()


def test_a_worker_that_slept_beyond_its_lease_says_nothing_more(
    database_url: str, tmp_path: Path, brain: HeldBrain
):
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves the embedded database")
    times = {"BRAIN_SECONDS": "30", "LEASE_SECONDS": "31"}
    asleep = Bot(tmp_path, database_url, brain, **times)
    visitor = Visitor(asleep.http)
    visitor.posts("how do returns work?")
    wait_for(lambda: brain.asked)
    asleep.process.send_signal(signal.SIGSTOP)
    awake = Bot(tmp_path, database_url, brain, **times)
    store = Store(settings_for(tmp_path, DATABASE_URL=database_url).database_url)
    with store.unit_of_work() as session:  # its lease has run out
        session.execute(sa.text("UPDATE conversation SET lease_until = lease_until - interval '1 minute'"))
    here = Visitor(awake.http, visitor.token)
    wait_for(lambda: here.texts("bot"))
    brain.go.set()
    asleep.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "turn.lease_lost" in asleep.log.read_text())
    assert here.texts("bot") == ["30 days."]
    assert brain.asked == 2
    store.close()
