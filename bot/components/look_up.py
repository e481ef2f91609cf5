"""The order look-up, made ahead: the channel asks the action server before Rasa takes the turn.

Rasa would ask it in the middle of the turn, and then check its own JSON schema anew: twenty times as
long as the look-up takes. So the channel asks, in the same protocol, when the rule wants a look-up, and
sends the facts along with the message. The policy takes facts from there, and where there are none
(`rasa shell`, test stories) has Rasa run the action.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import rasa
from rasa.shared.core.events import UserUttered
from rasa.utils.endpoints import EndpointConfig

from bot.components.plan import LOOK_UP
from bot.components.turns import Turn, context_of, script
from bot.domain.rule import Action, Found

PATIENCE = 5.0  # seconds; the database that is asked sits next door
SLOTS = ("found", "progress", "number", "placed_at", "items", "carrier", "tracking", "eta")
log = logging.getLogger(__name__)


async def facts_for(message: UserUttered, endpoint: EndpointConfig | None) -> dict[str, Any] | None:
    """What the rule has to know about an order before it decides on a message; None: nothing.

    When the action server doesn't tell, `found` is `failed`, which makes it a person's turn.
    """
    turn = Turn(message)
    decision, _ = script(turn, context_of([turn]))
    if decision.action is not Action.LOOK_UP or endpoint is None:
        return None
    try:
        asked = endpoint.request(json=_call(message, turn.language))
        return _facts(await asyncio.wait_for(asked, PATIENCE))
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, KeyError, TypeError) as error:
        log.error("The order look-up failed (%s): is the action server up?", type(error).__name__)
        return {**dict.fromkeys(SLOTS), "found": Found.FAILED.value}


def _call(message: UserUttered, language: str) -> dict[str, Any]:
    """As the action server expects it: https://rasa.com/docs/rasa/action-server-api."""
    latest = {"text": message.text, "intent": message.intent, "entities": message.entities}
    return {
        "next_action": LOOK_UP,
        "sender_id": "",
        "version": rasa.__version__,
        "domain": {},
        "tracker": {
            "sender_id": "",
            "slots": {"language": language},
            "latest_message": {**latest, "metadata": message.metadata},
            "events": [],
            "paused": False,
            "followup_action": None,
            "active_loop": {},
            "latest_action_name": None,
        },
    }


def _facts(answer: Any) -> dict[str, Any]:
    """The slots that the action sets. Raises ValueError, KeyError or TypeError if it isn't that."""
    slots = {event["name"]: event["value"] for event in answer["events"] if event["event"] == "slot"}
    Found(slots["found"])
    return {name: slots.get(name) for name in SLOTS}
