"""What a message costs the bot process: CPU for taking it in and for its turn, and room in the database.

    python -m bench.cost [--messages 500] [--flame docs/images/bot.svg]

The path's own functions on an empty embedded database, without HTTP and with a plain brain in Rasa's place;
CPU time of this process, so that others on the machine don't matter much. Each message is its customer's
first, and gets a reply.

`--flame` draws where the whole path spends its time, from the bytes of the request to those of the answer on
the customer's stream: the real server, its customers in a process of their own, and what belongs into
threads done on the one that is looked at.
"""

import argparse
import asyncio
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from bench.flame import Flame
from bench.load import Http
from bench.machine import free_port
from bench.ours import Visitor
from bot import inbox
from bot.domain.words import Channel
from bot.filing import Times
from bot.store.engine import Store
from tests.support import PlainBrain, Shop, settings_for


def size(store: Store) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    owner = "SELECT coalesce(m.tbl_name, d.name), sum(d.pgsize) FROM dbstat d LEFT JOIN sqlite_master m"
    with store.read() as session:
        return dict(session.execute(sa.text(f"{owner} ON m.name = d.name GROUP BY 1")).all())


async def inline(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Stands in for `run_in_threadpool`."""
    return function(*args, **more)


async def come(port: int, count: int) -> None:
    """So many customers, one after the other."""
    http = Http(port)
    for _ in range(count):
        visitor = Visitor(http)
        await visitor.arrive()
        await visitor.ask("return_policy I would like to send a blanket back, how do I do that?")
        visitor.leave()
    http.close()


def draw(file: Path, count: int) -> None:
    """The flame graph of so many messages, after as many that load what is loaded late."""
    import uvicorn

    from bot.app import build

    for name, module in list(sys.modules.items()):
        if name.startswith("bot.") and hasattr(module, "run_in_threadpool"):
            module.run_in_threadpool = inline  # type: ignore[attr-defined]

    async def run(folder: Path) -> Flame:
        port = free_port()
        settings = settings_for(folder, BURST_SECONDS="0", GREETING_SECONDS="0")
        config = uvicorn.Config(build(settings, PlainBrain()), port=port, log_config=None)
        server = uvicorn.Server(config)
        serving, flame = asyncio.create_task(server.serve()), Flame()
        while not server.started:
            await asyncio.sleep(0.05)
        customers = [
            sys.executable,
            "-m",
            "bench.cost",
            "--customers-of",
            str(port),
            "--messages",
            str(count),
        ]
        await (await asyncio.create_subprocess_exec(*customers)).wait()
        with flame.sampling():
            await (await asyncio.create_subprocess_exec(*customers)).wait()
        server.should_exit = True
        await serving
        return flame

    with tempfile.TemporaryDirectory() as folder:
        flame = asyncio.run(run(Path(folder)))
    file.write_text(
        flame.svg("One message in the bot process, with its session and stream"), encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cost")
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--flame", type=Path)
    parser.add_argument("--customers-of", type=int, help=argparse.SUPPRESS)  # of the server on this port
    options = parser.parse_args()
    count = options.messages
    if options.customers_of:
        asyncio.run(come(options.customers_of, count))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    if options.flame:
        draw(options.flame, count)
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(Path(folder))
        store = Store(settings.database_url)
        store.migrate()
        shop, ids = Shop(store, settings), itertools.count()

        def comes() -> None:
            text = "return_policy I ordered a blanket last week and would like to send it back, how do I?"
            name = f"s:{next(ids):032}"
            event = inbox.Incoming(
                Channel.WEB, "web", name, name * 2, inbox.Kind.MESSAGE, {"text": text}, shop.now
            )
            inbox.take_in(store, event, Times(shop.now, settings.burst, settings.idle))

        comes()
        shop.passes(seconds=2)
        before, started = size(store), time.process_time()
        for _ in range(count):
            comes()
        taken = time.process_time()
        shop.passes(seconds=2)
        done = time.process_time()
        after = size(store)
        print(f"taken in: {(taken - started) * 1000 / count:.1f} ms of CPU a message")
        print(f"turn: {(done - taken) * 1000 / count:.1f} ms")
        for table in ("message", "conversation", "identity", "contact", "inbox", "event"):
            print(f"{table}: {(after[table] - before[table]) / count:.0f} bytes a customer's message")
        store.close()


if __name__ == "__main__":
    main()
