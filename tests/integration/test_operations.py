"""What whoever runs the product sees: health, readiness, metrics."""

import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

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
