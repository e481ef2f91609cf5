"""What a turn costs in Rasa's process, counted and not timed (runs in Rasa's environment).

    .venv-rasa/bin/python -m tests.turn_cost MODEL

prints JSON: for a question and for an order, the calls of the encoder, of the action server and of Rasa's
graph, and how many Python functions were called. None of them depends on the machine or its mood.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from types import FrameType
from typing import Any

from rasa.core.agent import Agent
from rasa.utils.endpoints import EndpointConfig
from rasa.utils.log_utils import configure_structlog

from bot.components.channel import Collected, Incoming
from bot.components.taking import take
from bot.components.trackers import RecentTrackers
from bot.domain.rule import Context

FACTS = {"found": "found", "progress": "shipped", "number": "10023", "placed_at": "Monday", "items": "a lamp"}
TEXTS = {"question": "What are your opening hours?", "order": "Where is my order 10023? mina@example.com"}
COUNTED = {
    ("encoded", "featurizer.py"): "encoder",
    ("request", "turn_cost.py"): "action server",
    ("run", "graph.py"): "graph",
    ("run", "dask.py"): "graph",  # Rasa's own
}


class ActionServer(EndpointConfig):
    """Finds every order."""

    async def request(self, *_: Any, **__: Any) -> Any:
        """Answers at once."""
        events = [{"event": "slot", "name": name, "value": value} for name, value in FACTS.items()]
        return {"events": events, "responses": []}


async def taken(agent: Agent, turn: str, text: str) -> str:
    """One turn, as the channel takes it; what was said."""
    incoming = Incoming.from_body({"turn": turn, "text": text, "metadata": Context().to_json()})
    message = incoming.message(Collected())
    await take(message, agent)
    return " ".join(said["text"] for said in message.output_channel.messages)


async def cost(agent: Agent, name: str, text: str) -> dict[str, Any]:
    """The counts of a turn, after two that load what is loaded late."""
    for number in range(2):
        await taken(agent, f"{name}-{number}", text)
    counts: Counter[str] = Counter()

    def called(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            counts["functions"] += 1
            what = COUNTED.get((code.co_name, code.co_filename.rpartition("/")[2]))
            if what:
                counts[what] += 1

    sys.setprofile(called)
    said = await taken(agent, f"{name}-counted", text)
    sys.setprofile(None)
    return {**counts, "said": said}


async def main() -> None:
    """Prints the counts."""
    logging.disable(logging.WARNING)
    configure_structlog(logging.ERROR)
    endpoint = ActionServer("http://127.0.0.1:9/webhook")
    agent = Agent.load(sys.argv[1], tracker_store=RecentTrackers(None), action_endpoint=endpoint)
    print(json.dumps({name: await cost(agent, name, text) for name, text in TEXTS.items()}))


if __name__ == "__main__":
    asyncio.run(main())
