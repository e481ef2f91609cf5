"""Webhooks as nobody documents them: what a customer wrote in one is answered, whatever else is odd."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.domain.words import Author, State, Status
from bot.store.engine import Store
from bot.store.tables import InboxItem, Message
from tests.meta import APP, PAGE, SECRET, signed
from tests.meta_page import CUSTOMER, Page, StandIn, entry, said
from tests.support import Server, settings_for

ASKED = said("return_policy", "m_1")


@pytest.fixture
def page(embedded: Store, tmp_path: Path) -> Page:
    return Page(embedded, settings_for(tmp_path))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wire")
    with Server(settings_for(folder, MESSENGER_APP_ID=APP, MESSENGER_APP_SECRET=SECRET)) as server:
        yield server


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k != name}


def message(**parts: Any) -> dict[str, Any]:
    return ASKED | {"message": ASKED["message"] | parts}


ODD = {
    "no mid": ASKED | {"message": {"text": "return_policy"}},
    "a number as mid": message(mid=77),
    "a mid of 5,000 characters": message(mid="m" * 5_000),
    "a mid with a NUL and half a character": message(mid="m\0\ud800"),
    "no time": without(ASKED, "timestamp"),
    "a time in seconds": ASKED | {"timestamp": 1793000000},
    "a time as text": ASKED | {"timestamp": "1793000000000"},
    "a time before all times": ASKED | {"timestamp": -1793000000000},
    "a time in the far future": ASKED | {"timestamp": 250_000_000_000_000},
    "a time beyond time": ASKED | {"timestamp": 10**30},
    "a time of 5,000 digits": ASKED | {"timestamp": "TOO LONG"},
    "no recipient": without(ASKED, "recipient"),
    "ids as numbers": ASKED | {"sender": {"id": int(CUSTOMER)}, "recipient": {"id": int(PAGE)}},
    "a half character in the text": message(text="return_policy \ud83d"),
    "a NUL in the text": message(text="return\0_policy"),
    "fields that nobody knows": message(nested={"a": [{"b": None}]}, commands=[{"name": "x"}]),
    "an abyss": message(nested=json.loads("[" * 200 + "]" * 200)),
}


@pytest.mark.parametrize("name", ODD)
def test_a_question_in_an_odd_event_is_answered_once(page: Page, name: str):
    body = json.dumps(entry(ODD[name])).replace('"TOO LONG"', "9" * 5_000).encode()
    for _ in range(2):
        page.takes_in(body)
    page.passes(seconds=2)
    assert page.replies(CUSTOMER) == ["answer return_policy"]
    assert len(page.messages(CUSTOMER)) == 2


def test_a_text_that_is_a_number_is_read_as_one(page: Page):
    page.takes_in(json.dumps(entry(message(text=10023))).encode())
    assert page.messages(CUSTOMER)[0].text == "10023"


def test_bytes_that_are_no_text_cost_these_bytes_and_no_event(page: Page):
    body = (
        json.dumps(entry(message(text="return_policy QQ"))).encode().replace(b"QQ", b"\xff\xfe\xed\xa0\x80")
    )
    page.takes_in(body)
    page.passes(seconds=2)
    assert page.replies(CUSTOMER) == ["answer return_policy"]


def test_one_absurd_event_takes_nothing_from_the_others_in_its_batch(page: Page):
    absurd = [7, None, [], {}, {"sender": 5, "message": "x"}, {"sender": {"id": CUSTOMER}, "message": []},
              {"sender": {"id": "9" * 9_000}, "message": {"mid": "m_9", "text": "x"}}]  # fmt: skip
    page.gets(*absurd, ASKED, *absurd)
    assert page.replies(CUSTOMER) == ["answer return_policy"]


def test_the_same_words_under_two_ids_are_one_turn_and_get_one_reply(page: Page):
    page.gets(ASKED, message(mid="m_2"))
    assert page.replies(CUSTOMER) == ["answer return_policy"]


def test_a_thread_event_from_the_far_future_does_not_decide_for_ever_who_answers(page: Page):
    page.gets(ASKED)
    far = {"sender": {"id": CUSTOMER}, "recipient": {"id": PAGE}, "timestamp": 250_000_000_000_000}
    page.gets(far | {"pass_thread_control": {"new_owner_app_id": APP}})
    page.now += timedelta(days=2)
    page.gets(message(mid="m_2") | {"timestamp": page.millis}, name="standby")
    assert page.state(CUSTOMER) is State.AGENT


def test_a_watermark_from_the_far_future_does_not_say_that_everything_to_come_was_read(page: Page):
    page.gets(ASKED)
    page.gets({"sender": {"id": CUSTOMER}, "recipient": {"id": PAGE}, "read": {"watermark": 250_000_000_000_000}})  # fmt: skip
    read_until = page.identity().read_until
    assert read_until
    assert read_until <= page.now + timedelta(days=1)


def test_an_echo_settles_a_send_whatever_its_id_looks_like(page: Page):
    page.says("return_policy", "m_3")
    graph = StandIn(httpx.ReadTimeout("slow"))
    page.sends(graph)
    told = graph.echo()
    told["message"]["mid"] = "m" * 5_000
    page.gets(told)
    assert page.outbox() == [(Author.BOT, Status.SENT)]


def comment(comment_id: str, sender: str = CUSTOMER, **value: Any) -> dict[str, Any]:
    kept = {"item": "comment", "verb": "add", "comment_id": comment_id, "from": {"id": sender}, **value}
    return {"object": "page", "entry": [{"id": PAGE, "changes": [{"field": "feed", "value": kept}]}]}


def test_a_public_comment_is_kept_once_and_answered_by_nobody(page: Page):
    on_instagram = {"field": "comments", "value": {"id": "17_1", "text": "price?", "from": {"id": "8"}}}
    page.receives(
        comment("2_3"),
        comment("2_3", message="the same, delivered again"),
        comment("2_4", verb="edited"),
        comment("2_5", sender=PAGE),
        {"object": "instagram", "entry": [{"id": "300", "changes": [on_instagram]}]},
    )
    with page.store.read() as session:
        kept = session.query(InboxItem).order_by(InboxItem.id).all()
        assert [item.external_id for item in kept if item.kind == "comment"] == [
            "comment:2_3",
            "comment:17_1",
        ]
        assert [item.kind for item in kept].count("other") == 2
        assert session.query(Message).count() == 0


class TestOnTheWire:
    """The bytes of a request, over a real connection."""

    def posts(self, server: Server, body: Any, headers: dict[str, str]) -> int:
        return server.http.post("/webhooks/messenger", content=body, headers=headers).status_code

    def test_a_body_in_chunks_is_taken(self, server: Server):
        body = json.dumps(entry(ASKED)).encode()
        assert self.posts(server, iter([body[:10], body[10:50], body[50:]]), signed(body)) == 200

    def test_a_body_of_several_megabytes_is_taken_whole(self, server: Server):
        """Meta puts up to a thousand events into a batch, and writes a Korean letter in six bytes."""
        events = [said("한" * 400, f"m_big_{n}", sender=f"72{n:06}") for n in range(1_000)]
        body = json.dumps(entry(*events)).encode()
        assert len(body) > 2 << 20
        assert self.posts(server, body, signed(body)) == 200

    def test_one_beyond_all_measure_is_refused(self, server: Server):
        assert self.posts(server, b"x" * (17 << 20), {}) == 413
        visitor = server.visitor()
        answer = server.http.post("/api/chat/messages", content=b"x" * (2 << 20), headers=visitor.headers)
        assert answer.status_code == 413

    @pytest.mark.parametrize(
        "form",
        ["", "sha256=", "{hex}", "sha1={hex}", "sha256={HEX}", "sha256={hex} ", "sha256={hex},sha256={hex}",
         "SHA256={hex}", "sha256={short}", "sha256=é", "sha256={hex}00", "sha256=" + "0" * 64],
    )  # fmt: skip
    def test_a_signature_in_another_form_is_none(self, server: Server, form: str):
        body = json.dumps(entry(message(mid="m_forged"))).encode()
        digest = signed(body)["X-Hub-Signature-256"].removeprefix("sha256=")
        header = form.format(hex=digest, HEX=digest.upper(), short=digest[:-1])
        if header.strip() == signed(body)["X-Hub-Signature-256"]:
            return  # HTTP itself strips the blank
        status = self.posts(server, body, {"X-Hub-Signature-256": header.encode()})  # type: ignore[dict-item]
        assert status == 403

    def test_a_signature_of_the_same_json_written_otherwise_is_none(self, server: Server):
        body = json.dumps(entry(message(mid="m_forged"))).encode()
        assert self.posts(server, body.replace(b": ", b":"), signed(body)) == 403

    def test_comments_are_counted(self, server: Server):
        def counted() -> float:
            found = re.search(
                rf'^reply_twice_unanswered_comments_total{{account="{PAGE}"}} (\S+)$',
                server.http.get("/metrics").text,
                re.MULTILINE,
            )
            return float(found[1]) if found else 0.0

        before = counted()
        for comment_id in ("9_1", "9_1", "9_2"):
            body = json.dumps(comment(comment_id)).encode()
            assert self.posts(server, body, signed(body)) == 200
        assert counted() == before + 2

    def test_no_body_at_all_is_no_webhook(self, server: Server):
        assert self.posts(server, b"", {}) == 403
        assert self.posts(server, b"", signed(b"")) == 422


def test_several_pages_and_instagram_keep_their_customers_apart(page: Page):
    def of(account: str, mid: str, text: str) -> dict[str, Any]:
        event = said(text, mid) | {"recipient": {"id": account}}
        return {"id": account, "time": 1793000000000, "messaging": [event]}

    pages = {"object": "page", "entry": [of("100", "m_1", "return_policy"), of("200", "m_1", "invoice")]}
    page.receives(pages, {"object": "instagram", "entry": [of("300", "m_1", "shipping_cost")]})
    with page.store.read() as session:
        said_by_bot = session.query(Message).filter(Message.author == Author.BOT).all()
    assert {m.account: m.text for m in said_by_bot} == {
        "100": "answer return_policy",
        "200": "answer invoice",
        "instagram:300": "answer shipping_cost",
    }
