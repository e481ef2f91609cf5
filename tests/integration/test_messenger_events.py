"""What Meta tells beside messages: each kind of event has its place, in any order, any number of times."""

import json
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from bot import courtesy
from bot.channels import messenger
from bot.desk.detail import detail
from bot.domain.words import Author, Channel, State
from bot.store.engine import Store
from bot.store.news import PATIENT
from bot.store.tables import Event, InboxItem, Message
from tests.meta import APP, PAGE
from tests.meta_page import CUSTOMER, SETTINGS, Page, StandIn, echo, entry, said
from tests.payloads import EVENTS
from tests.support import MONDAY_NOON, Server, settings_for

INBOX_APP = 263902037430900
SECONDS = int(MONDAY_NOON.timestamp())
GONE = {"mid": "m_1", "is_deleted": True}


@pytest.fixture
def page(embedded: Store, tmp_path: Path) -> Page:
    """A shop on the embedded database; where the database matters, a class asks for both kinds."""
    return Page(embedded, settings_for(tmp_path))


def event(_at: int = 0, _sender: str = CUSTOMER, **what: Any) -> dict[str, Any]:
    """An event of a customer, `_at` seconds after Monday noon."""
    sides = {"sender": {"id": _sender}, "recipient": {"id": PAGE}}
    return sides | {"timestamp": (SECONDS + _at) * 1000} | what


def control(verb: str, new_owner: str | None, at: int = 0) -> dict[str, Any]:
    return event(at, **{verb: {"new_owner_app_id": new_owner, "previous_owner_app_id": "1"}})


def shown(page: Page) -> list[dict[str, Any]]:
    """The conversation's messages as the desk's API gives them."""
    anna = page.agent("Anna")
    with page.store.read() as session:
        it = detail(session, page.conversation(CUSTOMER).id, anna, page.now)
        found: list[dict[str, Any]] = it.as_json()["messages"]
        return found


class TestButtons:
    """A button's title counts as what the customer wrote."""

    def test_get_started_is_greeted_only_if_nothing_follows(self, page: Page):
        page.gets(event(postback={"mid": "m_1", "title": "Get Started", "payload": "GET_STARTED"}))
        assert page.replies(CUSTOMER) == []
        page.passes(seconds=15)
        assert page.replies(CUSTOMER) == ["ask matter"]
        assert page.messages(CUSTOMER)[0].text == ""

    def test_a_question_after_get_started_gets_the_one_reply(self, page: Page):
        page.gets(event(postback={"mid": "m_1", "title": "시작하기", "payload": "GET_STARTED"}))
        page.says("return_policy", "m_2")
        assert page.replies(CUSTOMER) == ["answer return_policy"]
        assert page.brain.asked[-1][1] == "return_policy"

    def test_get_started_tells_the_language(self, page: Page):
        page.gets(event(postback={"mid": "m_1", "title": "시작하기", "payload": "GET_STARTED"}))
        assert page.brain.asked[0][2].language == "ko"

    def test_an_ice_breaker_is_a_question(self, page: Page):
        page.gets(event(postback={"mid": "m_1", "title": "return_policy", "payload": "ICE_BREAKER"}))
        assert page.replies(CUSTOMER) == ["answer return_policy"]

    def test_a_quick_reply_for_a_person_reaches_one(self, page: Page):
        page.says("Talk to a person", "m_1", quick_reply={"payload": "HANDOFF_REQUEST"})
        assert page.reason(CUSTOMER) == "asked"

    def test_a_postback_in_standby_has_no_payload_and_is_kept(self, page: Page):
        page.gets(event(postback={"mid": "m_1", "title": "Track my order"}), name="standby")
        assert page.state(CUSTOMER) is State.AGENT
        assert page.messages(CUSTOMER)[0].text == "Track my order"

    def test_what_led_the_customer_here_is_kept(self, page: Page):
        referral = {"ref": "web_footer", "source": "SHORTLINK", "type": "OPEN_THREAD", "other": ["x"]}
        page.gets(event(postback={"mid": "m_1", "title": "Hi", "payload": "x", "referral": referral}))
        assert page.identity().referral == {"ref": "web_footer", "source": "SHORTLINK", "type": "OPEN_THREAD"}
        page.gets(event(1, referral={"ref": "qr_code", "source": "SHORTLINK"}))
        assert page.identity().referral == {"ref": "qr_code", "source": "SHORTLINK"}


class TestAttachments:
    """What can't be read waits for a person, kept as a reference."""

    @pytest.mark.parametrize(
        ("attachment", "kept"),
        [
            ({"type": "image", "payload": {"url": "https://x.invalid/1.jpg"}}, ("image", "https://x.invalid/1.jpg")),
            ({"type": "sticker", "payload": {"url": "https://x.invalid/1.png", "sticker_id": 7}}, ("sticker", "https://x.invalid/1.png")),
            ({"type": "image", "payload": {"url": "https://x.invalid/1.png", "sticker_id": 7}}, ("sticker", "https://x.invalid/1.png")),
            ({"type": "fallback", "title": "A blog", "URL": "https://x.invalid/b"}, ("fallback", "https://x.invalid/b")),
            ({"type": "location", "payload": {"coordinates": {"lat": 52.5, "long": 13.4}}}, ("location", "")),
            ({"type": "image", "payload": {"url": "javascript:alert(1)"}}, ("image", "")),
            ({"type": "image", "payload": {"url": "https://x.invalid/\" onclick=\"x"}}, ("image", "")),
            ({"type": "image", "payload": {"url": "https://x.invalid/" + "a" * 3_000}}, ("image", "")),
            ({"type": "<script>", "payload": {"url": ["x"]}}, ("script", "")),
            ({"type": None}, ("file", "")),
        ],
    )  # fmt: skip
    def test_only_a_web_address_is_kept_of_it(self, attachment: dict[str, Any], kept: tuple[str, str]):
        body = json.dumps(entry(said("", "m_1", attachments=[attachment]))).encode()
        (found,) = messenger.parse(SETTINGS, body)[0].payload["attachments"]
        assert (found["type"], found["url"]) == kept

    def test_a_sticker_goes_to_a_person(self, page: Page):
        sticker = {"type": "sticker", "payload": {"url": "https://x.invalid/s.png", "sticker_id": 1}}
        page.says("", "m_1", attachments=[sticker])
        assert page.reason(CUSTOMER) == "unreadable"

    def test_a_thumb_of_the_new_kind_is_an_ok(self, page: Page):
        page.says("return_policy", "m_1")
        thumb = {
            "type": "sticker",
            "payload": {"url": "https://x.invalid/s.png", "sticker_id": 369239263222822},
        }
        page.says("", "m_2", attachments=[thumb])
        assert page.brain.asked[-1][1] == "👍"

    @pytest.mark.parametrize("message", [{}, {"is_unsupported": True}, {"text": [1]}, {"attachments": "x"}])
    def test_what_we_cannot_make_out_reaches_a_person_all_the_same(self, page: Page, message: Any):
        page.gets(event(message={"mid": "m_1", **message}))
        assert page.reason(CUSTOMER) == "unreadable"


class TestChanges:
    """Edits, unsendings and reactions change a message, whether they come before or after it."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    def test_an_edit_before_the_answer_is_what_is_answered(self, page: Page):
        page.brain.before_answer = lambda: None
        page.gets(
            event(message={"mid": "m_1", "text": "return_policy"}),
            event(1, message_edit={"mid": "m_1", "text": "invoice", "num_edit": 1}),
        )
        assert page.replies(CUSTOMER) == ["answer invoice"]
        assert len(page.messages(CUSTOMER)) == 2

    def test_an_edit_during_a_turn_makes_its_reply_stale(self, page: Page):
        def edit() -> None:
            page.brain.before_answer = None
            page.files(entry(event(1, message_edit={"mid": "m_1", "text": "invoice"})))

        page.brain.before_answer = edit
        page.gets(event(message={"mid": "m_1", "text": "return_policy"}))
        page.passes(seconds=2)
        assert page.replies(CUSTOMER) == ["answer invoice"]

    def test_an_edit_after_the_answer_is_shown_and_gets_no_other(self, page: Page):
        page.says("return_policy", "m_1")
        page.gets(event(60, message_edit={"mid": "m_1", "text": "invoice", "num_edit": 1}))
        assert page.replies(CUSTOMER) == ["answer return_policy"]
        assert shown(page)[0]["text"] == "invoice"
        assert shown(page)[0]["edited_at"]

    def test_edits_in_the_wrong_order_end_in_the_last(self, page: Page):
        page.gets(event(9, message_edit={"mid": "m_1", "text": "third", "num_edit": 2}))
        page.gets(event(5, message_edit={"mid": "m_1", "text": "second", "num_edit": 1}))
        page.gets(event(message={"mid": "m_1", "text": "first"}))
        page.gets(event(5, message_edit={"mid": "m_1", "text": "second", "num_edit": 1}))
        assert [m.text for m in page.messages(CUSTOMER) if m.author is Author.CUSTOMER] == ["third"]

    def test_what_is_taken_back_is_gone_everywhere(self, page: Page):
        page.gets(event(message={"mid": "m_1", "text": "my card is 4111"}))
        page.gets(event(5, message={"mid": "m_1", "is_deleted": True}))
        assert shown(page)[0]["text"] == ""
        assert shown(page)[0]["unsent_at"]
        with page.store.read() as session:
            assert "4111" not in str([item.payload for item in session.scalars(sa.select(InboxItem))])

    @pytest.mark.parametrize("at_once", [False, True])
    def test_nor_is_it_left_where_live_pages_and_the_hand_off_had_it(self, page: Page, at_once: bool):
        written, taken_back = event(message={"mid": "m_1", "text": "upset 4111"}), event(5, message=GONE)
        page.gets(event(message={"mid": "m_0", "text": "upset and here"}))
        for events in ((taken_back, written),) if at_once else ((written,), (taken_back,)):
            page.gets(*events)
        with page.store.read() as session:
            told = str([happened.payload for happened in session.scalars(sa.select(Event))])
        assert "4111" not in told
        assert "upset and here" in told
        assert [hand_off.words for hand_off in page.hand_offs(CUSTOMER)] == ["upset"]  # of the first
        page.gets(event(6, message={"mid": "m_0", "is_deleted": True}))
        assert [hand_off.words for hand_off in page.hand_offs(CUSTOMER)] == [None]

    def test_what_is_taken_back_at_once_is_not_answered(self, page: Page):
        page.gets(
            event(1, message={"mid": "m_1", "is_deleted": True}),
            event(message={"mid": "m_1", "text": "return_policy"}),
        )
        assert page.replies(CUSTOMER) == []
        assert page.messages(CUSTOMER)[0].text == ""

    def test_a_reaction_is_shown_on_its_message_and_may_be_taken_back(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn())
        love = {"mid": "m_out_1", "action": "react", "reaction": "love", "emoji": "❤️"}
        page.gets(event(60, reaction=love))
        assert shown(page)[1]["reaction"] == "❤️"
        page.gets(event(61, reaction={"mid": "m_out_1", "action": "unreact"}))
        page.gets(event(60, reaction=love | {"emoji": "😮"}))  # late
        assert shown(page)[1]["reaction"] is None

    def test_a_reaction_faster_than_our_own_bookkeeping_is_not_lost(self, page: Page):
        page.says("return_policy", "m_1")
        page.gets(event(60, reaction={"mid": "m_out_1", "action": "react", "reaction": "smile"}))
        page.sends(StandIn())
        assert shown(page)[1]["reaction"] == "smile"


class TestReceipts:
    """What has arrived and what was read is shown at the desk."""

    def test_a_delivery_and_a_read(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn())
        assert shown(page)[1]["progress"] == "sent"
        page.gets(event(3, delivery={"mids": ["m_out_1"], "watermark": 1}))
        assert shown(page)[1]["progress"] == "delivered"
        page.gets(event(60, read={"watermark": (SECONDS + 60) * 1000}))
        assert shown(page)[1]["progress"] == "read"

    def test_a_watermark_never_moves_back(self, page: Page):
        page.says("return_policy", "m_1")
        page.sends(StandIn())
        page.gets(event(60, read={"watermark": (SECONDS + 60) * 1000}))
        page.gets(event(1, read={"watermark": SECONDS * 1000}), event(1, delivery={"watermark": SECONDS}))
        assert shown(page)[1]["progress"] == "read"

    def test_a_receipt_of_nobody_we_know_does_nothing(self, page: Page):
        page.gets(event(_sender="1", read={"watermark": 1}), event(_sender="2", delivery={"mids": "x"}))
        with page.store.read() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Message)) == 0


class TestRouting:
    """While another app owns the thread the bot is silent; the latest event counts, not the last to come."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    @pytest.mark.parametrize("verb", ["pass_thread_control", "take_thread_control"])
    def test_another_app_that_gets_the_thread_silences_the_bot(self, page: Page, verb: str):
        page.says("return_policy", "m_1")
        page.gets(control(verb, str(INBOX_APP), 5))
        assert page.state(CUSTOMER) is State.AGENT

    def test_a_thread_taken_without_saying_by_whom_is_taken(self, page: Page):
        page.says("return_policy", "m_1")
        page.gets(event(5, take_thread_control={"previous_owner_app_id": APP}))
        assert page.state(CUSTOMER) is State.AGENT

    @pytest.mark.parametrize("verb", ["pass_thread_control", "release_thread_control"])
    def test_a_thread_that_comes_back_is_the_bots_and_its_hand_off_has_ended(self, page: Page, verb: str):
        page.says("upset", "m_1")
        page.gets(echo("Hi, Anna here.", "m_2", INBOX_APP))
        page.gets(control(verb, APP if verb.startswith("pass") else None, 9))
        assert page.state(CUSTOMER) is State.BOT
        assert page.reason(CUSTOMER) is None
        page.says("invoice", "m_3")
        assert page.replies(CUSTOMER)[-1] == "answer invoice"

    def test_a_late_standby_message_does_not_silence_the_bot_again(self, page: Page):
        page.gets(event(message={"mid": "m_1", "text": "hello"}), name="standby")
        page.gets(control("pass_thread_control", APP, 9))
        page.gets(event(5, message={"mid": "m_2", "text": "are you there?"}), name="standby")
        assert page.state(CUSTOMER) is State.BOT
        page.gets(event(20, message={"mid": "m_3", "text": "invoice"}))
        assert page.replies(CUSTOMER) == ["answer invoice"]

    def test_a_desk_agents_conversation_stays_theirs(self, page: Page):
        page.says("upset", "m_1")
        page.takes("Anna", CUSTOMER)
        page.gets(control("pass_thread_control", APP, 9))
        assert page.state(CUSTOMER) is State.AGENT
        assert page.conversation(CUSTOMER).agent_id

    def test_a_picture_from_the_pages_inbox_is_recorded_too(self, page: Page):
        picture = {"type": "image", "payload": {"url": "https://x.invalid/1.jpg"}}
        page.gets(echo("", "m_1", INBOX_APP, attachments=[picture]))
        assert page.messages(CUSTOMER)[0].attachments == [{"type": "image", "url": "https://x.invalid/1.jpg"}]


class TestInstagram:
    """Instagram direct messages come over the same webhook; the account is one of its own."""

    ACCOUNT = "17841400000000001"

    def gets(self, page: Page, *events: dict[str, Any], wrapped: bool = False) -> None:
        changes = [{"field": "messages", "value": event} for event in events]
        content = {"changes": changes} if wrapped else {"messaging": list(events)}
        page.receives({"object": "instagram", "entry": [{"id": self.ACCOUNT, "time": 1, **content}]})

    def said(self, text: str, mid: str, **more: Any) -> dict[str, Any]:
        return said(text, mid, **more) | {"recipient": {"id": self.ACCOUNT}}

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_a_question_is_answered_on_instagram(self, page: Page, wrapped: bool):
        self.gets(page, self.said("return_policy", "m_1"), wrapped=wrapped)
        graph = StandIn()
        page.sends(graph)
        assert graph.texts == ["answer return_policy"]
        assert page.conversation(CUSTOMER).channel is Channel.INSTAGRAM

    def test_the_same_id_on_a_page_is_another_customer(self, page: Page):
        self.gets(page, self.said("return_policy", "m_1"))
        page.says("return_policy", "m_1")
        with page.store.read() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Message)) == 4

    def test_an_echo_that_names_no_app_is_ours_while_we_are_sending_it(self, page: Page):
        self.gets(page, self.said("return_policy", "m_1"))
        page.sends(StandIn(httpx.ReadTimeout("slow")))
        ours = self.said("answer return_policy", "m_2", is_echo=True)
        self.gets(page, ours | {"sender": {"id": self.ACCOUNT}, "recipient": {"id": CUSTOMER}})
        assert page.state(CUSTOMER) is State.BOT
        assert page.messages(CUSTOMER)[1].external_id == "m_2"
        person = self.said("Hi, Anna here.", "m_3", is_echo=True)
        self.gets(page, person | {"sender": {"id": self.ACCOUNT}, "recipient": {"id": CUSTOMER}})
        assert page.state(CUSTOMER) is State.AGENT

    def test_a_read_names_the_message(self, page: Page):
        self.gets(page, self.said("return_policy", "m_1"))
        page.sends(StandIn())
        seen = {"sender": {"id": CUSTOMER}, "recipient": {"id": self.ACCOUNT}, "timestamp": 1}
        self.gets(page, seen | {"read": {"mid": "m_out_1"}})
        assert shown(page)[1]["progress"] == "read"

    def test_each_account_is_sent_to_with_its_own_token(self, page: Page, tmp_path: Path):
        page.meta = settings_for(
            tmp_path,
            MESSENGER_PAGES=f"{PAGE}:first, 100200300400501:second",
            INSTAGRAM_ACCOUNTS=f"{self.ACCOUNT}:third",
            MESSENGER_PAGE_TOKEN="another",
        ).messenger
        self.gets(page, self.said("invoice", "m_1", sender="1"))
        page.says("invoice", "m_1", sender="2")
        other = {"recipient": {"id": "100200300400501"}}
        page.receives(
            {"entry": [{"id": "100200300400501", "messaging": [said("invoice", "m_1", "3") | other]}]}
        )
        page.receives({"entry": [{"id": "999", "messaging": [said("invoice", "m_1", "4")]}]})
        graph = StandIn()
        page.sends(graph)
        assert [(b["recipient"]["id"], t) for b, t in zip(graph.sent, graph.tokens, strict=True)] == [
            ("1", "third"), ("2", "first"), ("3", "second"), ("4", "another")
        ]  # fmt: skip


class TestCourtesy:
    """A message is shown as seen, an answer as being typed; a name is asked for once."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    def test_the_bot_shows_that_it_reads_and_types(self, page: Page):
        page.files(entry(event(message={"mid": "m_1", "text": "return_policy"})))
        graph = StandIn()
        page.repeats(courtesy.greet, graph)
        assert graph.actions == []  # it may be answered in a moment
        page.now += PATIENT
        page.repeats(courtesy.greet, graph)
        page.repeats(courtesy.greet, graph)
        page.repeats(courtesy.notice, graph)
        assert graph.actions == [(CUSTOMER, "mark_seen"), (CUSTOMER, "typing_on")]

    def test_nobody_pretends_to_type_while_the_customer_waits_for_a_person(self, page: Page):
        page.says("upset", "m_1")
        page.repeats(courtesy.greet, StandIn())
        page.says("are you there?", "m_2")
        graph = StandIn()
        page.repeats(courtesy.greet, graph)
        page.repeats(courtesy.notice, graph)
        assert graph.actions == []
        page.takes("Anna", CUSTOMER)
        page.repeats(courtesy.notice, graph)
        assert graph.actions == [(CUSTOMER, "mark_seen")]

    def test_a_name_is_learnt_where_it_is_permitted(self, page: Page):
        page.says("return_policy", "m_1")
        page.says("return_policy", "m_2", sender="555")
        graph = StandIn(names={CUSTOMER: {"first_name": "Mina", "last_name": "Park"}})
        page.repeats(courtesy.greet, graph)
        page.now += timedelta(minutes=1)
        page.repeats(courtesy.ask_name, graph)
        assert graph.asked == []  # without a token nobody is asked
        now = page.now
        page = Page(page.store, settings_for(page.settings.data, MESSENGER_PAGE_TOKEN="page token"), now=now)
        page.repeats(courtesy.ask_name, graph)
        page.repeats(courtesy.ask_name, graph)
        assert sorted(graph.asked) == sorted([CUSTOMER, "555"])
        assert page.conversation(CUSTOMER).contact.name == "Mina Park"
        assert page.conversation("555").contact.name is None

    def test_a_new_customer_is_greeted_and_asked_once(self, store: Store, tmp_path: Path):
        page = Page(store, settings_for(tmp_path, MESSENGER_PAGE_TOKEN="page token"))
        graph = StandIn(names={CUSTOMER: {"name": "Mina Park"}})
        for mid in ("m_1", "m_2"):
            page.says("return_policy", mid)  # and waits two seconds
            page.repeats(courtesy.greet, graph)
        page.now += timedelta(minutes=1)
        page.repeats(courtesy.ask_name, graph)
        page.repeats(courtesy.notice, graph)
        assert graph.asked == [CUSTOMER]
        assert graph.actions == 2 * [(CUSTOMER, "mark_seen"), (CUSTOMER, "typing_on")]
        assert page.conversation(CUSTOMER).contact.name == "Mina Park"

    def test_an_answer_that_comes_at_once_is_not_seen_being_typed(self, store: Store, tmp_path: Path):
        page = Page(store, settings_for(tmp_path, MESSENGER_PAGE_TOKEN="page token"))
        page.files(entry(event(message={"mid": "m_1", "text": "return_policy"})))
        page.services.guests.answered(page.identity().account, CUSTOMER)
        page.now += PATIENT
        graph = StandIn(names={CUSTOMER: {"name": "Mina Park"}})
        page.repeats(courtesy.greet, graph)
        assert graph.actions == []
        assert graph.asked == [CUSTOMER]  # a new customer's name is worth knowing all the same

    def test_nobody_types_an_answer_that_may_be_there_already(self, page: Page):
        page.files(entry(event(message={"mid": "m_1", "text": "return_policy"})))
        page.now += courtesy.IN_TIME
        graph = StandIn()
        page.repeats(courtesy.greet, graph)
        assert graph.actions == [(CUSTOMER, "mark_seen")]


def state_of(store: Store) -> dict[str, list[Any]]:
    """What is stored, without the ids that only count."""
    with store.read() as session:
        messages = session.scalars(sa.select(Message)).all()
        items = session.scalars(sa.select(InboxItem)).all()
        return {
            "messages": sorted(
                (m.author.value, m.text, m.external_id or "", m.reaction or "") for m in messages
            ),
            "items": sorted((i.account, i.external_id, i.kind) for i in items),
            "errors": [i.error for i in items if i.error],
        }


class TestPayloads:
    """Each kind of body, filed: doubled, shuffled, batched (`test_fuzz` posts them)."""

    @pytest.fixture
    def page(self, store: Store, tmp_path: Path) -> Page:
        return Page(store, settings_for(tmp_path))

    @pytest.mark.parametrize("seed", range(3))
    def test_doubled_shuffled_and_batched_come_to_the_same(self, page: Page, seed: int):
        bodies = list(EVENTS.values())
        page.receives(*bodies)
        once = state_of(page.store)
        assert once["errors"] == []
        chance = random.Random(seed)
        again = bodies * 2
        chance.shuffle(again)
        page.receives(*again)
        entries = [part for body in bodies if body["object"] == "page" for part in body.get("entry", [])]
        chance.shuffle(entries)
        page.receives({"object": "page", "entry": entries})
        assert state_of(page.store) == once

    @pytest.mark.parametrize("seed", range(3))
    def test_in_any_order_each_message_is_stored_once_and_answered_twice_at_most(self, page: Page, seed: int):
        bodies = list(EVENTS.values()) * 2
        random.Random(seed).shuffle(bodies)
        for body in bodies:
            page.receives(body)
        found = state_of(page.store)
        assert found["errors"] == []
        ids = [external_id for _, _, external_id, _ in found["messages"] if external_id]
        assert len(ids) == len(set(ids))
        with page.store.read() as session:
            bots = session.scalars(sa.select(Message).where(Message.author == Author.BOT)).all()
        assert max(Counter(message.conversation_id for message in bots).values()) <= 2
        assert {text for author, text, *_ in found["messages"] if author == "agent"} == {"", "Hi, Anna here."}


def test_a_body_deeper_than_any_database_takes_is_cut(page: Page):
    deep: Any = "x"
    for _ in range(300):
        deep = {"y": deep}
    page.gets(event(1, strange=deep), event(2, message={"mid": "m_1", "text": "hi", "nlp": deep}))
    assert state_of(page.store)["errors"] == []
    assert page.messages(CUSTOMER)[0].text == "hi"


def test_a_blocked_page_is_told_of_until_it_is_unblocked(page: Page):
    def enforced(action: str, at: int) -> dict[str, Any]:
        return {"recipient": {"id": PAGE}, "timestamp": at, "policy_enforcement": {"action": action}}

    page.gets(enforced("block", 1))
    assert page.alerts() == ["blocked"]
    page.gets(enforced("unblock", 2))
    assert page.alerts() == []


def test_an_old_database_learns_the_new_columns_and_keeps_its_rows(database_url: str, tmp_path: Path):
    from alembic import command

    store = Store(settings_for(tmp_path, DATABASE_URL=database_url).database_url)
    upgrade = command.upgrade
    try:
        command.upgrade = lambda config, _to: upgrade(config, "0002")  # type: ignore[assignment]
        store.migrate()
    finally:
        command.upgrade = upgrade
    with store.unit_of_work() as session:
        for statement in (
            "INSERT INTO contact (id, created_at) VALUES (1, '2026-11-20 10:00:00')",
            "INSERT INTO identity (id, contact_id, channel, account, thread, created_at) VALUES"
            " (1, 1, 'messenger', '100200300400500', '7392015648120394', '2026-11-20 10:00:00')",
            "INSERT INTO inbox (public_id, channel, account, external_id, thread, kind, payload, at, received_at)"
            " VALUES ('a', 'messenger', '100200300400500', 'm_0', '7392015648120394', 'message', '{}',"
            " '2026-11-20 10:00:00', '2026-11-20 10:00:00')",
        ):
            session.execute(sa.text(statement))
    store.migrate()
    page = Page(store, settings_for(tmp_path))
    wrote_at = page.identity().wrote_at
    assert wrote_at is not None
    assert MONDAY_NOON - wrote_at == timedelta(days=3, hours=2)
    with store.unit_of_work() as session:
        session.execute(sa.text("UPDATE identity SET channel = 'instagram'"))
    with pytest.raises(sa.exc.IntegrityError), store.unit_of_work() as session:
        session.execute(sa.text("UPDATE identity SET channel = 'pigeon'"))
    store.close()


def test_the_desks_page_shows_what_meta_tells(tmp_path: Path):
    with Server(settings_for(tmp_path, BURST_SECONDS="0.1")) as server:
        server.agent("Anna")
        page = Page(server.services.store, server.settings)
        page.now = server.services.clock()
        picture = {"type": "image", "payload": {"url": "https://x.invalid/1.jpg"}}
        place = {"type": "location", "payload": {"coordinates": {"lat": 52.5, "long": 13.4}}}
        page.files(
            entry(
                event(postback={"mid": "m_0", "title": "Start", "payload": "GET_STARTED", "referral": {"ref": "web_footer"}}),
                event(1, message={"mid": "m_1", "attachments": [picture, place]}),
                event(2, message={"mid": "m_2", "text": "first"}),
                event(3, message_edit={"mid": "m_2", "text": "second"}),
                event(4, message={"mid": "m_3", "text": "secret"}),
                event(5, message={"mid": "m_3", "is_deleted": True}),
                event(6, reaction={"mid": "m_2", "action": "react", "emoji": "🎈"}),
            )
        )  # fmt: skip
        server.http.post("/desk/login", data={"email": "anna@shop.example", "password": "correct horse"})
        html = server.http.get(f"/desk/conversations/{page.conversation(CUSTOMER).id}").text
        shown = ("Pressed Get Started", "https://x.invalid/1.jpg", "52.5, 13.4", "second", "edited",
                 "Taken back by the customer", "🎈", "web_footer", "Answer until")  # fmt: skip
        assert [one for one in shown if one not in html] == []
        assert "secret" not in html
