"""The order look-up: the one thing Rasa has to ask a database for."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Any

from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.interfaces import Action, Tracker
from rasa_sdk.types import DomainDict

from bot.domain.rule import Context
from bot.facts import facts_of
from bot.orders import look_up
from bot.settings import Settings, load
from bot.store.engine import Store

NO_FACTS = dict.fromkeys(("progress", "number", "placed_at", "items", "carrier", "tracking", "eta"))


class LookUpOrder(Action):
    """Finds the order that a turn is about and gives the policy and the responses its facts."""

    def name(self) -> str:
        """As `domain.yml` and `bot/components/plan.py` call it."""
        return "action_look_up_order"

    async def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict
    ) -> list[dict[str, Any]]:
        """Slots only: what is said about them is up to the policy and the responses."""
        context = _context(tracker)
        with _store().read() as session:
            found, order = look_up(
                session,
                number=_entity(tracker, "order_number") or context.order_number,
                email=_entity(tracker, "email") or context.email,
                verified_email=context.verified_email,
            )
        language = tracker.get_slot("language") or "en"  # the policy tells before it asks
        facts = facts_of(order, _today(), language) if order else NO_FACTS
        return [SlotSet(name, value) for name, value in {"found": found.value, **facts}.items()]


def _context(tracker: Tracker) -> Context:
    """What the bot process sent along; in the shell, what was given earlier in the talk."""
    sent = tracker.latest_message.get("metadata", {}).get("context")
    if sent is not None:
        return Context.from_json(sent)
    return Context(order_number=_earlier(tracker, "order_number"), email=_earlier(tracker, "email"))


def _entity(tracker: Tracker, name: str) -> str | None:
    return next(iter(tracker.get_latest_entity_values(name)), None)


def _earlier(tracker: Tracker, name: str) -> str | None:
    """The latest mention of a detail, whichever message it stood in."""
    for event in reversed(tracker.events):
        for entity in event.get("parse_data", {}).get("entities", []) if event["event"] == "user" else []:
            if entity["entity"] == name:
                return str(entity["value"])
    return None


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return load()


@lru_cache(maxsize=1)
def _store() -> Store:
    return Store(_settings().database_url)


def _today() -> date:
    return datetime.now(_settings().time_zone).date()
