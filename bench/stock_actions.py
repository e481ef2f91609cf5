"""The order look-up as a stock Rasa bot has it: a custom action on the same library and database."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from rasa_sdk.endpoint import run
from rasa_sdk.executor import ActionExecutor, CollectingDispatcher
from rasa_sdk.interfaces import Action, Tracker

from bot.orders import look_up
from bot.store.engine import Store

_STORE = Store(os.environ["DATABASE_URL"])


class LookUpOrder(Action):
    """Tells how far an order is."""

    def name(self) -> str:
        """As in the stock bot's domain."""
        return "action_look_up_order"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Any) -> list[Any]:
        """Finds number and e-mail in the text, as the tutorials do."""
        text = tracker.latest_message.get("text") or ""
        number, email = re.search(r"\d{4,}", text), re.search(r"\S+@\S+\.\w+", text)
        with _STORE.read() as session:
            _, order = look_up(session, number and number[0], email and email[0], None)
        said = (
            f"Your order {order.number} ({order.items}) is {order.status}." if order else "I can't find it."
        )
        dispatcher.utter_message(text=said)
        return []


if __name__ == "__main__":
    os.environ["SANIC_HOST"] = "127.0.0.1"
    executor = ActionExecutor()
    executor.register_action(LookUpOrder)
    run(executor, port=int(sys.argv[1]))
