"""Up to the last moment before Meta is asked: who may still send."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from bot import delivery
from bot.channels.graph import ECHO_WAIT, Answer, Graph, Outcome
from bot.desk import conversations as desk
from bot.domain.rule import Action, Context, Proposal
from bot.domain.words import Author, State, Status, Topic
from bot.store.engine import Store
from tests.conftest import copied
from tests.meta import APP, IN_DOUBT, OK, REFUSE, GraphServer, Mood, said, signed, webhook
from tests.meta_page import Page, StandIn, echo
from tests.mortal import CUSTOMER, Walk
from tests.support import Server, Shop, settings_for, wait_for


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


def test_a_sender_that_wakes_up_two_parts_later_neither_sends_nor_settles(store: Store, tmp_path: Path):
    page = Page(store, settings_for(tmp_path))
    page.says("upset", "m_in")
    page.sends(StandIn(mid="m_before"))
    page.takes("Anna", CUSTOMER)
    page.answers("Anna", "A sentence of some length. " * 200, CUSTOMER)
    asleep = delivery.claim(page.services)
    assert asleep
    assert (asleep.part, asleep.parts) == (1, 3)
    page.now += delivery.PATIENCE
    page.sends(StandIn())  # it is taken for dead
    page.gets(echo(asleep.text, "m_part_1", int(APP), metadata=asleep.part_id))  # but had sent before
    page.now += delivery.HOLD_BACK
    second = delivery.claim(page.services)
    assert second
    delivery.settle(page.services, second, Answer(Outcome.SENT, "m_part_2"))
    third = delivery.claim(page.services)
    assert third
    assert third.part == 3
    assert not delivery.may_go(page.services, asleep)
    delivery.settle(page.services, asleep, Answer(Outcome.SENT, "m_part_1"))
    assert delivery.claim(page.services) is None  # the third is on its way, once
    delivery.settle(page.services, third, Answer(Outcome.SENT, "m_part_3"))
    assert page.outbox()[-1] == (Author.AGENT, Status.SENT)


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


def test_whoever_is_told_that_they_have_it_is_not_spoken_over_by_what_was_just_being_sent(tmp_path: Path):
    asked, goes_on = threading.Event(), threading.Event()

    def slowly() -> Mood:
        asked.set()
        assert goes_on.wait(20)
        return OK

    graph = GraphServer(slowly)
    settings = Walk(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path, graph.url).settings
    with Server(settings) as server, ThreadPoolExecutor(1) as pool:
        anna = server.agent("Anna")
        body = webhook(said(CUSTOMER, "return_policy", "m_in", time.time()))
        assert server.http.post("/webhooks/messenger", content=body, headers=signed(body)).is_success
        assert asked.wait(20)
        (row,) = anna.queue("bot")
        taking = pool.submit(anna.does, "take", row["id"])
        wait_for(lambda: anna.queue("agent"))
        assert not taking.done()
        goes_on.set()
        assert taking.result().status_code == 200
        assert len(graph.sent) == 1
    graph.close()


def test_a_brain_that_insists_on_a_third_reply_is_overruled_and_a_person_gets_the_turn(shop: Shop):
    async def insists(_key: str, _text: str, _context: Context) -> Proposal:
        return Proposal(Action.ANSWER, text="And another thing.", topic=Topic.INVOICE)

    shop.brain.read_and_reply = insists  # type: ignore[method-assign]
    for _ in range(3):
        shop.hears("invoice")
    assert len(shop.replies()) == 2
    assert (shop.state(), shop.reason()) == (State.WAITING, "limit")
    assert shop.conversation().turn_error is None
