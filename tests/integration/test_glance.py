"""What an agent sees of a hand-off at one glance, and what the assistant suggests."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.desk import assistant, detail, saved
from bot.desk.assistant import Advice
from bot.domain.words import Author, Topic
from bot.store.engine import Store
from bot.store.tables import Agent, HandOff
from tests.support import PlainBrain, Shop, settings_for


def seen(shop: Shop, who: str = "mina") -> detail.Detail:
    agent, talk = shop.agent("Anna"), shop.conversation(who).id
    with shop.store.read() as session:
        return detail.detail(session, talk, agent, shop.now)


def test_the_words_that_led_to_a_person_are_kept_with_their_message(shop: Shop):
    shop.writes("return_policy please")
    shop.writes("I am upset")
    shop.passes(seconds=2)
    it = seen(shop)
    assert it.hand_off is not None
    assert it.hand_off.words == "upset"
    assert [m.text for m in it.messages if m.id == it.hand_off.message_id] == ["I am upset"]


def test_where_no_particular_words_did_the_message_is_known(shop: Shop):
    shop.hears("mumble")
    it = seen(shop)
    assert it.hand_off is not None
    assert it.hand_off.words is None
    assert it.hand_off.message_id == it.messages[0].id


def test_a_more_pressing_reason_brings_its_own_words(shop: Shop):
    shop.hears("mumble")
    shop.hears("now I am upset")
    it = seen(shop)
    assert it.hand_off is not None
    assert (it.hand_off.reason.value, it.hand_off.words) == ("empathy", "upset")


def test_the_tone_is_kept_for_each_turn_that_was_read_and_for_no_other(shop: Shop):
    shop.hears("return_policy")
    shop.hears("upset")
    shop.takes("Anna")
    shop.writes("upset still")
    assert [m.tone for m in seen(shop).messages if m.author is Author.CUSTOMER] == ["calm", "upset", None]
    assert seen(shop).upset


def test_what_the_customer_was_told_is_what_was_said(shop: Shop):
    shop.hears("upset")
    assert seen(shop).told(shop.settings) == (True, None), "Monday noon: people are there"
    shop.now = shop.now.replace(hour=22)
    shop.hears("upset", "late")
    told = seen(shop, "late").told(shop.settings)
    assert told == (True, "2026-11-24T09:00+00:00")
    for text in ("return_policy", "invoice"):
        shop.hears(text, "third")
    shop.hears("store_hours", "third")
    assert seen(shop, "third").told(shop.settings) == (False, "2026-11-24T09:00+00:00"), (
        "both replies were used"
    )


def advice(shop: Shop) -> Advice:
    agent, it = shop.agent("Anna"), seen(shop)
    with shop.store.read() as session:
        case = assistant.case_of(session, it, agent.name, shop.settings, shop.now.date())
    assert case is not None
    return asyncio.run(assistant.advise(shop.services, case))


def saved_as(shop: Shop, name: str, **texts: str) -> None:
    agent = shop.agent("Anna").id
    with shop.store.unit_of_work() as session:
        saved.create(session, session.get_one(Agent, agent), name, texts, shop.now)


def test_a_sure_topic_comes_first_then_saved_replies_by_meaning(shop: Shop):
    saved_as(shop, "zzz", en="zzz")
    saved_as(shop, "return policy for lamps", en="Lamps go back by courier, {name}. {agent}")
    shop.writes("return_policy for lamps", name="Mina")
    found = advice(shop).suggestions
    assert [one.topic for one in found] == [Topic.RETURN_POLICY, None]
    assert found[1].text == "Lamps go back by courier, Mina. Anna"


def test_a_line_that_the_customer_adds_takes_no_suggestion_away(shop: Shop):
    saved_as(shop, "return policy for lamps", en="Lamps go back by courier.")
    shop.writes("return_policy for lamps")
    first = advice(shop)
    shop.takes("Anna")
    shop.writes("xxx xxx xxx")
    assert advice(shop) == first
    shop.answers("Anna", "There you are.")
    shop.writes("xxx")
    assert advice(shop).suggestions == []


def test_what_the_bot_understood_when_it_handed_over_is_suggested(shop: Shop):
    assert shop.hears("upset return_policy") == "hand_off empathy"
    topics = [one.topic for one in advice(shop).suggestions]
    assert topics == [Topic.RETURN_POLICY]
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(HandOff).values(topic=Topic.INVOICE))
    shop.writes("hello?")
    assert [one.topic for one in advice(shop).suggestions] == [Topic.RETURN_POLICY, Topic.INVOICE]
    shop.takes("Anna")
    shop.answers("Anna", "There you are.")
    shop.writes("hello?")
    assert [one.topic for one in advice(shop).suggestions] == [Topic.INVOICE]


def test_a_saved_reply_comes_in_the_customers_language_else_in_english(shop: Shop):
    saved_as(shop, "upset about lamps", en="Sorry!", ko="죄송합니다!")
    saved_as(shop, "upset about a lamp", en="Only English")
    shop.hears("upset about lamps")
    with shop.store.unit_of_work() as session:
        session.get_one(detail.Conversation, shop.conversation().id).language = "ko"
    assert {one.text for one in advice(shop).suggestions} == {"죄송합니다!", "Only English"}


def test_an_orders_answer_is_filled_with_this_customers_order_and_left_out_without_one(shop: Shop):
    from datetime import date

    from bot.store.tables import Order

    shop.writes("order_status", email="mina@example.com")
    assert advice(shop).suggestions == []
    with shop.store.unit_of_work() as session:
        session.add(
            Order(number="10023", email="mina@example.com", name="Mina", status="shipped", items="Lamp",
                  carrier="DHL", tracking="JD01", placed_at=date(2026, 11, 20))
        )  # fmt: skip
    (one,) = advice(shop).suggestions
    assert one.order == "10023"
    for fact in ("10023", "Lamp", "DHL", "JD01"):
        assert fact in one.text
    assert "{" not in one.text


def test_without_the_reader_saved_replies_are_found_by_their_words(shop: Shop):
    saved_as(shop, "broken lamp", en="A new one is on its way.")
    saved_as(shop, "late parcel", en="I call the carrier.")
    shop.writes("the lamp is broken")
    shop.brain.down = True
    found = advice(shop)
    assert not found.by_meaning
    assert [one.text for one in found.suggestions] == ["A new one is on its way."]


class Encoder(PlainBrain):
    """Notes what it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[str] = []

    async def encode(self, texts: list[str]) -> list[list[float]]:
        self.encoded += texts
        return await super().encode(texts)


def test_a_text_is_encoded_once_in_a_shop_and_anew_in_the_next(store: Store, tmp_path: Path):
    first, second = (Shop(store, settings_for(tmp_path), brain=Encoder()) for _ in range(2))
    saved_as(first, "lamp shades", en="We have them.")
    first.writes("lamp shades please")
    for _ in range(2):
        advice(first)
    assert sorted(first.brain.encoded) == ["We have them.", "lamp shades", "lamp shades please"]
    advice(second)
    assert sorted(second.brain.encoded) == sorted(first.brain.encoded)


def test_a_saved_reply_that_was_changed_or_deleted_is_not_suggested_as_it_was(shop: Shop):
    saved_as(shop, "lamp shades", en="We have them.")
    saved_as(shop, "lamp shade", en="In every colour.")
    shop.writes("lamp shades please")
    assert {one.text for one in advice(shop).suggestions} == {"We have them.", "In every colour."}
    agent = shop.agent("Anna").id
    with shop.store.unit_of_work() as session:
        anna = session.get_one(Agent, agent)
        kept, gone = saved.listed(session)
        saved.change(session, kept.id, anna, kept.name, {"en": "In some colours."}, 1, shop.now)
        saved.delete(session, gone.id, anna, shop.now)
    assert [one.text for one in advice(shop).suggestions] == ["In some colours."]


def test_what_others_suggestions_push_out_meanwhile_is_not_missed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(assistant, "KEPT", 2)
    saved_as(shop, "lamp shades", en="We have them.")
    shop.writes("lamp shades please")
    for _ in range(3):
        assert [one.text for one in advice(shop).suggestions] == ["We have them."]
        assert len(shop.services.vectors) == 2


def test_who_has_said_nothing_in_words_gets_no_suggestion(shop: Shop):
    shop.writes("", attachments=[{"type": "image", "url": "https://x.example/1.png"}])
    it = seen(shop)
    with shop.store.read() as session:
        assert assistant.case_of(session, it, "Anna", shop.settings, shop.now.date()) is None


@pytest.mark.parametrize("topic", list(Topic))
@pytest.mark.parametrize("language", ["en", "ko", "ja"])
def test_every_topic_has_an_answer_in_every_language(topic: Topic, language: str):
    facts = dict.fromkeys(("number", "placed_at", "items", "carrier", "tracking", "eta"), "x") | {
        "progress": "shipped"
    }
    text = assistant._words().answer(topic, language, facts)
    assert text
    assert "{" not in text
