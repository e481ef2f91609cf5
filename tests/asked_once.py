"""Whether a turn taken by the channel goes as Rasa would take it (runs in Rasa's environment).

    .venv-rasa/bin/python -m tests.asked_once MODEL

takes blind messages, at several points of a conversation, on both ways; prints JSON: how many turns there
were, how many said something, and what the two ways did where they differ.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from itertools import product
from pathlib import Path
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import UserMessage
from rasa.shared.core.events import ActionExecuted, BotUttered, SlotSet
from rasa.utils.log_utils import configure_structlog

from bench.judging import all_blind
from bot.components.channel import Collected, Incoming
from bot.components.taking import AT_ONCE, read_texts, take
from bot.components.trackers import RecentTrackers
from bot.domain.rule import Context
from tests.turn_cost import ActionServer

EVERY = 40  # of the blind messages
ORDERS = ["Where is my order 10023? mina@example.com", "주문번호 10023 mina@example.com 언제 와요?"]
CONTEXTS = (
    Context(quiet=True),
    Context(quiet=True, disclosed=True, replies_used=1, language="ko"),
    Context(quiet=True, disclosed=True, replies_used=2, opens_at="2026-11-30T09:00"),
)


async def both_ways(agent: Agent, turn: str, text: str, context: Context) -> list[Any]:
    """What is read, said and noted when the channel takes a turn, and when Rasa's loop does."""
    incoming = Incoming.from_body({"turn": turn, "text": text, "metadata": context.to_json()})
    once = incoming.message(Collected())
    await take(once, agent)
    loop = UserMessage(
        once.text, Collected(), f"{turn}-loop", once.parse_data, once.input_channel, metadata=once.metadata
    )
    await agent.handle_message(loop)
    readings = (once.parse_data, await agent.parse_message(once.text))
    return [
        {**await outcome(agent, message), "read": read}
        for message, read in zip((once, loop), readings, strict=True)
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two readings say the same; a batch's sums are rounded otherwise."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(abs(one - other) < 1e-4) if isinstance(one, float) else bool(one == other)


async def outcome(agent: Agent, message: UserMessage) -> dict[str, Any]:
    """What a turn said, and what Rasa's tracker has of it."""
    tracker = await agent.tracker_store.retrieve(message.sender_id)
    noted = [
        event.as_sub_state() if isinstance(event, ActionExecuted) else [event.type_name, str(event)]
        for event in tracker.events
        if isinstance(event, (ActionExecuted, SlotSet))
    ]
    said = [e.text for e in tracker.events if isinstance(e, BotUttered)]
    sent = [{**one, "timestamp": 0} for one in message.output_channel.messages]
    return {"sent": sent, "said": said, "noted": noted}


async def main() -> None:
    """Prints what was found."""
    logging.disable(logging.WARNING)
    configure_structlog(logging.ERROR)
    endpoint = ActionServer("http://127.0.0.1:9/webhook")
    agent = Agent.load(sys.argv[1], tracker_store=RecentTrackers(None), action_endpoint=endpoint)
    blind = [e.text for e in all_blind(Path(__file__).parent / "nlu")][::EVERY]
    differ, turns, spoken = [], 0, 0
    for text, context in product([*ORDERS, *blind], CONTEXTS):
        turns += 1
        once, loop = await both_ways(agent, str(turns), text, context)
        spoken += bool(once["said"])
        if once != loop:
            differ.append({"text": text, "once": once, "loop": loop})
    for start in range(0, len(blind), AT_ONCE):
        texts = blind[start : start + AT_ONCE]
        for text, read in zip(texts, read_texts(texts, agent.processor), strict=True):
            alone = await agent.parse_message(text)
            if not same(read, alone):
                differ.append({"text": text, "in a batch": read, "alone": alone})
    print(json.dumps({"turns": turns, "spoken": spoken, "differ": differ}, default=str))


if __name__ == "__main__":
    asyncio.run(main())
