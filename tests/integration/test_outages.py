"""The disk full, the database locked, a process asleep with a lock, Rasa answering nonsense."""

import asyncio
import resource
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import inbox
from bot.brain import Rasa
from bot.domain.errors import BrainDown, StoreDown
from bot.domain.rule import Context
from bot.domain.words import Channel
from bot.filing import Times
from bot.settings import ROOT
from bot.store import engine
from bot.store.engine import Store
from tests.e2e.test_workers import Bot, HeldBrain
from tests.meta import APP, SECRET, said, signed, webhook
from tests.support import MONDAY_NOON, Server, Visitor, settings_for, wait_for


@pytest.fixture
def brain() -> Iterator[HeldBrain]:
    brain = HeldBrain()
    brain.go.set()
    yield brain
    brain.server.shutdown()
    brain.server.server_close()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits a running process")
def test_with_the_disk_full_nothing_is_acknowledged_that_is_not_stored(tmp_path: Path, brain: HeldBrain):
    """The process's files may not grow any more, as on a full disk; then they may again."""
    secrets = {"MESSENGER_APP_ID": APP, "MESSENGER_APP_SECRET": SECRET}
    bot = Bot(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}", brain, **secrets)
    visitor = Visitor(bot.http)
    visitor.posts("before", "before")
    wait_for(lambda: visitor.texts("bot"))
    _soft, hard = resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE)
    room = (tmp_path / "shop.db-wal").stat().st_size + 20_000
    resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, (room, hard))
    acknowledged, refused = ["before"], []
    for number in range(12):
        name = f"during-{number}"
        answer = visitor.posts("x" * 3_000, name)
        assert answer.status_code in (202, 503)
        (refused if answer.status_code == 503 else acknowledged).append(name)
    assert refused
    body = webhook(said("7000000000000001", "hello", "m_full", time.time()))
    assert bot.http.post("/webhooks/messenger", content=body, headers=signed(body)).status_code == 503
    assert bot.http.get("/healthz").status_code == 200

    resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_for(lambda: bot.http.post("/webhooks/messenger", content=body, headers=signed(body)).is_success)
    for name in refused:
        assert visitor.posts("x" * 3_000, name).status_code in (200, 202)
    shown = [m["client_id"] for m in visitor.history()["messages"] if m["author"] == "customer"]
    assert sorted(shown) == sorted(acknowledged + refused)
    store = Store(f"sqlite:///{tmp_path / 'shop.db'}")
    wait_for(lambda: _all_is_handled(store))
    store.close()
    bot.close()


def _all_is_handled(store: Store) -> bool:
    with store.read() as session:
        open_ = session.scalar(sa.text("SELECT count(*) FROM message WHERE handled_at IS NULL"))
        unfiled = session.scalar(sa.text("SELECT count(*) FROM inbox WHERE filed_at IS NULL"))
        return not (open_ or unfiled)


def test_while_the_database_is_locked_nothing_is_acknowledged(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "BUSY_MS", 300)
    monkeypatch.setattr(engine, "LOCK_SECONDS", 1)
    with Server(settings_for(tmp_path, DATABASE_URL=database_url, BURST_SECONDS="0.1")) as server:
        visitor, store = server.visitor(), server.services.store
        with store.unit_of_work() as session:
            lock = "SELECT 1" if store.is_sqlite else "LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"
            session.execute(sa.text(lock))  # SQLite's transactions lock as they begin
            assert visitor.posts("return_policy", "one").status_code == 503
            assert visitor.posts("return_policy", "one").status_code == 503
        assert visitor.posts("return_policy", "one").status_code == 202
        wait_for(lambda: visitor.texts("bot"))
        assert visitor.texts("customer") == ["return_policy"]


def test_a_database_without_a_free_connection_is_down_not_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "POOL_SECONDS", 0.1)
    store = Store(f"sqlite:///{tmp_path / 'shop.db'}")
    store.migrate()
    with store.read() as session:
        held = [session.get_bind().connect() for _ in range(15)]
        with pytest.raises(StoreDown), store.unit_of_work() as writing:
            writing.execute(sa.text("SELECT 1"))
        for connection in held:
            connection.close()
    store.close()


def test_in_a_flood_the_entrance_comes_first(embedded: Store):
    intake = inbox.Intake(embedded, lambda: Times(MONDAY_NOON, timedelta(0), timedelta(1)))

    def written(number: int) -> list[inbox.Incoming]:
        name = f"flood-{number}"
        return [
            inbox.Incoming(
                Channel.MESSENGER, "page", name, name, inbox.Kind.MESSAGE, {"text": "hi"}, MONDAY_NOON
            )
        ]

    async def flood() -> None:
        await intake.take(written(0))
        await asyncio.wait_for(intake.calm(), 5)  # nothing is in the way of whoever works
        await asyncio.gather(*(intake.take(written(n)) for n in range(1, inbox.FLOOD + 1)))
        worker = asyncio.create_task(intake.calm())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not worker.done()  # though all that came is taken in
        await worker

    asyncio.run(flood())


def test_a_damaged_database_fails_every_caller_and_leaves_nobody_waiting(embedded: Store):
    with embedded.read() as session:
        page = session.scalar(sa.text("SELECT rootpage FROM sqlite_master WHERE name = 'inbox'"))
        size = session.scalar(sa.text("PRAGMA page_size"))
    embedded.close()
    with Path(embedded.url.removeprefix("sqlite:///")).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    intake = inbox.Intake(embedded, lambda: Times(MONDAY_NOON, timedelta(0), timedelta(1)))

    def written(number: int) -> inbox.Incoming:
        kind, payload = inbox.Kind.MESSAGE, {"text": "hi"}
        return inbox.Incoming(Channel.WEB, "web", f"c{number}", f"{number}", kind, payload, MONDAY_NOON)

    async def refusals() -> list[object]:
        taken = asyncio.gather(*(intake.take([written(n)]) for n in range(4)), return_exceptions=True)
        return await asyncio.wait_for(taken, 10)

    for _ in range(2):  # and whoever comes afterwards
        assert [type(refusal) for refusal in asyncio.run(refusals())] == [sa.exc.DatabaseError] * 4


def test_a_process_asleep_within_its_transaction_holds_nobody_up_for_good(
    postgres: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL's own")
    monkeypatch.setattr(engine, "ASLEEP_SECONDS", 1)
    url = settings_for(tmp_path, DATABASE_URL=database_url).database_url
    asleep, awake = Store(url), Store(url)
    asleep.migrate()
    event = inbox.Incoming(Channel.WEB, "web", "mina", "1", inbox.Kind.MESSAGE, {"text": "hi"}, MONDAY_NOON)
    inbox.accept(awake, [event], MONDAY_NOON)

    def files_and_falls_asleep() -> None:
        with asleep.unit_of_work() as session:
            session.execute(sa.text("SELECT pg_advisory_xact_lock(7203)"))
            assert inbox.file_all(awake, MONDAY_NOON, timedelta(0), timedelta(1)) == 1
            session.execute(sa.text("SELECT 1"))

    with pytest.raises(StoreDown):  # it wakes up, and what it began is gone
        files_and_falls_asleep()
    asleep.close()
    awake.close()


ANSWERS = {
    "an error": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "half an answer": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"action": "ans',
    "deep": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "no HTTP": b"\x00\x01\x02\x03",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_nonsense_from_rasa_is_an_outage(answer: bytes):
    with pytest.raises(BrainDown):
        asyncio.run(_ask(answer, trickle=False))


def test_an_answer_that_trickles_in_runs_out_of_patience():
    with pytest.raises(BrainDown, match="TimeoutError"):
        asyncio.run(_ask(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 1_000, trickle=True))


async def _ask(answer: bytes, trickle: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        stop = threading.Event()

        def serve() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65_536)
                try:
                    if not trickle:
                        line.sendall(answer)
                        return
                    for byte in answer:  # each byte in time, the whole never
                        line.sendall(bytes([byte]))
                        if stop.wait(0.05):
                            return
                except OSError:
                    return

        serving = threading.Thread(target=serve)
        serving.start()
        rasa = Rasa((f"http://127.0.0.1:{port}",), timedelta(seconds=1), ROOT / "domain.yml")
        try:
            await rasa.read_and_reply(uuid.uuid4().hex, "hello", Context())
        finally:
            stop.set()
            await rasa.close()
            await asyncio.to_thread(serving.join)
