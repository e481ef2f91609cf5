"""A turn's reply goes to Graph at once where nothing is in its way, and queues where something is."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import accounts, courtesy, delivery, turns
from bot.channels.graph import Graph
from bot.domain.words import Author, Status
from bot.store.engine import Store
from tests.meta import PAGE
from tests.meta_page import CUSTOMER, Mock, Page, StandIn, said
from tests.support import settings_for


class Shop(Page):
    def goes(self, graph: Callable[[httpx.Request], Any], most: int = 4, meanwhile: Any = None) -> None:
        """What is due is decided, and its replies go with the courier. `meanwhile` comes between."""
        self.now += timedelta(seconds=2)

        async def work() -> None:
            client = Graph(self.meta, Mock(graph))
            courier = delivery.Courier(self.services, client, most)
            original = courier.sends
            courier.sends = lambda reply: original(meanwhile(reply) if meanwhile else reply)
            while await turns.work(self.services, courier=courier):
                pass
            await courier.rest(10)
            await client.close()

        asyncio.run(work())

    def writes_to_us(self, text: str, mid: str, sender: str = CUSTOMER) -> None:
        self.files(
            {"entry": [{"id": PAGE, "messaging": [said(text, mid, sender) | {"timestamp": self.millis}]}]}
        )


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Shop:
    return Shop(store, settings_for(tmp_path, MESSENGER_PAGE_TOKEN="page token"))


def test_a_reply_goes_at_once_and_once(shop: Shop):
    graph = StandIn()
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph)
    assert graph.texts == ["answer return_policy"]
    assert shop.outbox() == [(Author.BOT, Status.SENT)]
    assert shop.messages(CUSTOMER)[-1].external_id == "m_out_1"
    shop.sends(graph)
    assert len(graph.sent) == 1
    shop.repeats(courtesy.greet, graph)
    assert graph.actions == []  # it was there before anybody could be seen typing


def test_what_waits_in_the_same_chat_goes_first(shop: Shop):
    shop.says("return_policy", "m_1")  # its reply waits in the queue
    shop.writes_to_us("invoice", "m_2")
    graph = StandIn()
    shop.goes(graph)
    assert graph.sent == []
    shop.sends(graph)
    assert graph.texts == ["answer return_policy", "answer invoice"]


def test_it_waits_for_a_send_that_nobody_knows_the_end_of(shop: Shop):
    graph = StandIn(httpx.ReadTimeout("lost"))
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph)
    assert shop.outbox() == [(Author.BOT, Status.UNKNOWN)]
    shop.writes_to_us("invoice", "m_2")
    shop.goes(graph)
    assert shop.outbox() == [(Author.BOT, Status.UNKNOWN), (Author.BOT, Status.QUEUED)]
    shop.now += delivery.HOLD_BACK
    shop.sends(graph)
    assert graph.texts[1:] == ["answer invoice"]


def test_an_account_in_trouble_is_left_alone(shop: Shop):
    with shop.store.unit_of_work() as session:
        accounts.throttle(session, PAGE, timedelta(minutes=1), shop.now)
    graph = StandIn()
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph)
    assert graph.sent == []
    shop.now += timedelta(minutes=2)
    shop.sends(graph)
    assert len(graph.sent) == 1
    assert shop.alerts() == []


def test_only_so_many_are_under_way_and_the_queue_takes_the_rest(shop: Shop):
    for number in range(3):
        shop.writes_to_us("return_policy", f"m_{number}", f"70{number}")
    graph = StandIn()

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.5)
        return graph(request)

    shop.goes(slow, most=1)
    assert len(graph.sent) == 1
    shop.sends(graph)
    assert sorted(body["recipient"]["id"] for body in graph.sent) == ["700", "701", "702"]


def test_a_courier_that_slept_asks_whether_it_may_still_go(shop: Shop):
    def takes_and_sleeps(reply: turns.Reply) -> turns.Reply:
        shop.takes("Anna", CUSTOMER)
        return turns.replace(reply, written=reply.written - 1)

    graph = StandIn()
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph, meanwhile=takes_and_sleeps)
    assert graph.sent == []
    assert shop.outbox() == [(Author.BOT, Status.FAILED)]


def test_what_could_not_be_sent_is_tried_again(shop: Shop):
    graph = StandIn(httpx.ConnectError("away"))
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph)
    assert shop.outbox() == [(Author.BOT, Status.QUEUED)]
    shop.now += timedelta(minutes=1)
    shop.sends(graph)
    assert shop.outbox() == [(Author.BOT, Status.SENT)]


def test_a_long_reply_goes_on_part_by_part(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "split", lambda text, _channel: text.split())
    graph = StandIn()
    shop.writes_to_us("return_policy", "m_1")
    shop.goes(graph)
    assert graph.texts == ["answer"]
    shop.sends(graph)
    assert graph.texts == ["answer", "return_policy"]
    assert shop.outbox() == [(Author.BOT, Status.SENT)]
