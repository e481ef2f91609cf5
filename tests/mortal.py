"""A process that walks the path of one message and kills itself (`kill -9`) at a given step.

    accept ─► file ─► claim ─► read ─► settle ─► parcel ─► send ─► record ─► echo ─► file_echo

A turn's reply that nothing is in the way of goes with the courier: then `settle` is its `parcel`, too.

At a step that writes, "before" is before its commit, "after" is after it; at `read` and `send` it is
before the other side is asked, and after it has answered.
"""

import asyncio
import functools
import multiprocessing
import os
import signal
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from bot import delivery, inbox, turns
from bot.channels import messenger
from bot.channels.graph import Graph
from bot.store.engine import Store
from tests.meta import APP, SECRET, GraphServer, said, webhook
from tests.support import Shop, settings_for

CUSTOMER = "7392015648120394"
STEPS: dict[str, tuple[Any, str]] = {
    "accept": (inbox, "accept"),
    "file": (inbox, "file_all"),
    "claim": (turns, "claim"),
    "read": (turns, "read"),
    "settle": (turns, "settle"),
    "parcel": (delivery, "claim"),
    "send": (Graph, "send"),
    "record": (delivery, "settle"),
    "echo": (inbox, "accept"),
    "file_echo": (inbox, "file_all"),
}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.mortal"])


class Walk:
    """The path of one Messenger message, step by step, on a shop's own clock."""

    def __init__(self, url: str, folder: Path, graph_url: str) -> None:
        self.settings = settings_for(
            folder,
            DATABASE_URL=url,
            MESSENGER_APP_ID=APP,
            MESSENGER_APP_SECRET=SECRET,
            MESSENGER_PAGE_TOKEN="page token",
            MESSENGER_GRAPH_URL=graph_url,
        )
        self.shop = Shop(Store(self.settings.database_url), self.settings)

    def webhook_comes(self) -> None:
        self.accepted(webhook(said(CUSTOMER, "return_policy", "m_in", self.shop.now.timestamp())))

    def echoes_come(self, graph: GraphServer) -> None:
        if graph.sent:
            self.accepted(webhook(*(sent.echo() for sent in graph.sent)))

    def accepted(self, body: bytes) -> None:
        inbox.accept(self.shop.store, messenger.parse(self.settings.messenger, body), self.shop.now)

    def filed(self) -> None:
        self.shop.file()

    def decided(self) -> None:
        self.shop.passes(seconds=2)

    def decided_and_sent(self) -> None:
        """The turn's reply goes with the courier."""
        self.shop.now += timedelta(seconds=2)

        async def work() -> None:
            graph = Graph(self.settings.messenger)
            courier = delivery.Courier(self.shop.services, graph, most=1)
            while await turns.work(self.shop.services, courier=courier):
                await courier.rest(60)
            await graph.close()

        asyncio.run(work())

    def delivered(self) -> None:
        async def deliver() -> None:
            graph = Graph(self.settings.messenger)
            while await delivery.deliver(self.shop.services, graph):
                pass
            await graph.close()

        asyncio.run(deliver())

    def restarts(self) -> None:
        """The next process begins; on PostgreSQL it waits until the dead one's claims run out."""
        if self.shop.store.is_sqlite:
            turns.release_all(self.shop.store)
            delivery.release_all(self.shop.store, self.shop.now)
        else:
            self.shop.now += timedelta(minutes=5)


def die(
    url: str, folder: Path, graph_url: str, step: str, when: str, done: Connection, courier: bool = False
) -> None:
    """Runs in a process of its own, and doesn't come back."""
    walk = Walk(url, folder, graph_url)
    armed = [name for name in STEPS if name not in ("echo", "file_echo")]
    if step in ("echo", "file_echo"):
        armed = []
    if step in armed:
        _arm(step, when)
    walk.webhook_comes()
    walk.filed()
    if courier:
        walk.decided_and_sent()
    else:
        walk.decided()
    walk.delivered()
    if not armed:
        _arm(step, when)
    sent = done.recv()
    walk.accepted(webhook(*(one.echo() for one in sent)))
    walk.filed()


def _arm(step: str, when: str) -> None:
    owner, name = STEPS[step]
    original = getattr(owner, name)

    def kill(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step in ("read", "send"):

        @functools.wraps(original)
        async def asked(*args: Any) -> Any:
            if when == "before":
                kill()
            await original(*args)
            kill()

        setattr(owner, name, asked)
        return

    @functools.wraps(original)
    def written(*args: Any, **kwargs: Any) -> Any:
        event.listen(Session, f"{when}_commit", kill)
        return original(*args, **kwargs)

    setattr(owner, name, written)
