"""The one look for all kinds of workers: nobody is passed over, and a quiet shop costs one statement."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot import delivery
from bot.domain.words import Channel, State
from bot.look import look
from bot.store.news import Work
from bot.store.tables import Conversation, InboxItem
from tests.integration.test_cost import comes, counted
from tests.support import Shop


def work(shop: Shop) -> frozenset[Work]:
    return look(shop.store, shop.now).work


def test_a_quiet_shop_has_nothing_to_do_and_is_looked_at_in_one_statement(shop: Shop):
    comes(shop)
    shop.passes(seconds=2)
    with counted(shop.store) as cost:
        seen = look(shop.store, shop.now)
    assert (seen.work, seen.people) == (frozenset(), False)
    assert len(cost.statements) == 1


def test_each_kind_of_worker_is_told_of_what_it_may_have_to_do(shop: Shop):
    comes(shop)
    assert work(shop) == {Work.TURN}, "also one that is due later: who looks finds out"
    shop.passes(seconds=2)
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(InboxItem).values(filed_at=None))
    assert work(shop) == {Work.INBOX}


def test_what_is_to_be_sent_or_was_being_sent_is_seen(shop: Shop):
    comes(shop, channel=Channel.MESSENGER)
    shop.passes(seconds=2)
    assert Work.OUTBOX in work(shop)
    assert delivery.claim(shop.services)
    assert Work.OUTBOX in work(shop), "its sender may have died"


def test_a_customer_to_be_courteous_to_is_seen(shop: Shop):
    comes(shop, channel=Channel.MESSENGER)
    assert Work.COURTESY in work(shop), "its name isn't known"
    with shop.store.unit_of_work() as session:
        session.execute(sa.text("UPDATE identity SET named_at = wrote_at"))
    assert Work.COURTESY in work(shop), "it is due, and wasn't shown as seen"
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Conversation).values(due_at=None))
    assert Work.COURTESY not in work(shop)
    agent = shop.agent("anna")
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Conversation).values(state=State.AGENT, agent_id=agent.id))
    assert Work.COURTESY in work(shop), "an agent reads it"
    shop.now += timedelta(hours=1)
    assert Work.COURTESY not in work(shop)


@pytest.mark.parametrize("state", [State.WAITING, State.AGENT])
def test_people_who_wait_or_are_at_work_are_seen(shop: Shop, state: State):
    comes(shop, "upset" if state is State.WAITING else "return_policy")
    shop.passes(seconds=2)
    if state is State.AGENT:
        assert not look(shop.store, shop.now).people
        agent = shop.agent("anna")
        with shop.store.unit_of_work() as session:
            session.execute(sa.update(Conversation).values(state=state, agent_id=agent.id))
    assert look(shop.store, shop.now).people


def test_the_newest_event_is_told(shop: Shop):
    assert look(shop.store, shop.now).newest_event == 0
    comes(shop)
    assert look(shop.store, shop.now).newest_event == shop.events()[-1].id
