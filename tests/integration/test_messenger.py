"""The Messenger channel: what comes in over the webhook, what goes out to a stand-in for Graph."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import delivery
from bot.desk import conversations as desk
from bot.domain.texts import split
from bot.domain.words import Author, Channel, State, Status
from bot.store.engine import Store
from bot.store.tables import InboxItem
from tests.meta import APP, PAGE, signed
from tests.meta_page import CUSTOMER, Page, StandIn, echo, entry, error, said
from tests.support import Server, settings_for, wait_for


class TestWebhook:
    """Only Meta gets in, everything is stored once, everything is acknowledged."""

    def post(self, server: Server, payload: object, signature: str | None = None) -> httpx.Response:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = signed(body) if signature is None else {"X-Hub-Signature-256": signature}
        return server.http.post("/webhooks/messenger", content=body, headers=headers)

    def stored(self, server: Server) -> list[InboxItem]:
        with server.services.store.read() as session:
            return list(session.query(InboxItem).order_by(InboxItem.id))

    def test_the_subscription_is_verified(self, server: Server):
        query = {"hub.mode": "subscribe", "hub.verify_token": "verify me", "hub.challenge": "1158201444"}
        answer = server.http.get("/webhooks/messenger", params=query)
        assert (answer.status_code, answer.text) == (200, "1158201444")
        for wrong in ({"hub.verify_token": "no"}, {"hub.mode": "unsubscribe"}):
            assert server.http.get("/webhooks/messenger", params=query | wrong).status_code == 403
        assert server.http.get("/webhooks/messenger").status_code == 403

    @pytest.mark.parametrize(
        "signature",
        ["", "sha256=", "sha256=00", *signed(b"other").values(), *signed(b"{}", "x").values(), "é"],
    )
    def test_a_forged_webhook_stores_nothing(self, server: Server, signature: str):
        body = json.dumps(entry(said("hi", "m_1"))).encode()
        headers = {"X-Hub-Signature-256": signature.encode()}
        assert server.http.post("/webhooks/messenger", content=body, headers=headers).status_code == 403
        assert self.stored(server) == []

    def test_the_signature_is_of_the_raw_bytes(self, server: Server):
        body = b'{"object":"page", "entry":[{"id":"1","messaging":[]}],  "note":"\\u00e9"}'
        assert self.post(server, body).status_code == 200

    def test_a_redelivered_message_is_answered_once(self, server: Server):
        payload = entry(said("return_policy", "m_1"))
        for _ in range(3):
            assert self.post(server, payload).status_code == 200
        assert len(self.stored(server)) == 1
        anna = server.agent("Anna")
        (row,) = wait_for(lambda: [r for r in anna.queue("bot") if r["replies_used"]])
        assert row["channel"] == "messenger"
        assert row["replies_used"] == 1

    def test_every_event_of_a_batch_is_stored(self, server: Server):
        batch = {
            "object": "page",
            "entry": [
                {"id": PAGE, "messaging": [said("one", "m_1"), said("two", "m_2")]},
                {"id": PAGE, "changes": [{"field": "feed", "value": {"item": "comment"}}]},
                {"id": PAGE},
                {"id": PAGE, "standby": [said("three", "m_3")]},
                {
                    "id": PAGE,
                    "messaging": [{"recipient": {"id": PAGE}, "policy_enforcement": {"action": "block"}}],
                },
            ],
        }
        assert self.post(server, batch).status_code == 200
        assert [item.kind for item in self.stored(server)] == [
            "message",
            "message",
            "other",
            "standby",
            "policy",
        ]

    @pytest.mark.parametrize(
        "payload",
        [
            {},
            {"entry": None},
            {"entry": "x"},
            {"entry": [None, 1, "x", {}, {"messaging": {}}, {"messaging": [None, {}, {"message": 1}]}]},
            {
                "entry": [
                    {"id": {}, "messaging": [{"sender": {"id": None}, "message": {"mid": "m", "text": 1}}]}
                ]
            },
            entry({"sender": {"id": "1"}, "timestamp": "soon", "message": {"mid": "m" * 500, "text": "x"}}),
            entry(said("x", "m_1") | {"timestamp": 10**40}),
            entry(said("a\0b \ud800", "m_1")),
            entry(said("", "m_1", attachments=[{"type": None, "payload": None}, "x"])),
            entry(said("x", "m_1", quick_reply={"payload": {}})),
            entry(said("", "m_1", attachments=[{"type": "image", "payload": {"sticker_id": [1]}}])),
            entry(said("x", "m_1", sender="7\ud800\0")),
            entry({"sender": {"id": "1"}, "timestamp": float("nan"), "read": {"watermark": float("inf")}}),
        ],
    )
    def test_signed_nonsense_is_acknowledged(self, server: Server, payload: object):
        assert self.post(server, payload).status_code == 200

    @pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
    def test_what_is_not_an_object_is_refused(self, server: Server, body: bytes):
        assert self.post(server, body).status_code == 422

    def test_without_a_secret_nothing_is_trusted(self, tmp_path: Path):
        with Server(settings_for(tmp_path)) as server:
            assert self.post(server, entry(said("hi", "m_1")), *signed(b"", "").values()).status_code == 403


@pytest.fixture
def page(store: Store, tmp_path: Path) -> Page:
    return Page(store, settings_for(tmp_path))


class TestDelivery:
    """Each message is sent once, in order, and nothing is ever sent again blindly."""

    def test_an_answer_is_sent_with_our_id_and_its_buttons(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        graph = StandIn()
        page.sends(graph)
        (body,) = graph.sent
        assert body["recipient"] == {"id": CUSTOMER}
        assert body["messaging_type"] == "RESPONSE"
        assert body["message"]["metadata"] == page.messages(CUSTOMER)[-1].public_id
        assert body["message"]["quick_replies"][0]["payload"] == "settled"
        assert page.outbox() == [(Author.BOT, Status.SENT)]
        page.sends(graph)
        assert len(graph.sent) == 1

    @pytest.mark.parametrize("refusal", [error(613), error(4), httpx.Response(407), httpx.ConnectError("x")])
    def test_what_was_not_sent_is_tried_again_later(self, page: Page, refusal: Any):
        page.gets(said("return_policy", "m_in"))
        graph = StandIn(refusal)
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.QUEUED)]
        page.now += timedelta(seconds=2)
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.SENT)]

    @pytest.mark.parametrize(
        "refusal", [error(10, 2018278), error(551, 1545041), error(10, 2018108), error(100, 2018001)]
    )
    def test_what_meta_refuses_is_not_tried_again(self, page: Page, refusal: httpx.Response):
        page.gets(said("return_policy", "m_in"))
        graph = StandIn(refusal)
        page.sends(graph)
        page.now += timedelta(hours=1)
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.FAILED)]
        assert len(graph.sent) == 1

    def test_a_bad_token_keeps_the_queue(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        page.sends(StandIn(error(190)))
        assert page.outbox() == [(Author.BOT, Status.QUEUED)]
        page.now += timedelta(minutes=2)
        page.sends(StandIn())
        assert page.outbox() == [(Author.BOT, Status.SENT)]

    def test_a_timed_out_send_is_settled_by_its_echo_and_never_repeated(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        graph = StandIn(httpx.ReadTimeout("slow"))
        page.sends(graph)
        assert page.outbox() == [(Author.BOT, Status.UNKNOWN)]
        page.now += timedelta(hours=1)
        page.sends(graph)
        assert len(graph.sent) == 1
        page.gets(echo("…", "m_out", int(APP), metadata=graph.sent[0]["message"]["metadata"]))
        assert page.outbox() == [(Author.BOT, Status.SENT)]
        assert page.state(CUSTOMER) is State.BOT

    def test_a_sender_that_died_leaves_an_unknown_not_a_second_send(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        assert delivery.claim(page.services) is not None
        page.now += delivery.PATIENCE
        graph = StandIn()
        page.sends(graph)
        assert graph.sent == []
        assert page.outbox() == [(Author.BOT, Status.UNKNOWN)]

    def test_messages_go_out_in_their_order(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        page.gets(said("invoice", "m_in2"))
        graph = StandIn(error(613))
        page.sends(graph)
        assert graph.texts == ["answer return_policy"]
        page.now += timedelta(seconds=3)
        page.sends(graph)
        assert graph.texts == ["answer return_policy", "answer return_policy", "answer invoice"]

    def test_a_person_who_takes_over_during_a_send_stops_its_repetition(self, page: Page):
        page.gets(said("return_policy", "m_in"))

        def slow(request: httpx.Request) -> httpx.Response:
            page.takes("Anna", CUSTOMER)
            return error(2, status=503)

        page.sends(slow)
        page.now += timedelta(minutes=1)
        graph = StandIn()
        page.sends(graph)
        assert graph.sent == []
        assert page.outbox() == [(Author.BOT, Status.FAILED)]

    def test_the_echo_of_one_part_does_not_settle_the_whole(self, page: Page):
        page.gets(said("upset", "m_in"))
        page.takes("Anna", CUSTOMER)
        page.answers("Anna", "A sentence of some length. " * 150, CUSTOMER)
        graph = StandIn(None, httpx.ReadTimeout("slow"))
        page.sends(graph)
        first, second = (body["message"]["metadata"] for body in graph.sent)
        assert first != second
        page.gets(echo("…", "m_out1", int(APP), metadata=first))
        assert page.outbox()[-1] == (Author.AGENT, Status.UNKNOWN)
        assert len(page.messages(CUSTOMER)) == 3

    def test_a_person_who_takes_over_stops_what_is_still_queued(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        page.takes("Anna", CUSTOMER)
        graph = StandIn()
        page.sends(graph)
        assert graph.sent == []
        page.answers("Anna", "I'm here.", CUSTOMER)
        page.sends(graph)
        assert graph.texts == ["I'm here."]

    def test_a_long_answer_is_split_at_sentences_and_stays_one_reply(self, page: Page):
        page.gets(said("upset", "m_in"))
        page.takes("Anna", CUSTOMER)
        page.answers("Anna", "A sentence of some length. " * 150, CUSTOMER)
        graph = StandIn()
        page.sends(graph)
        assert [len(text) <= 2000 for text in graph.texts] == [True] * 3
        assert all(text.endswith(".") for text in graph.texts)
        assert page.outbox()[-1] == (Author.AGENT, Status.SENT)


class TestPeopleElsewhere:
    """A colleague who answers in the Page's own inbox holds the conversation."""

    def test_an_echo_of_another_app_is_recorded_and_silences_the_bot(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        page.gets(echo("Hi, Anna here.", "m_page", 263902037430900))
        page.gets(said("invoice", "m_in2"))
        assert page.state(CUSTOMER) is State.AGENT
        assert page.messages(CUSTOMER)[-2].text == "Hi, Anna here."
        assert len(page.replies(CUSTOMER)) == 1

    def test_while_another_app_owns_the_thread_the_bot_is_silent(self, page: Page):
        page.gets(said("return_policy", "m_in"), name="standby")
        assert page.replies(CUSTOMER) == []
        control = {
            "sender": {"id": CUSTOMER},
            "recipient": {"id": PAGE},
            "timestamp": 1793000000001,
            "pass_thread_control": {"new_owner_app_id": APP, "previous_owner_app_id": "263902037430900"},
        }
        page.gets(control)
        page.gets(said("invoice", "m_in2"))
        assert page.replies(CUSTOMER) == ["answer invoice"]

    def test_an_agent_at_the_desk_can_take_it_from_there(self, page: Page):
        page.gets(echo("Hi, Anna here.", "m_page", 263902037430900))
        page.does("Ben", desk.take, CUSTOMER)
        assert page.conversation(CUSTOMER).agent_id is not None

    def test_our_own_echo_changes_nothing(self, page: Page):
        page.gets(said("return_policy", "m_in"))
        page.gets(echo("…", "m_out", int(APP), metadata="unknown"))
        assert page.state(CUSTOMER) is State.BOT
        assert len(page.messages(CUSTOMER)) == 2


def test_a_thumb_is_an_ok(page: Page):
    page.gets(said("return_policy", "m_in"))
    sticker = {"type": "image", "payload": {"url": "https://x.invalid/1.png", "sticker_id": 369239263222822}}
    page.gets(said("", "m_like", attachments=[sticker]))
    assert page.brain.asked[-1][1] == "👍"
    assert not page.brain.asked[-1][2].attachment


def test_a_picture_waits_for_a_person(page: Page):
    page.gets(
        said("", "m_pic", attachments=[{"type": "image", "payload": {"url": "https://x.invalid/1.jpg"}}])
    )
    assert page.reason(CUSTOMER) == "unreadable"
    assert page.messages(CUSTOMER)[0].attachments == [{"type": "image", "url": "https://x.invalid/1.jpg"}]


def test_a_customer_on_two_channels_has_two_conversations(page: Page):
    page.gets(said("return_policy", "m_in"))
    page.hears("return_policy", CUSTOMER + "-web", channel=Channel.WEB)
    assert page.state(CUSTOMER) is State.BOT
    assert page.state(CUSTOMER + "-web") is State.BOT


@pytest.mark.parametrize("length", [0, 1, 1999, 2000, 2001, 5000])
def test_splitting_keeps_every_word(length: int):
    text = ("word " * 1000)[:length].strip()
    parts = split(text, Channel.MESSENGER)
    assert " ".join(parts).split() == text.split()
    assert all(0 < len(part) <= 2000 for part in parts)
    unbroken = split("x" * length, Channel.MESSENGER)
    assert "".join(unbroken) == "x" * length
