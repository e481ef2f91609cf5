"""What Graph's answers mean, each with its treatment."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from bot.channels.graph import Outcome, read


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
        (error(9_999, status=503), Outcome.RETRY),
        (error(9_999, is_transient=True), Outcome.RETRY),
        (httpx.Response(502, text="<html>Bad gateway"), Outcome.RETRY),
        (httpx.Response(407), Outcome.RETRY),
        (error(10, 2018300), Outcome.NOT_OWNER),
        (error(200, 2018300), Outcome.NOT_OWNER),
        (error(None), Outcome.REFUSED),
        (error([], {}), Outcome.REFUSED),
        (httpx.Response(200, content=b"\xff\x00garbage"), Outcome.UNKNOWN),
        (httpx.Response(200, content=b""), Outcome.UNKNOWN),
        (httpx.Response(200, json=["message_id"]), Outcome.UNKNOWN),
        (httpx.Response(200, content=b"[" * 100_000), Outcome.UNKNOWN),
        (httpx.Response(200, json={"recipient_id": "1", "message_id": "m_1"}), Outcome.SENT),
    ],
)
def test_every_answer_has_its_treatment(response: httpx.Response, outcome: Outcome):
    assert read(response)[0].outcome is outcome


@pytest.mark.parametrize(
    ("header", "wait"), [("7", 7), ("999999", 3600), ("soon", None), ("-1", None), ("", None)]
)
def test_graph_may_say_how_long_to_wait(header: str, wait: int | None):
    answer, _ = read(httpx.Response(429, headers={"retry-after": header}))
    assert answer.wait == (None if wait is None else timedelta(seconds=wait))
