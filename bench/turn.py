"""What one message costs in Rasa's process, and where it goes (runs in Rasa's environment).

    .venv-rasa/bin/python -W ignore -m bench.turn MODEL [--json] [--flame docs/images/turn.svg]
    .venv-rasa/bin/python -W ignore -m bench.turn MODEL --readings FILE      (see `bench.readings`)

Times are the processor's, on one thread: what else the machine does hardly counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import mean, median
from time import process_time
from typing import Any

from rasa.core.agent import Agent
from rasa.shared.core.events import UserUttered
from rasa.shared.nlu.constants import ENTITIES, INTENT
from rasa.utils.log_utils import configure_structlog
from threadpoolctl import threadpool_limits

from bench.flame import Flame
from bench.judging import all_blind
from bot.components.channel import Collected, Incoming
from bot.components.featurizer import encoded
from bot.components.parts import parts_of
from bot.components.taking import read_text, take
from bot.components.trackers import RecentTrackers
from bot.components.turns import CONTEXT, Turn, context_of, script
from bot.domain.rule import Context

ROOT = Path(__file__).resolve().parent.parent
CONTEXT_SENT = Context(quiet=True, opens_at="2026-11-30T09:00").to_json()
Step = Callable[[str], Awaitable[Any]]


class Turns:
    """A loaded model, and the steps of a turn one by one."""

    def __init__(self, model: Path) -> None:
        self._agent = Agent.load(str(model), tracker_store=RecentTrackers(None))
        self._number = 0

    async def encode(self, text: str) -> None:
        """The floor: the sentence encoder alone, on each part of the message."""
        encoded(parts_of(text))

    async def read(self, text: str) -> Any:
        """NLU."""
        return read_text(text, self._agent.processor)

    async def decide(self, text: str) -> None:
        """NLU and the policy's decision."""
        read = await self.read(text)
        message = UserUttered(text, read[INTENT], read[ENTITIES], read, metadata={CONTEXT: CONTEXT_SENT})
        turn = Turn(message)
        script(turn, context_of([turn]))

    async def take(self, text: str) -> None:
        """The whole turn: read, decided and put into words."""
        self._number += 1
        incoming = Incoming.from_body({"turn": str(self._number), "text": text, "metadata": CONTEXT_SENT})
        await take(incoming.message(Collected()), self._agent)


async def costs(turns: Turns, texts: list[str]) -> dict[str, Any]:
    """Milliseconds of each step: median and mean, and how often the encoder's."""
    steps: dict[str, Step] = {
        "encoder": turns.encode, "nlu": turns.read, "decision": turns.decide, "turn": turns.take,
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in steps}
    for text in ["Hello", *texts]:
        for name, step in steps.items():  # one after the other, so that a slow moment hits all of them
            start = process_time()
            await step(text)
            times[name].append(1000 * (process_time() - start))
    floor = median(times["encoder"][1:])
    return {
        name: {"median": median(some[1:]), "mean": mean(some[1:]), "ratio": median(some[1:]) / floor}
        for name, some in times.items()
    } | {"messages": len(texts)}


async def main() -> None:
    """Prints the costs as a table or JSON; or writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--every", type=int, default=2, help="only every so manieth message")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--flame", type=Path)
    parser.add_argument("--readings", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    configure_structlog(logging.ERROR)
    threadpool_limits(1)
    turns, texts = Turns(options.model), [e.text for e in all_blind(ROOT / "tests" / "nlu")]
    if options.readings:
        await write_readings(turns, texts, options.readings)
        return
    some = texts[:: options.every]
    if options.flame:
        for text in some[:20]:
            await turns.take(text)
        flame = Flame()
        with flame.sampling():
            for text in some:
                await turns.take(text)
        options.flame.write_text(flame.svg("One turn in Rasa's process"), encoding="utf-8")
        return
    found = await costs(turns, some)
    if options.json:
        print(json.dumps(found))
        return
    print("| | ms, median | ms, mean | × encoder |", "|---|---|---|---|", sep="\n")
    for name, cost in found.items():
        if isinstance(cost, dict):
            print(f"| {name} | {cost['median']:.2f} | {cost['mean']:.2f} | {cost['ratio']:.2f} |")


async def write_readings(turns: Turns, texts: list[str], path: Path) -> None:
    """What is read in every blind message, a line of JSON each."""
    with path.open("w", encoding="utf-8") as lines:
        for text in texts:
            read = await turns.read(text)
            kept = {"text": text, "ranking": read["intent_ranking"], "entities": read[ENTITIES]}
            lines.write(json.dumps(kept, default=float) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
