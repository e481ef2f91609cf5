"""Several processes: what one stores wakes the others through Redis, and without Redis nothing is lost."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bot import brain
from bot.brain import Rasa, Reading
from bot.domain.errors import BrainDown, SettingError
from bot.domain.rule import Context
from bot.domain.words import State, Topic
from bot.processes import free_port
from bot.settings import ROOT
from bot.store.news import News, Work
from bot.wire import Wire
from tests.e2e.test_workers import ANSWER
from tests.redis_server import Redis
from tests.support import MONDAY_NOON, settings_for


async def until(condition: object, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def test_what_one_process_stores_the_others_hear_and_not_itself(redis: Redis):
    news = frozenset({News(Work.TURN, MONDAY_NOON), News(Work.LIVE)})

    async def heard() -> tuple[set[News], set[News]]:
        here: set[News] = set()
        there: set[News] = set()
        one, other = Wire(redis.url, here.update), Wire(redis.url, there.update)
        tasks = [asyncio.create_task(wire.run()) for wire in (one, other)]
        await until(lambda: len(here) == len(there) == len(Work))  # on connecting: look at everything
        here.clear()
        there.clear()
        one.tell(news)
        await until(lambda: there)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return here, there

    here, there = asyncio.run(heard())
    assert there == news
    assert not here


def test_a_redis_that_comes_back_is_used_again_and_everybody_looks(redis: Redis):
    async def heard() -> set[News]:
        here: set[News] = set()
        wire = Wire(redis.url, here.update)
        task = asyncio.create_task(wire.run())
        await until(lambda: here)
        await asyncio.to_thread(redis.kill)
        for _ in range(2_000):  # more than are kept
            wire.tell(frozenset({News(Work.INBOX)}))
        here.clear()
        await asyncio.to_thread(redis.start)
        await until(lambda: here, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return here

    assert {news.work for news in asyncio.run(heard())} == set(Work)


def test_an_address_that_is_none_of_redis_is_refused(tmp_path: Path):
    with pytest.raises(SettingError, match="REDIS_URL"):
        settings_for(tmp_path, REDIS_URL="http://127.0.0.1:6379")


OTHERS = {
    "/webhooks/turn/read": b'{"topics": [{"name": "return_policy", "confidence": 0.9}], "language": "en"}',
    "/webhooks/turn/encode": b'{"vectors": [[0.6, 0.8]]}',
}


class TestSeveralRasas:
    @pytest.fixture
    def asked(self) -> list[int]:
        return []

    @pytest.fixture
    def hosts(self, asked: list[int]) -> Iterator[list[ThreadingHTTPServer]]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.server.server_address[1])
                answer = OTHERS.get(self.path, ANSWER)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield servers
        for server in servers:
            server.shutdown()
            server.server_close()

    def ask(self, hosts: list[str], times: int, seconds: float = 5) -> None:
        async def asking() -> None:
            rasa = Rasa(hosts, timedelta(seconds=seconds), ROOT / "domain.yml")
            try:
                for number in range(times):
                    await rasa.read_and_reply(f"1-{number}", "hello", Context(state=State.BOT))
            finally:
                await rasa.close()

        asyncio.run(asking())

    def url(self, host: ThreadingHTTPServer) -> str:
        return f"http://127.0.0.1:{host.server_address[1]}"

    def test_they_take_turns(self, hosts: list[ThreadingHTTPServer], asked: list[int]):
        self.ask([self.url(host) for host in hosts], 6)
        assert sorted(asked.count(host.server_address[1]) for host in hosts) == [3, 3]

    def test_one_that_is_down_is_passed_over_and_no_turn_fails(
        self, hosts: list[ThreadingHTTPServer], asked: list[int]
    ):
        self.ask([f"http://127.0.0.1:{free_port()}", self.url(hosts[0])], 6)
        assert len(asked) == 6

    def test_one_that_is_frozen_costs_one_turn_a_share_of_the_patience_and_none_its_answer(
        self, hosts: list[ThreadingHTTPServer], asked: list[int], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(brain, "AWAY_SECONDS", 0.0)  # what is frozen is passed over for longer than that
        monkeypatch.setattr(brain, "LEAST_SECONDS", 0.1)
        called: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as frozen:

            def take_calls() -> None:
                with suppress(OSError):
                    while True:
                        called.append(frozen.accept()[0])

            threading.Thread(target=take_calls, daemon=True).start()
            self.ask([f"http://127.0.0.1:{frozen.getsockname()[1]}", self.url(hosts[0])], 6, seconds=1)
            frozen.shutdown(socket.SHUT_RDWR)
        assert len(asked) == 6
        assert len(called) == 1
        called[0].close()

    def test_what_an_agent_asks_finds_the_one_that_is_up_too(self, hosts: list[ThreadingHTTPServer]):
        async def asking() -> tuple[Reading, list[list[float]]]:
            urls = [f"http://127.0.0.1:{free_port()}", self.url(hosts[0])]
            rasa = Rasa(urls, timedelta(seconds=5), ROOT / "domain.yml")
            answers = await rasa.read("Can I return it?"), await rasa.encode(["Can I return it?"])
            await rasa.close()
            return answers

        reading, vectors = asyncio.run(asking())
        assert reading.topics == ((Topic.RETURN_POLICY, 0.9),)
        assert vectors == [[0.6, 0.8]]

    def test_when_all_are_down_the_brain_is(self):
        with pytest.raises(BrainDown):
            self.ask([f"http://127.0.0.1:{free_port()}" for _ in range(2)], 1)
