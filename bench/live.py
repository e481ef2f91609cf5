"""How soon an agent's answer is on its customer's page while many pages are open, and what a page costs.

    python -m bench.live [--chats 500] [--desks 50] [--answers 100]

Starts a bot process of its own on an empty embedded database (DATABASE_URL and REDIS_URL are taken over if
set). Every chat and desk holds its live stream open; agents' answers go to customers picked in turn, one at
a time, and the clock runs from before the agent's request until the customer's stream brings the answer.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx

from bot.processes import free_port
from bot.settings import ROOT

PASSWORD = "correct horse"


def resident(pid: int) -> float:
    """MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Page:
    """A live stream and when each message came."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}
        self.news = asyncio.Event()
        self.open = asyncio.Event()

    async def read(self, http: httpx.AsyncClient, path: str, **more: object) -> None:
        async with http.stream("GET", path, timeout=None, **more) as answer:
            self.open.set()
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and '"id"' in line:
                    self.came[json.loads(line[6:])["id"]] = time.perf_counter()
                    self.news.set()

    async def wait(self, message_id: str) -> float:
        async with asyncio.timeout(20):
            while message_id not in self.came:
                self.news.clear()
                await self.news.wait()
        return self.came[message_id]


async def measure(url: str, pid: int, chats: int, desks: int, answers: int) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60, trust_env=False) as http:
        login = {"email": "anna@shop.example", "password": PASSWORD}
        token = (await http.post("/api/desk/login", json=login)).json()["token"]
        agent = {"Authorization": f"Bearer {token}"}
        tokens = [(await http.post("/api/chat/sessions", json={})).json()["token"] for _ in range(chats)]
        held: list[tuple[int, int]] = []  # chat and its conversation
        for number in range(0, chats, max(1, chats // 50)):
            body = {"client_id": uuid.uuid4().hex, "text": "hello"}
            await http.post(
                "/api/chat/messages", json=body, headers={"Authorization": f"Bearer {tokens[number]}"}
            )
            rows = (await http.get("/api/desk/conversations?state=bot", headers=agent)).json()
            (row,) = rows["conversations"]
            await http.post(f"/api/desk/conversations/{row['id']}/take", headers=agent)
            held.append((number, row["id"]))
        before = resident(pid)
        pages = [Page() for _ in range(chats + desks)]
        tasks = [
            asyncio.create_task(page.read(http, f"/api/chat/events?token={token}"))
            for page, token in zip(pages, tokens, strict=False)
        ]
        cookie = {"Cookie": f"reply_twice_desk={token}"}
        tasks += [
            asyncio.create_task(page.read(http, "/desk/events", headers=cookie)) for page in pages[chats:]
        ]
        for page in pages:
            await page.open.wait()
        await asyncio.sleep(2)
        after = resident(pid)
        took = []
        for turn in range(answers):
            number, conversation = held[turn % len(held)]
            body = {"client_id": uuid.uuid4().hex, "text": f"Answer {turn}."}
            started = time.perf_counter()
            path = f"/api/desk/conversations/{conversation}/messages"
            answer = await http.post(path, json=body, headers=agent)
            took.append((await pages[number].wait(answer.json()["id"]) - started) * 1000)
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    cuts = statistics.quantiles(took, n=100)
    print(f"{chats} chats and {desks} desks; {answers} answers of agents, ms until on the customer's page")
    print(f"median {cuts[49]:.1f}, 95th percentile {cuts[94]:.1f}, longest {max(took):.1f}")
    kb = (after - before) * 1024 / (chats + desks)
    print(f"bot process {before:.0f} MB without streams, {after:.0f} MB with: {kb:.0f} KB a connection")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.live")
    parser.add_argument("--chats", type=int, default=500)
    parser.add_argument("--desks", type=int, default=50)
    parser.add_argument("--answers", type=int, default=100)
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "DATA_DIR": folder,
            "PORT": str(port),
            "LOG_LEVEL": "ERROR",
            "RASA_PORT": str(free_port()),
        }
        bot = [sys.executable, "-m", "bot"]
        add = ["add-agent", "--email", "anna@shop.example", "--name", "Anna", "--role", "agent"]
        subprocess.run([*bot, *add], cwd=ROOT, env=env, input=PASSWORD, text=True, check=True)
        process = subprocess.Popen([*bot, "serve"], cwd=ROOT, env=env)
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    httpx.get(f"{url}/healthz", trust_env=False)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            asyncio.run(measure(url, process.pid, options.chats, options.desks, options.answers))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
