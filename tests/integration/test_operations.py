"""What whoever runs the product sees: health, readiness, metrics."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bot.desk import agents
from bot.services import utc_now
from bot.store.engine import Store
from tests.e2e.test_workers import Bot, HeldBrain, running
from tests.support import Server, settings_for, wait_for


def metric(server: Server, name: str) -> float:
    text = server.http.get("/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_answers_to_a_look_and_to_a_glance(server: Server, path: str):
    assert server.http.get(path).status_code == 200
    glance = server.http.head(path)
    assert (glance.status_code, glance.content) == (200, b"")


def test_the_metrics_tell_what_waits_what_was_decided_and_why_people_were_called(server: Server):
    handed = metric(server, 'reply_twice_hand_overs_total{reason="empathy"}')
    turns = metric(server, 'reply_twice_turn_seconds_count{action="hand_off"}')
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset")
    wait_for(anna.queue)
    assert metric(server, 'reply_twice_hand_overs_total{reason="empathy"}') == handed + 1
    assert metric(server, 'reply_twice_turn_seconds_count{action="hand_off"}') == turns + 1
    assert metric(server, 'reply_twice_queue_length{stage="person"}') == 1
    assert metric(server, 'reply_twice_open_conversations{state="waiting"}') == 1
    assert metric(server, "reply_twice_brain_up") == 1
    server.brain.down = True
    assert metric(server, "reply_twice_brain_up") == 0


def test_a_third_reply_that_was_proposed_is_counted_as_refused(server: Server):
    before = metric(server, "reply_twice_refused_third_replies_total")
    visitor, anna = server.visitor(), server.agent("Anna")
    propose = server.brain._propose

    def chatty(text: str, context):  # type: ignore[no-untyped-def]
        return replace(propose(text, context), text="One more thing!")

    server.brain._propose = chatty  # type: ignore[method-assign]
    for number in range(3):
        visitor.posts("return_policy")
        wait_for(lambda number=number: len(visitor.texts("bot")) == min(number + 1, 2))
    wait_for(anna.queue)
    assert len(visitor.texts("bot")) == 2
    assert metric(server, "reply_twice_refused_third_replies_total") == before + 1


def test_the_metrics_hold_nothing_of_a_customers(server: Server):
    visitor, anna = server.visitor(), server.agent("Anna")
    visitor.posts("upset mina@example.com sorrow")
    wait_for(anna.queue)
    text = server.http.get("/metrics").text
    assert "sorrow" not in text
    assert "mina" not in text


def test_a_proxys_caller_may_not_read_them(server: Server):
    for name in ("X-Forwarded-For", "Forwarded", "Via"):
        assert server.http.get("/metrics", headers={name: "203.0.113.7"}).status_code == 403


def test_with_a_token_only_its_bearer_reads_them(tmp_path: Path):
    with Server(settings_for(tmp_path, METRICS_TOKEN="let me see")) as server:

        def read(**headers: str) -> httpx.Response:
            return server.http.get("/metrics", headers=headers)

        assert read().status_code == read(Authorization="Bearer no").status_code == 403
        assert read(Authorization="Bearer let me see").status_code == 200


class TestBehindAProxy:
    """Wrong log-ins are counted by the caller's address, which a proxy that is trusted tells."""

    @pytest.fixture
    def brain(self) -> Iterator[HeldBrain]:
        brain = HeldBrain()
        yield brain
        while running:
            running.pop().close()
        brain.server.shutdown()
        brain.server.server_close()

    def bot(self, folder: Path, brain: HeldBrain, proxy: str) -> Bot:
        """A real process with Anna's account, on this machine; `proxy` is the one that it trusts."""
        url = f"sqlite:///{folder / 'shop.db'}"
        bot = Bot(folder, url, brain, FORWARDED_ALLOW_IPS=proxy)
        store = Store(url)
        with store.unit_of_work() as session:
            agents.add_agent(session, "anna@shop.example", "Anna", "agent", "correct horse", utc_now())
        store.close()
        return bot

    def logs_in(self, bot: Bot, address: str, password: str = "correct horse") -> int:
        """As if a proxy passed it on; returns the status."""
        body = {"email": "anna@shop.example", "password": password}
        return bot.http.post("/api/desk/login", json=body, headers={"X-Forwarded-For": address}).status_code

    def test_who_guesses_locks_out_nobody_elsewhere(self, tmp_path: Path, brain: HeldBrain):
        bot = self.bot(tmp_path, brain, "127.0.0.1")
        guesses = [self.logs_in(bot, "203.0.113.7", "wrong horse") for _ in range(11)]
        assert guesses == [401] * 10 + [429]
        assert self.logs_in(bot, "203.0.113.7") == 429
        assert self.logs_in(bot, "198.51.100.4") == 200
        # What whoever guesses puts there himself comes before what the proxy knows.
        assert self.logs_in(bot, "192.0.2.1, 203.0.113.7") == 429

    def test_whoever_comes_without_the_proxy_may_not_say_who_he_is(self, tmp_path: Path, brain: HeldBrain):
        bot = self.bot(tmp_path, brain, "10.0.0.2, 10.1.0.0/16")
        guesses = [self.logs_in(bot, f"203.0.113.{number}", "wrong horse") for number in range(11)]
        assert guesses == [401] * 10 + [429]
