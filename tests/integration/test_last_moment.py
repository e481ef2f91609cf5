"""Up to the last moment before Meta is asked: who may still send."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bot import delivery
from bot.channels.graph import Graph
from bot.domain.words import Status
from tests.meta import GraphServer
from tests.mortal import CUSTOMER, Walk


@pytest.mark.parametrize("meanwhile", ["a person takes it", "it is taken for dead"])
def test_a_sender_that_paused_after_its_claim_sends_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
):
    graph = GraphServer()
    walk = Walk(database_url, tmp_path, graph.url)
    walk.shop.store.migrate()
    walk.webhook_comes()
    walk.filed()
    walk.decided()
    parcel = delivery.claim(walk.shop.services)
    assert parcel
    if meanwhile == "a person takes it":
        walk.shop.takes("Anna", CUSTOMER)
    else:
        walk.shop.now += delivery.PATIENCE + timedelta(seconds=1)
        walk.delivered()

    async def wakes_up() -> None:
        sender = Graph(walk.settings.messenger)
        await delivery.deliver(walk.shop.services, sender)
        await sender.close()

    monkeypatch.setattr(delivery, "claim", lambda _services: parcel)
    asyncio.run(wakes_up())
    assert graph.sent == []
    status = walk.shop.messages(CUSTOMER)[-1].status
    assert status is (Status.FAILED if meanwhile == "a person takes it" else Status.UNKNOWN)
    walk.shop.store.close()
    graph.close()
