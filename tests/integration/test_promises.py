"""What customers who wait are promised, in opening hours, and that a chat is raised before it is late."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.desk import care, promises, rules
from bot.desk import conversations as desk
from bot.desk.promises import Line
from bot.domain.errors import BadInput
from bot.domain.hours import Hours
from bot.domain.words import Channel
from bot.store.care import AuditEntry, Handling, Promise
from bot.store.tables import Agent
from tests.support import MONDAY_NOON, Shop


def due(shop: Shop, who: str = "mina") -> promises.Due | None:
    promises.tend(shop.services)
    with shop.store.read() as session:
        return promises.due(session, [shop.conversation(who).id], shop.now).get(shop.conversation(who).id)


def supervise(shop: Shop, verb, *args, **more) -> None:
    robin = shop.agent("Robin")
    with shop.store.unit_of_work() as session:
        verb(session, session.get_one(Agent, robin.id), *args, now=shop.now, **more)


def hand_off_at(shop: Shop, who: str = "mina") -> datetime:
    return shop.hand_offs(who)[-1].at


def test_a_person_answers_within_an_hour_and_settles_it_within_a_day_of_opening_time(shop: Shop):
    shop.hears("upset")
    first = due(shop)
    assert first
    assert (first.what, first.phase) == ("first", "ok")
    assert first.at == hand_off_at(shop) + timedelta(hours=1)
    shop.takes("Anna")
    shop.answers("Anna", "I'm here.")
    then = due(shop)
    assert then
    assert then.what == "solve"
    # 24 hours of opening time from two seconds after Monday noon: 6 h today, 9 h on Tuesday, 9 h on
    # Wednesday, and the two seconds on Thursday
    assert then.at == datetime(2026, 11, 26, 9, 0, 2, tzinfo=MONDAY_NOON.tzinfo)


def test_the_bots_own_answers_promise_nothing_and_keep_no_promise(shop: Shop):
    shop.hears("return_policy")
    assert due(shop) is None
    shop.hears("upset")
    found = due(shop)
    assert found
    assert found.what == "first"


def test_a_promise_waits_over_the_night_and_a_holiday(shop: Shop):
    hours = Hours(shop.settings.opening_hours.spans, frozenset({date(2026, 11, 24)}))
    shop.services.runtime.settings = replace(shop.services.settings, opening_hours=hours)
    shop.now = datetime(2026, 11, 23, 17, 30, tzinfo=MONDAY_NOON.tzinfo)
    shop.hears("upset")
    found = due(shop)
    assert found
    assert found.at - hand_off_at(shop) == timedelta(days=1, hours=16)


def test_the_narrowest_target_holds(shop: Shop):
    for channel, priority, first in (
        (None, None, 50),
        (Channel.WEB, None, 40),
        (None, 3, 30),
        (Channel.WEB, 3, 20),
    ):
        supervise(shop, promises.set_target, channel, priority, first, 600)
    with shop.store.read() as session:
        targets = promises.listed(session)
    found = [
        promises.minutes(targets, *place)[0]
        for place in ((Channel.WEB, 3), (Channel.MESSENGER, 3), (Channel.WEB, 1), (Channel.MESSENGER, 1))
    ]
    assert found == [20, 30, 40, 50]
    supervise(shop, promises.remove_target, "web/3")
    supervise(shop, promises.set_target, Channel.WEB, None, 45, 600)
    with shop.store.read() as session:
        assert promises.minutes(promises.listed(session), Channel.WEB, 3) == (30, 600)
        assert promises.minutes([], Channel.WEB, 1) == (60, 1440)


@pytest.mark.parametrize("minutes", [(0, 10), (10, 0), (20, 10), (10, 10**9)])
def test_a_target_that_makes_no_sense_is_refused(shop: Shop, minutes: tuple[int, int]):
    with pytest.raises(BadInput):
        supervise(shop, promises.set_target, None, None, *minutes)


def test_before_it_is_late_a_chat_is_raised_once_and_supervisors_are_told(shop: Shop):
    shop.hears("upset")
    assert due(shop).phase == "ok"
    shop.now += timedelta(minutes=46)
    found = due(shop)
    assert (found.phase, found.escalated) == ("soon", True)
    with shop.store.read() as session:
        assert session.get_one(Handling, shop.conversation().id).priority == 2
        risk = promises.risk(session, shop.now)
        assert (risk.conversation_ids, risk.late) == ([shop.conversation().id], 0)
    shop.now += timedelta(minutes=20)
    assert due(shop).phase == "breached"
    assert promises.tend(shop.services) == 0
    with shop.store.read() as session:
        assert promises.risk(session, shop.now).late == 1
        entries = session.scalars(sa.select(AuditEntry)).all()
    assert [(one.what, one.before["priority"], one.after["priority"]) for one in entries] == [
        ("conversation_escalated", 1, 2)
    ]
    shop.takes("Anna")
    shop.answers("Anna", "Sorry for the wait.")
    with shop.store.read() as session:
        assert promises.risk(session, shop.now).conversation_ids == []


def test_what_was_answered_in_time_is_not_raised(shop: Shop):
    shop.hears("upset")
    promises.tend(shop.services)
    shop.takes("Anna")
    shop.answers("Anna", "I'm here.")
    shop.now += timedelta(minutes=55)
    assert promises.tend(shop.services) == 0


def test_at_night_nothing_is_raised(shop: Shop):
    shop.now = datetime(2026, 11, 23, 17, 50, tzinfo=MONDAY_NOON.tzinfo)
    shop.hears("upset")
    promises.tend(shop.services)
    shop.now += timedelta(hours=8)
    assert promises.tend(shop.services) == 0


def test_a_new_priority_is_a_new_promise_and_new_targets_leave_an_old_one(shop: Shop):
    shop.hears("upset")
    before = due(shop)
    supervise(shop, promises.set_target, None, 3, 15, 60)
    assert due(shop) == before
    supervise(shop, care.set_priority, shop.conversation().id, 3, Line.of(shop.services))
    assert due(shop).at == hand_off_at(shop) + timedelta(minutes=15)


def test_each_hand_off_has_its_own_promise(shop: Shop):
    shop.hears("upset")
    promises.tend(shop.services)
    shop.takes("Anna")
    shop.does("Anna", desk.give_back)
    assert due(shop) is None
    shop.now += timedelta(minutes=5)
    shop.hears("upset")
    assert due(shop).at == hand_off_at(shop) + timedelta(hours=1)
    with shop.store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Promise)) == 2


def puts_live(shop: Shop, phrase: str, priority: int) -> None:
    draft = rules.Draft(name=phrase, phrases=(phrase,), priority=priority)
    supervise(shop, lambda session, by, now: rules.save(session, by, draft, now, live=True))


def test_a_priority_that_a_rule_sets_is_a_new_promise_too(shop: Shop):
    supervise(shop, promises.set_target, None, 3, 15, 60)
    puts_live(shop, "broken", 3)
    shop.hears("upset")
    assert due(shop).at == hand_off_at(shop) + timedelta(hours=1)
    shop.writes("it arrived broken")
    assert due(shop).at == hand_off_at(shop) + timedelta(minutes=15)
    before = due(shop)
    supervise(shop, promises.set_target, None, 3, 5, 60)
    shop.writes("quite broken")
    assert due(shop) == before, "the rule was carried out already"


def test_what_was_raised_stays_raised_when_a_rule_makes_it_urgent(shop: Shop):
    puts_live(shop, "broken", 3)
    shop.hears("upset")
    due(shop)
    shop.now += timedelta(minutes=46)
    assert due(shop).escalated
    shop.writes("it arrived broken")
    assert due(shop).escalated
    with shop.store.read() as session:
        assert session.get_one(Handling, shop.conversation().id).priority == 3
        assert promises.risk(session, shop.now).conversation_ids == [shop.conversation().id]
