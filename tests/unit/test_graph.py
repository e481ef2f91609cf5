"""What Graph's answers mean, each with its treatment."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bot.channels.graph import ECHO_WAIT, Answer, Graph, Outcome, Reply, read
from bot.inbox import kept_id
from bot.processes import free_port
from tests.meta import HANG_UP, IN_DOUBT, OK, PAGE, GraphServer, Mood
from tests.meta_page import SETTINGS, reply


def error(code: Any, subcode: Any = None, status: int = 400, **more: Any) -> httpx.Response:
    said = {"message": "…", "type": "OAuthException", "code": code, "error_subcode": subcode, **more}
    return httpx.Response(status, json={"error": said})


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (error(10, 2018278), Outcome.WINDOW),
        (error(10, 2018108), Outcome.UNREACHABLE),
        (error(551), Outcome.UNREACHABLE),
        (error(551, 1545041), Outcome.UNREACHABLE),
        (error(100, 2018001), Outcome.REFUSED),
        (error(100), Outcome.REFUSED),
        (error(190), Outcome.TOKEN),
        (error("190", "463"), Outcome.TOKEN),
        (error(190, 460, 401), Outcome.TOKEN),
        (httpx.Response(401, text="who are you"), Outcome.TOKEN),
        (error(4), Outcome.THROTTLED),
        (error(17), Outcome.THROTTLED),
        (error(32), Outcome.THROTTLED),
        (error(613), Outcome.THROTTLED),
        (httpx.Response(429), Outcome.THROTTLED),
        (error(9_999, status=429), Outcome.THROTTLED),
        (error(1200), Outcome.RETRY),
        (error(2, status=500), Outcome.RETRY),
        (error(2, status=503), Outcome.RETRY),
        (error(1200, status=500), Outcome.RETRY),
        (error(1), Outcome.RETRY),
        (error(1, status=500), Outcome.UNKNOWN),
        (error(9_999, status=503), Outcome.UNKNOWN),
        (error(9_999, status=500, is_transient=True), Outcome.UNKNOWN),
        (error(9_999, is_transient=True), Outcome.RETRY),
        (httpx.Response(500), Outcome.UNKNOWN),
        (httpx.Response(502, text="<html>Bad gateway"), Outcome.UNKNOWN),
        (httpx.Response(503, json={}), Outcome.UNKNOWN),
        (httpx.Response(504, json={"message_id": "m_1"}), Outcome.UNKNOWN),
        (httpx.Response(408), Outcome.UNKNOWN),
        (httpx.Response(407), Outcome.RETRY),
        (httpx.Response(302), Outcome.RETRY),
        (error(10, 2018300), Outcome.NOT_OWNER),
        (error(200, 2018300), Outcome.NOT_OWNER),
        (error(None), Outcome.REFUSED),
        (error([], {}), Outcome.REFUSED),
        (httpx.Response(200, content=b"\xff\x00garbage"), Outcome.UNKNOWN),
        (httpx.Response(200, content=b""), Outcome.UNKNOWN),
        (error(2, status=200), Outcome.UNKNOWN),
        (error(190, status=200), Outcome.UNKNOWN),
        (httpx.Response(200, json={"error": "?", "message_id": "m_1"}), Outcome.UNKNOWN),
        (httpx.Response(200, json=["message_id"]), Outcome.UNKNOWN),
        (httpx.Response(200, content=b"[" * 100_000), Outcome.UNKNOWN),
        (httpx.Response(200, json={"recipient_id": "1", "message_id": "m_1"}), Outcome.SENT),
    ],
)
def test_every_answer_has_its_treatment(response: httpx.Response, outcome: Outcome):
    assert read(reply(response))[0].outcome is outcome


def test_what_graph_has_seen_is_not_tried_again_before_its_echo_had_time():
    for answer in (error(2), error(1200, status=500), error(9_999, is_transient=True)):
        assert read(reply(answer))[0].wait == ECHO_WAIT


@pytest.mark.parametrize("token", ["é", "page\ntoken", "page token\0"])
def test_a_token_that_can_be_none_is_told_as_such(token: str):
    async def send() -> Outcome:
        graph = Graph(replace(SETTINGS, page_token=token))
        try:
            return (await graph.send(PAGE, "1", "hi", "id", [])).outcome
        finally:
            await graph.close()

    assert asyncio.run(send()) is Outcome.TOKEN


def sent_to(url: str) -> Answer:
    """What becomes of a send over a real line."""

    async def send() -> Answer:
        graph = Graph(replace(SETTINGS, graph_url=url))
        try:
            return await graph.send(PAGE, "1", "hi", "id", [])
        finally:
            await graph.close()

    return asyncio.run(send())


@pytest.mark.parametrize(
    "url",
    [f"http://127.0.0.1:{free_port()}/v26.0", "http://nowhere.invalid", "ftp://127.0.0.1"],
)
def test_what_never_left_us_is_tried_again(url: str):
    assert sent_to(url).outcome is Outcome.RETRY


def test_what_a_proxy_does_not_let_out_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    proxy = GraphServer()  # it knows no CONNECT
    monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/v26.0"))
    monkeypatch.setenv("no_proxy", "")
    assert sent_to("https://graph.invalid/v26.0") == Answer(Outcome.RETRY, "ClientHttpProxyError")
    proxy.close()


@pytest.mark.parametrize("mood", [*IN_DOUBT.values(), HANG_UP])
def test_what_graph_may_have_taken_is_in_doubt(mood: Mood):
    graph = GraphServer(lambda: mood)
    assert sent_to(graph.url).outcome is Outcome.UNKNOWN
    assert [sent.text for sent in graph.sent] == ["hi"]
    graph.close()


def test_a_send_is_never_repeated_by_the_line_itself():
    """A kept connection that is closed just as it is used: whether Graph has the message, nobody knows."""
    moods = iter([OK, HANG_UP])
    graph = GraphServer(lambda: next(moods))

    async def send_two() -> list[Outcome]:
        client = Graph(replace(SETTINGS, graph_url=graph.url))
        try:
            return [(await client.send(PAGE, "1", text, text, [])).outcome for text in ("one", "two")]
        finally:
            await client.close()

    assert asyncio.run(send_two()) == [Outcome.SENT, Outcome.UNKNOWN]
    assert [sent.text for sent in graph.sent] == ["one", "two"]
    graph.close()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("m_1", "m_1"), (77, "77"), ("m\0_\ud800", "m_?"), ("", ""), (None, ""), (True, ""), ([1], "")],
)
def test_an_id_is_kept_as_every_database_can_hold_it(given: object, kept: str):
    assert kept_id(given) == kept


def test_an_id_that_is_too_long_is_known_by_its_fingerprint():
    assert kept_id("m" * 5_000).startswith("sha256:")
    assert kept_id("m" * 5_000) != kept_id("m" * 5_001)


@pytest.mark.parametrize(
    ("header", "wait"), [("7", 7), ("999999", 3600), ("soon", None), ("-1", None), ("", None)]
)
def test_graph_may_say_how_long_to_wait(header: str, wait: int | None):
    answer, _ = read(Reply(429, headers={"retry-after": header}))
    assert answer.wait == (None if wait is None else timedelta(seconds=wait))
