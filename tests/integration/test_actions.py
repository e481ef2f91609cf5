"""The order look-up as Rasa's action server runs it."""

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher

from actions import order_look_up
from bot.domain.rule import Context
from bot.store.engine import Store
from bot.store.tables import Order
from tests.support import settings_for


def order(**more: Any) -> Order:
    facts = {
        "number": "10023",
        "email": "mina@example.com",
        "name": "Mina",
        "status": "shipped",
        "carrier": "DHL",
        "tracking": "JD1",
        "placed_at": date(2026, 11, 19),
        "eta": date(2026, 11, 25),
        "items": "Blanket",
    }
    return Order(**facts | more)


@pytest.fixture
def slots(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the action on one message; returns the slots it sets."""
    settings = settings_for(tmp_path, DATABASE_URL=store.url)
    monkeypatch.setattr(order_look_up, "_settings", lambda: settings)
    monkeypatch.setattr(order_look_up, "_store", lambda: store)
    with store.unit_of_work() as session:
        session.add(order())

    def run(context: Context, language: str | None = None, **entities: str) -> dict[str, Any]:
        message = {
            "entities": [{"entity": name, "value": value} for name, value in entities.items()],
            "metadata": {"context": context.to_json()},
        }
        tracker = Tracker("turn", {"language": language}, message, [], False, None, {}, "action_listen")
        events = asyncio.run(order_look_up.LookUpOrder().run(CollectingDispatcher(), tracker, {}))
        return {event["name"]: event["value"] for event in events}

    return run


def test_a_match_gives_the_facts(slots: Any):
    found = slots(Context(), order_number="10023", email="mina@example.com")
    assert found["found"] == "found"
    assert (found["carrier"], found["tracking"], found["items"]) == ("DHL", "JD1", "Blanket")


def test_what_was_given_earlier_counts_and_what_is_given_now_wins(slots: Any):
    earlier = Context(order_number="99999", email="mina@example.com")
    assert slots(earlier)["found"] == "not_found"
    assert slots(earlier, order_number="10023")["found"] == "found"


def test_a_miss_gives_nothing_away(slots: Any):
    wrong_number = slots(Context(), order_number="99999", email="mina@example.com")
    wrong_email = slots(Context(), order_number="10023", email="eve@example.com")
    assert wrong_number == wrong_email
    assert set(wrong_number.values()) == {"not_found", None}


def test_a_known_customer_needs_the_number_alone(slots: Any):
    known = Context(verified_email="mina@example.com")
    assert slots(known, order_number="10023")["found"] == "found"
    assert slots(known)["number"] == "10023"


@pytest.mark.parametrize(
    ("status", "eta", "progress"),
    [
        ("shipped", date(2026, 11, 25), "shipped"),
        ("in_transit", None, "shipped"),
        ("shipped", date(2026, 11, 21), "late"),
        ("processing", date(2026, 11, 21), "late"),
        ("delivered", date(2026, 11, 21), "delivered"),
        ("cancelled", date(2026, 11, 21), "cancelled"),
        ("at_customs", date(2026, 11, 21), "other"),
    ],
)
def test_an_order_is_told_as_it_stands(status: str, eta: date | None, progress: str):
    facts = order_look_up.facts_of(order(status=status, eta=eta), date(2026, 11, 22), "en")
    assert facts["progress"] == progress


def test_days_are_told_in_the_customers_language(slots: Any):
    known = Context(verified_email="mina@example.com")
    assert slots(known)["eta"] == "Wednesday 25 November"
    assert slots(known, language="ko")["eta"] == "11월 25일 수요일"
