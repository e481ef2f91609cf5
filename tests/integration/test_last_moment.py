"""Up to the last moment before Meta is asked: who may still send."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bot import delivery
from bot.channels.graph import ECHO_WAIT, Graph
from bot.desk import conversations as desk
from bot.domain.words import Status
from tests.conftest import copied
from tests.meta import IN_DOUBT, OK, REFUSE, GraphServer, said, webhook
from tests.mortal import CUSTOMER, Walk


@pytest.mark.parametrize("meanwhile", ["a person takes it", "it is taken for dead"])
def test_a_sender_that_paused_after_its_claim_sends_nothing(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
):
    graph = GraphServer()
    walk = Walk(migrated_url, tmp_path, graph.url)
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


def test_a_thread_keeps_its_order_across_conversations(migrated_url: str, tmp_path: Path):
    mood = REFUSE
    graph = GraphServer(lambda: mood)
    walk = Walk(migrated_url, tmp_path, graph.url)
    walk.webhook_comes()
    walk.filed()
    walk.shop.takes("Anna", CUSTOMER)
    walk.shop.answers("Anna", "One moment.", CUSTOMER)
    walk.delivered()  # Meta refuses it for now
    walk.shop.does("Anna", desk.resolve, CUSTOMER)
    mood = OK
    later = said(CUSTOMER, "invoice", "m_later", walk.shop.now.timestamp())
    walk.accepted(webhook(later))
    walk.filed()
    walk.shop.now += timedelta(seconds=1.6)
    walk.shop.work()
    walk.delivered()
    assert graph.sent == []  # the next conversation's reply waits for the former's answer
    walk.shop.now += ECHO_WAIT
    walk.delivered()
    assert [sent.text for sent in graph.sent] == ["One moment.", "answer invoice"]
    walk.shop.store.close()
    graph.close()


@pytest.mark.parametrize("answer", IN_DOUBT)
def test_what_meta_took_without_saying_so_is_sent_once_and_settled_by_its_echo(
    sqlite_template: Path, tmp_path: Path, answer: str
):
    graph = GraphServer(lambda: IN_DOUBT[answer])
    walk = Walk(copied(sqlite_template, tmp_path), tmp_path, graph.url)
    walk.webhook_comes()
    walk.filed()
    walk.decided()
    for _ in range(3):
        walk.delivered()
        walk.shop.now += timedelta(minutes=5)
    assert walk.shop.messages(CUSTOMER)[-1].status is Status.UNKNOWN
    walk.echoes_come(graph)
    walk.filed()
    walk.delivered()
    assert walk.shop.messages(CUSTOMER)[-1].status is Status.SENT
    assert len(graph.sent) == 1
    walk.shop.store.close()
    graph.close()
