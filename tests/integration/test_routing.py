"""Who gets a waiting conversation, and that none is stuck when an agent leaves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import delivery
from bot.desk import agents, care, conversations, detail, people, presence, routing, teams
from bot.domain.errors import Conflict
from bot.domain.words import Channel, State, Status
from bot.store import queries
from bot.store.care import Assignment, Handling
from bot.store.tables import Agent, Message
from tests.support import Shop, wait_for


def with_routing(shop: Shop, mode: str = "round_robin", **more) -> None:
    shop.services.runtime.care = replace(shop.services.care, routing=mode, **more)


def comes(shop: Shop, *names: str, capacity: int | None = None) -> None:
    """Agents log in and say that they are available."""
    for name in names:
        agent = shop.agent(name)
        with shop.store.unit_of_work() as session:
            agents.open_session(session, agent, shop.now)
            presence.set_available(session, agent.id, True, shop.now)
            presence.set_capacity(session, agent.id, capacity, shop.now)


def waits(shop: Shop, *customers: str) -> None:
    for who in customers:
        shop.now += timedelta(seconds=1)
        shop.hears("upset", who)


def holder(shop: Shop, who: str) -> str | None:
    with shop.store.read() as session:
        found = session.get_one(type(shop.conversation(who)), shop.conversation(who).id)
        return found.agent.name if found.agent else None


def test_nothing_is_given_away_unless_the_team_wants_it(shop: Shop):
    comes(shop, "Anna")
    waits(shop, "a")
    assert routing.work(shop.services) == 0
    assert shop.state("a") is State.WAITING


def test_conversations_go_round_who_waits_longest_first(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna", "Ben")
    waits(shop, "a", "b", "c", "d")
    routing.work(shop.services)
    assert [holder(shop, who) for who in "abcd"] == ["Anna", "Ben", "Anna", "Ben"]
    waits(shop, "e")
    routing.work(shop.services)
    assert holder(shop, "e") == "Anna"
    with shop.store.read() as session:
        kinds = session.execute(sa.select(Assignment.kind, Assignment.reason)).all()
    assert kinds == [("given", "round_robin")] * 5


def test_the_most_urgent_goes_first(shop: Shop):
    with_routing(shop)
    waits(shop, "a", "b")
    with shop.store.unit_of_work() as session:
        session.add(Handling(conversation_id=shop.conversation("b").id, priority=3))
    comes(shop, "Anna", capacity=1)
    routing.work(shop.services)
    assert (holder(shop, "a"), holder(shop, "b")) == (None, "Anna")


def test_nobody_is_given_more_than_they_have_room_for(shop: Shop):
    with_routing(shop, capacity=2)
    comes(shop, "Anna")
    comes(shop, "Ben", capacity=1)
    waits(shop, *"abcde")
    routing.work(shop.services)
    given = [holder(shop, who) for who in "abcde"]
    assert (given.count("Anna"), given.count("Ben"), given.count(None)) == (2, 1, 2)


def test_only_who_is_there_is_given_any(shop: Shop):
    with_routing(shop)
    comes(shop, "Away", "Out", "Silent", "Gone")
    ids = {name: shop.agent(name).id for name in ("Away", "Out", "Gone", "Robin")}
    with shop.store.unit_of_work() as session:
        presence.set_available(session, ids["Away"], False, shop.now)
        session.execute(sa.delete(agents.AgentSession).where(agents.AgentSession.agent_id == ids["Out"]))
        people.deactivate(session, session.get_one(Agent, ids["Robin"]), ids["Gone"], shop.now)
    shop.now += timedelta(minutes=4)
    with shop.store.unit_of_work() as session:
        for name in ("Away", "Out", "Gone"):
            session.execute(
                sa.update(presence.Presence)
                .where(presence.Presence.agent_id == ids[name])
                .values(seen_at=shop.now)
            )
    waits(shop, "a")
    assert routing.work(shop.services) == 0


def test_a_teams_conversation_goes_to_its_members_only(shop: Shop):
    with_routing(shop, "team")
    comes(shop, "Anna", "Ben")
    by, ben = shop.agent("Robin"), shop.agent("Ben")
    with shop.store.unit_of_work() as session:
        robin = session.get_one(Agent, by.id)
        team = teams.add(session, robin, "Parcels", shop.now)
        teams.set_members(session, robin, team.id, {ben.id}, shop.now)
    waits(shop, "a", "b", "c")
    with shop.store.unit_of_work() as session:
        for who in "ab":
            session.add(Handling(conversation_id=shop.conversation(who).id, priority=1, team_id=team.id))
    routing.work(shop.services)
    assert [holder(shop, who) for who in "abc"] == ["Ben", "Ben", "Anna"]


def test_several_workers_at_once_give_each_conversation_once_and_nobody_too_many(shop: Shop):
    with_routing(shop, capacity=3)
    comes(shop, "Anna", "Ben", "Cleo")
    customers = [f"c{number}" for number in range(12)]
    waits(shop, *customers)
    with ThreadPoolExecutor(4) as pool:
        moved = sum(done.result() for done in [pool.submit(routing.work, shop.services) for _ in range(8)])
    given = [holder(shop, who) for who in customers]
    assert moved == 9
    assert sorted(given.count(name) for name in ("Anna", "Ben", "Cleo")) == [3, 3, 3]
    with shop.store.read() as session:
        assert session.scalar(sa.select(sa.func.count(sa.distinct(Assignment.conversation_id)))) == 9
        assert session.scalar(sa.select(sa.func.count()).select_from(Assignment)) == 9


def test_a_conversation_that_an_agent_takes_meanwhile_is_theirs(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna", "Ben")
    waits(shop, *[f"c{n}" for n in range(6)])
    with ThreadPoolExecutor(2) as pool:
        routed = pool.submit(routing.work, shop.services)
        for n in reversed(range(6)):
            try:
                shop.takes("Cleo", f"c{n}")
            except Conflict:
                continue
        routed.result()
    for n in range(6):
        assert shop.state(f"c{n}") is State.AGENT
        assert holder(shop, f"c{n}") in ("Anna", "Ben", "Cleo")


def leaves(shop: Shop, name: str) -> None:
    agent = shop.agent(name)
    with shop.store.unit_of_work() as session:
        session.execute(sa.delete(agents.AgentSession).where(agents.AgentSession.agent_id == agent.id))
        presence.logged_out(session, agent.id, shop.now)


def test_who_logs_out_leaves_nobody_waiting_for_them(shop: Shop):
    comes(shop, "Anna")
    waits(shop, "a", "b")
    for who in "ab":
        shop.takes("Anna", who)
    shop.answers("Anna", "I'll look.", "b")
    leaves(shop, "Anna")
    assert routing.work(shop.services) == 1
    assert (shop.state("a"), holder(shop, "a")) == (State.WAITING, None)
    assert shop.reason("a") == "empathy"  # why it came is still known
    assert holder(shop, "b") == "Anna"  # answered: nobody waits
    shop.writes("and?", "b")
    assert routing.work(shop.services) == 1
    assert shop.state("b") is State.WAITING
    with shop.store.read() as session:
        found = session.execute(sa.select(Assignment.kind, Assignment.reason)).all()
    assert found == [("returned", "left")] * 2


def test_a_conversations_history_says_who_was_given_it_who_left_and_who_took_it(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna")
    waits(shop, "a")
    routing.work(shop.services)
    with_routing(shop, "off")
    shop.passes(minutes=1)
    leaves(shop, "Anna")
    routing.work(shop.services)
    shop.passes(minutes=1)
    shop.takes("Ben", "a")
    agent, talk = shop.agent("Ben"), shop.conversation("a").id
    with shop.store.read() as session:
        done = detail.detail(session, talk, agent, shop.now).done
    assert [
        (one.who, "given" if one.given else "left")
        if isinstance(one, detail.Routed)
        else (one.agent.name, one.deed.value)
        for one in done
    ] == [("Anna", "given"), ("Anna", "left"), ("Ben", "taken")]


def test_with_routing_on_a_left_conversation_goes_to_a_colleague_at_once(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna")
    waits(shop, "a")
    routing.work(shop.services)
    comes(shop, "Ben")
    leaves(shop, "Anna")
    routing.work(shop.services)
    assert holder(shop, "a") == "Ben"


def test_what_was_snoozed_stays_with_its_agent_until_its_time_or_a_new_message(shop: Shop):
    comes(shop, "Anna")
    waits(shop, "a", "b")
    for customer in ("a", "b"):
        shop.takes("Anna", customer)
        until = shop.now + timedelta(hours=12)
        shop.does("Anna", conversations.snooze, customer, until=until, reason="")
    leaves(shop, "Anna")
    assert routing.work(shop.services) == 0
    shop.hears("are you there?", "b")
    assert routing.work(shop.services) == 1
    assert (holder(shop, "a"), holder(shop, "b")) == ("Anna", None)
    shop.now += timedelta(hours=12)
    assert routing.work(shop.services) == 1
    assert shop.conversation("a").snoozed_until is None, "nobody's page hides it"


def test_who_only_closes_the_lid_keeps_their_chats_for_a_while(shop: Shop):
    comes(shop, "Anna")
    waits(shop, "a")
    shop.takes("Anna", "a")
    shop.now += timedelta(minutes=29)
    assert routing.work(shop.services) == 0
    shop.now += timedelta(minutes=2)
    assert routing.work(shop.services) == 1


def test_a_chat_that_the_agent_took_from_the_bot_waits_with_a_reason(shop: Shop):
    comes(shop, "Anna")
    shop.hears("return_policy")
    shop.takes("Anna")
    shop.writes("and the box?")
    leaves(shop, "Anna")
    routing.work(shop.services)
    assert (shop.state(), shop.reason()) == (State.WAITING, "unsure")


def test_an_agent_of_whom_no_presence_is_known_keeps_what_they_hold(shop: Shop):
    waits(shop, "a")
    shop.takes("Anna", "a")
    shop.now += timedelta(days=1)
    assert routing.work(shop.services) == 0


def test_who_was_deactivated_cannot_log_in_and_holds_nobody_up(shop: Shop):
    comes(shop, "Anna")
    waits(shop, "a")
    shop.takes("Anna", "a")
    anna, robin = shop.agent("Anna"), shop.agent("Robin")
    with shop.store.unit_of_work() as session:
        people.deactivate(session, session.get_one(Agent, robin.id), anna.id, shop.now)
    routing.work(shop.services)
    assert shop.state("a") is State.WAITING
    with shop.store.read() as session:
        assert agents.find_agent(session, anna.email) is None


@pytest.mark.parametrize("verb", [people.deactivate, people.set_role])
def test_somebody_is_always_left_to_supervise(shop: Shop, verb):
    robin = shop.agent("Robin")
    with shop.store.unit_of_work() as session:
        session.get_one(Agent, robin.id).role = "supervisor"
    more = {"role": "agent"} if verb is people.set_role else {}
    cleo = shop.agent("Cleo")
    with pytest.raises(Conflict, match="last supervisor"), shop.store.unit_of_work() as session:
        verb(session, session.get_one(Agent, cleo.id), robin.id, now=shop.now, **more)


def test_two_supervisors_cannot_remove_each_other_at_once(shop: Shop):
    ids = [shop.agent(name).id for name in ("Robin", "Sam")]
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Agent).where(Agent.id.in_(ids)).values(role="supervisor"))

    def removes(by: int, whom: int) -> bool:
        try:
            with shop.store.unit_of_work() as session:
                people.deactivate(session, session.get_one(Agent, by), whom, shop.now)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(removes, *pair) for pair in (ids, ids[::-1])]
        assert sorted(one.result() for one in done) == [False, True]


def test_a_waiting_conversation_is_routed_with_the_team_that_an_agent_gave_it(shop: Shop):
    with_routing(shop, "team")
    comes(shop, "Anna", "Ben")
    robin, ben = shop.agent("Robin"), shop.agent("Ben")
    waits(shop, "a")
    with shop.store.unit_of_work() as session:
        by = session.get_one(Agent, robin.id)
        team = teams.add(session, by, "Parcels", shop.now)
        teams.set_members(session, by, team.id, {ben.id}, shop.now)
        care.set_team(session, by, shop.conversation("a").id, team.id, shop.now)
    routing.work(shop.services)
    assert holder(shop, "a") == "Ben"


def team_of(shop: Shop, name: str, *members: str) -> int:
    ids, robin = {shop.agent(member).id for member in members}, shop.agent("Robin")
    with shop.store.unit_of_work() as session:
        by = session.get_one(Agent, robin.id)
        team = teams.add(session, by, name, shop.now)
        teams.set_members(session, by, team.id, ids, shop.now)
        return team.id


def given_to_team(shop: Shop, who: str, team: int, priority: int = 1) -> None:
    with shop.store.unit_of_work() as session:
        session.add(Handling(conversation_id=shop.conversation(who).id, priority=priority, team_id=team))


def test_nothing_is_given_while_the_bot_is_just_speaking_there(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna")
    shop.hears("upset", "a", channel=Channel.MESSENGER, account="page")
    assert delivery.claim(shop.services)
    assert routing.work(shop.services) == 0
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Message).values(status=Status.SENT))
    assert routing.work(shop.services) == 1
    assert holder(shop, "a") == "Anna"


def test_what_a_retired_team_had_is_anybodys(shop: Shop):
    with_routing(shop, "team")
    comes(shop, "Anna")
    team, robin = team_of(shop, "Parcels", "Ben"), shop.agent("Robin")
    waits(shop, "a")
    given_to_team(shop, "a", team)
    assert routing.work(shop.services) == 0
    with shop.store.unit_of_work() as session:
        teams.retire(session, session.get_one(Agent, robin.id), team, shop.now)
    assert routing.work(shop.services) == 1
    assert holder(shop, "a") == "Anna"


def test_a_team_that_is_not_there_holds_nobody_else_up(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routing, "BATCH", 1)
    with_routing(shop, "team")
    comes(shop, "Anna")
    waits(shop, "a", "b")
    given_to_team(shop, "a", team_of(shop, "Parcels", "Ben"), priority=3)
    routing.work(shop.services)
    assert (holder(shop, "a"), holder(shop, "b")) == (None, "Anna")


def test_the_most_urgent_goes_first_though_its_customer_is_just_writing(shop: Shop):
    if shop.store.is_sqlite:
        pytest.skip("SQLite has one writer")
    with_routing(shop)
    waits(shop, "a", "b")
    comes(shop, "Anna", capacity=1)
    with ThreadPoolExecutor(1) as pool:
        with shop.store.unit_of_work() as session:
            assert queries.locked(session, shop.conversation("a").id)
            routed = pool.submit(routing.work, shop.services)
            wait_for(lambda: routed.done() or _somebody_waits(session))
        routed.result()
    assert (holder(shop, "a"), holder(shop, "b")) == ("Anna", None)


def _somebody_waits(session: Session) -> bool:
    return bool(session.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def calls(shop: Shop, name: str, by_page: bool = False) -> None:
    presence.seen(shop.store, shop.agent(name).id, shop.now, by_page)


def test_a_program_that_calls_for_an_agent_is_nobody_who_is_there(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna", "Ben")
    for _ in range(4):  # Anna has closed her desk; a program of hers reads on
        shop.now += timedelta(minutes=1)
        calls(shop, "Anna")
        calls(shop, "Ben", by_page=True)
    waits(shop, "a", "b")
    routing.work(shop.services)
    assert [holder(shop, who) for who in "ab"] == ["Ben", "Ben"]
    calls(shop, "Anna", by_page=True)
    waits(shop, "c")
    routing.work(shop.services)
    assert holder(shop, "c") == "Ben", "she says herself when she is back"


def test_a_program_keeps_the_chats_that_it_works_on_until_it_falls_silent(shop: Shop):
    waits(shop, "a")
    agent = shop.agent("Program")
    with shop.store.unit_of_work() as session:
        agents.open_session(session, agent, shop.now)
    calls(shop, "Program")
    shop.takes("Program", "a")
    for _ in range(8):
        shop.now += timedelta(minutes=5)
        calls(shop, "Program")
    assert routing.work(shop.services) == 0
    shop.now += timedelta(minutes=31)
    assert routing.work(shop.services) == 1


def test_a_program_that_says_so_again_and_again_stays_available(shop: Shop):
    with_routing(shop)
    comes(shop, "Anna")
    agent = shop.agent("Anna")
    for _ in range(3):
        shop.now += timedelta(minutes=2)
        calls(shop, "Anna")
        with shop.store.unit_of_work() as session:
            presence.set_available(session, agent.id, True, shop.now)
    waits(shop, "a")
    routing.work(shop.services)
    assert holder(shop, "a") == "Anna"
