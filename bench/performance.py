"""How fast: Reply Twice and a stock Rasa bot side by side, in one run on this machine.

    make bench          everything (some twenty minutes after the stock bot's training)
    make bench QUICK=1  a few minutes, for a first impression

Each part writes what it found to `.bench/results.json` as soon as it is done, and `docs/performance.md`
is made from that file: a part that fails costs its own rows only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import count, cycle
from pathlib import Path
from typing import Any

from bench import ours, page, scaled, stock
from bench.growth import EACH, fill
from bench.judging import blind
from bench.load import Http, Run, open_loop
from bench.machine import RASA_PYTHON, ROOT, family, machine, processor
from bench.open_pages import live
from bench.webhook import flood, settled
from bot.domain.words import Topic
from bot.training import ONE_THREAD, QUIET, train

RESULTS = stock.CACHE / "results.json"
TARGET = 0.5  # seconds at the 99th percentile: as long as that holds, a load is sustained
RATES = (10, 20, 30, 45, 65, 90, 120, 160, 210, 280)
# In words that the stock bot takes for what they are after its few epochs: it has to look them up, too.
ORDERS = tuple(
    f"Where is my order {number}? My e-mail is {email}"
    for number, email in (
        ("10023", "mina@example.com"), ("10024", "jonas@example.com"), ("10025", "yuki@example.com")
    )
)  # fmt: skip
Load = Callable[[float, float, Sequence[str]], Awaitable[Run]]  # rate, seconds, texts


def questions() -> list[str]:
    """What customers ask, in English: messages that training never saw, of every topic but orders."""
    topics = {topic.value for topic in Topic} - {Topic.ORDER_STATUS.value}
    asked = blind(ROOT / "tests" / "nlu" / "blind.jsonl")
    return [e.text for e in asked if e.lang == "en" and e.label in topics and not e.upset]


def mixed() -> list[str]:
    """Three questions to one order."""
    some, orders = iter(questions()), cycle(ORDERS)
    return [text for three in zip(some, some, some, strict=False) for text in (*three, next(orders))]


def check(text: str, said: str) -> None:
    """Raises RuntimeError if an order was asked for and the answer doesn't tell of it."""
    if text in ORDERS and text.split()[4].strip("?") not in said:
        raise RuntimeError(f"no order in {said[:80]!r}")


def shared(clients: Sequence[Http]) -> Load:
    """Web chats of customers who are shared out among several bots."""

    async def load(rate: float, seconds: float, texts: Sequence[str]) -> Run:
        each = math.ceil(rate * seconds / len(clients))
        parts = await asyncio.gather(*(ours.visitors(http, each) for http in clients))
        guests = [guest for together in zip(*parts, strict=True) for guest in together]

        async def ask(number: int) -> None:
            text = texts[number % len(texts)]
            check(text, (await guests[number].ask(text))["text"])

        run = await open_loop(rate, seconds, ask)
        for guest in guests:
            guest.leave()
        return run

    return load


class Bench:
    """The parts of the run, and how long each takes."""

    def __init__(self, folder: Path, quick: bool, epochs: int) -> None:
        self.folder, self.quick, self.epochs = folder, quick, epochs
        self.seconds = 4 if quick else 12
        self._customers = count(1_000_000)

    async def answers(self) -> dict[str, Any]:
        """The stock bot and Reply Twice over both its channels, each load in turn.

        So the machine's mood, which changes within minutes, is much the same for all three.
        """
        model, facts = await asyncio.to_thread(stock.trained, self.epochs)
        await train()  # both bots start with a model that is there
        async with AsyncExitStack() as stack:
            bot, start = await stack.enter_async_context(stock.running(self.folder / "stock", model))
            loads = {"stock": self._of_stock(bot)}
            await loads["stock"](5, 4, mixed())  # what is loaded late is loaded now
            memory = bot.memory()  # before the other is there: they would share the libraries' pages
            product, meta, (accepts, answers) = await stack.enter_async_context(
                ours.running(self.folder / "ours")
            )
            http = Http(product.port)
            stack.callback(http.close)
            loads |= {
                "web": self._of_web(product, http),
                "messenger": self._of_messenger(product, meta, http),
            }
            for name in ("web", "messenger"):
                await loads[name](5, 4, mixed())
            pids = {"stock": bot.pids(), **dict.fromkeys(("web", "messenger"), family(product.process.pid))}
            found: dict[str, Any] = {name: {} for name in loads}
            for kind, texts in (("faq", questions()), ("order", ORDERS)):
                for name, load in loads.items():
                    before = processor(pids[name])
                    run = await load(10, self.seconds, texts)
                    used = (processor(pids[name]) - before) / run.asked
                    found[name][kind] = run.to_json() | {"processor": used}
            for name, load in loads.items():
                found[name] |= await self._steps(load)
            await asyncio.to_thread(bot.end)
            return {
                "stock": {"training": facts, "start": start, "memory": memory, **found["stock"]},
                "ours": {
                    "accepts": accepts, "answers": answers, "memory": product.memory(),
                    "web": found["web"], "messenger": found["messenger"],
                },
            }  # fmt: skip

    def _of_stock(self, bot: stock.Stock) -> Load:
        http = Http(bot.port)

        async def load(rate: float, seconds: float, texts: Sequence[str]) -> Run:
            async def ask(number: int) -> None:
                text = texts[number % len(texts)]
                check(text, await stock.ask(http, str(next(self._customers)), text))

            return await open_loop(rate, seconds, ask)

        return load

    def _of_web(self, product: ours.Product, http: Http) -> Load:
        alone = shared([http])

        async def load(rate: float, seconds: float, texts: Sequence[str]) -> Run:
            run = await alone(rate, seconds, texts)
            await settled(product)
            return run

        return load

    def _of_messenger(self, product: ours.Product, meta: ours.Meta, http: Http) -> Load:
        async def load(rate: float, seconds: float, texts: Sequence[str]) -> Run:
            async def ask(number: int) -> None:
                text = texts[number % len(texts)]
                check(text, await meta.ask(http, str(next(self._customers)), text))

            run = await open_loop(rate, seconds, ask)
            await settled(product)
            return run

        return load

    async def _steps(self, load: Load) -> dict[str, Any]:
        """More and more of both, until it is too much."""
        steps: list[Run] = []
        for rate in RATES:
            steps.append(await load(rate, self.seconds, mixed()))
            if not holds(steps[-1]):
                held = steps[-2].rate if len(steps) > 1 else rate / 4
                between = round((rate * held) ** 0.5)
                steps.append(await load(between, self.seconds, mixed()))
                break
        return {
            "steps": [run.to_json() for run in sorted(steps, key=lambda run: run.rate)],
            "sustained": max((run.rate for run in steps if holds(run)), default=0),
        }

    async def scaled(self) -> dict[str, Any]:
        """One of each and two of each, on PostgreSQL and Redis."""
        await train()
        found: dict[str, Any] = {}
        for each in (1, 2):
            async with scaled.running(self.folder / f"scaled{each}", each) as clients:
                load = shared(clients)
                await load(5, 4, mixed())
                found[str(each)] = await self._steps(load)
        return found

    async def webhook(self) -> dict[str, Any]:
        """A flood of webhooks."""
        async with ours.running(self.folder / "webhook") as (product, _meta, _times):
            return await flood(product, rate=300, seconds=10 if self.quick else 60)

    async def growth(self) -> dict[str, Any]:
        """Answer time as history grows, for new customers and for those with 999 conversations."""
        points: list[dict[str, Any]] = []
        async with ours.running(self.folder / "growth") as (product, meta, _times):
            http = Http(product.port)

            async def load(customers: Sequence[str], after: float = 0) -> dict[str, Any]:
                await asyncio.sleep(after)
                texts = questions()

                async def ask(number: int) -> None:
                    await meta.ask(http, customers[number], texts[number % len(texts)])

                run = await open_loop(5, len(customers) / 5, ask)
                await settled(product)
                return run.to_json()

            def fresh(seconds: float) -> list[str]:
                return [str(next(self._customers)) for _ in range(round(5 * seconds))]

            await load(fresh(4))
            known = 0  # customers with a history
            for messages in (0, 10_000, 100_000, *(() if self.quick else (1_000_000,))):
                start = time.perf_counter()
                wanted = math.ceil(messages / (2 * EACH))
                added = await asyncio.to_thread(fill, product.database, known, wanted - known)
                known, filled = wanted, time.perf_counter() - start
                await load(fresh(1))
                seconds = 2 * self.seconds
                old = added[: 5 * seconds] or fresh(seconds)
                # In one and the same mood of the machine, and in turn.
                new, others = await asyncio.gather(load(fresh(seconds)), load(old, after=0.1))
                point = {"messages": messages, "fill": filled, "new": new}
                points.append(point | {"old": others if added else None})
            http.close()
        return {"points": points}

    async def live(self) -> dict[str, Any]:
        """Open pages."""
        async with ours.running(self.folder / "live") as (product, _meta, _times):
            chats, desks = (100, 10) if self.quick else (500, 50)
            return await live(product, chats, desks, replies=50 if self.quick else 200)

    async def decision(self) -> dict[str, Any]:
        """What Rasa's process spends on a message, by the processor's clock."""
        done = await asyncio.to_thread(
            subprocess.run,
            [RASA_PYTHON, "-W", "ignore", "-m", "bench.turn", await train(), "--json",
             "--every", "8" if self.quick else "2"],
            cwd=ROOT, env=os.environ | QUIET | ONE_THREAD,
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return dict(json.loads(done.stdout.splitlines()[-1]))


def holds(run: Run) -> bool:
    """Whether a load was sustained: everything answered, and nearly all of it soon enough."""
    return run.answered == run.asked and run.p99 is not None and run.p99 <= TARGET


PARTS = ("answers", "decision", "webhook", "growth", "live", "scaled")


async def run(parts: Sequence[str], quick: bool, epochs: int) -> dict[str, Any]:
    """Runs the parts; a part that fails is noted and the next goes on."""
    stock.CACHE.mkdir(exist_ok=True)
    results: dict[str, Any] = (
        json.loads(RESULTS.read_text()) if RESULTS.exists() and set(parts) != set(PARTS) else {}
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    results["about"] = {
        "at": datetime.now().astimezone().isoformat(timespec="minutes"), "quick": quick, "machine": machine(),
        "commit": commit.stdout.strip(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="reply-twice-bench-") as folder:
        bench = Bench(Path(folder), quick, epochs)
        for part in parts:
            print(f"{datetime.now().astimezone():%H:%M:%S} {part} …", flush=True)
            try:
                found = await getattr(bench, part)()
                results.pop(part, None)  # that it failed before
                results |= found if part == "answers" else {part: found}
            except Exception as error:
                traceback.print_exc()
                results[part] = {"failed": f"{type(error).__name__}: {error}"[:400]}
            RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def main() -> None:
    """Measures, prints the table, writes `docs/performance.md` and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, default=PARTS, help="the others stay as they were"
    )
    parser.add_argument("--epochs", type=int, default=3, help="of the stock bot's training; rasa init: 100")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what was started is ended too
    results = asyncio.run(run(options.only, options.quick, options.epochs))
    print(page.table(results))
    if not options.no_page:
        page.write(results)


if __name__ == "__main__":
    main()
