"""Tags and rules: tried before they are live, carried out once, and never against an agent's hand."""

import pytest
import sqlalchemy as sa

from bot.desk import care, rules, teams
from bot.desk.rules import Draft
from bot.domain.errors import BadInput, Conflict
from bot.store.care import AuditEntry, RuleMatch
from tests.support import Shop


def supervise(shop: Shop, verb, *args, **more):
    robin = shop.agent("Robin")
    with shop.store.unit_of_work() as session:
        return verb(session, session.get_one(type(robin), robin.id), *args, now=shop.now, **more)


def rule(shop: Shop, *phrases: str, live: bool = True, **more):
    draft = Draft(name="a rule", phrases=phrases, **{"tag": "Shipping", **more})
    return supervise(shop, rules.save, draft, live=live)


def seen(shop: Shop, who: str = "mina") -> care.Care:
    with shop.store.read() as session:
        return care.of(session, [shop.conversation(who).id], shop.now)[shop.conversation(who).id]


def tags(shop: Shop, who: str = "mina") -> list[str]:
    return [tag.name for tag in seen(shop, who).tags]


def test_a_message_that_mentions_it_is_tagged_raised_and_sent_to_a_team(shop: Shop):
    team = supervise(shop, teams.add, "Parcels")
    rule(shop, "shipping", "배송", "配送", priority=2, team_id=team.id)
    for who, text in (("a", "What does SHIPPING cost?"), ("b", "배송은 언제 오나요"), ("c", "配送はいつ")):
        shop.writes(text, who)
        assert (tags(shop, who), seen(shop, who).priority, seen(shop, who).team) == (
            ["Shipping"],
            2,
            "Parcels",
        )
    shop.writes("our relationship", "d")
    assert (tags(shop, "d"), seen(shop, "d").priority, seen(shop, "d").team) == ([], 1, None)


def test_a_topic_that_the_bot_has_read_counts_like_a_word(shop: Shop):
    rule(shop, topics=("order_status",), tag="Orders")
    shop.writes("order_status")
    assert tags(shop) == []
    shop.passes(seconds=2)
    assert tags(shop) == ["Orders"]


def test_a_draft_does_nothing_and_a_rule_that_was_stopped_neither(shop: Shop):
    made = rule(shop, "shipping", live=False)
    shop.writes("shipping", "a")
    supervise(shop, rules.save, Draft("a rule", ("shipping",), tag="Shipping"), rule_id=made.id, live=True)
    shop.writes("shipping", "b")
    supervise(shop, rules.stop, made.id)
    shop.writes("shipping", "c")
    supervise(shop, rules.retire, made.id)
    shop.writes("shipping", "d")
    assert [tags(shop, who) for who in "abcd"] == [[], ["Shipping"], [], []]


def test_what_an_agent_takes_off_no_rule_puts_back(shop: Shop):
    made = rule(shop, "shipping", priority=3)
    shop.writes("shipping")
    supervise(shop, care.untag, shop.conversation().id, made.tag_id)
    supervise(shop, care.set_priority, shop.conversation().id, 1, line=promise_line(shop))
    shop.writes("shipping again")
    shop.passes(seconds=2)
    assert (tags(shop), seen(shop).priority) == ([], 1)
    supervise(shop, care.tag, shop.conversation().id, made.tag_id)
    supervise(shop, care.tag, shop.conversation().id, made.tag_id)
    assert tags(shop) == ["Shipping"]


def promise_line(shop: Shop):
    from bot.desk.promises import Line

    return Line.of(shop.services)


def test_a_rule_that_only_tags_leaves_the_priority_and_the_promise_as_they_are(shop: Shop):
    rule(shop, "shipping")
    shop.hears("upset")
    supervise(shop, care.set_priority, shop.conversation().id, 0, line=promise_line(shop))
    promised = seen(shop).due
    shop.passes(minutes=5)
    shop.writes("shipping")
    assert (tags(shop), seen(shop).priority, seen(shop).due) == (["Shipping"], 0, promised)


def test_of_several_rules_the_highest_priority_and_the_first_team_win(shop: Shop):
    first, second = (supervise(shop, teams.add, name) for name in ("First", "Second"))
    rule(shop, "shipping", priority=0, team_id=first.id, tag="A")
    rule(shop, "shipping", priority=3, team_id=second.id, tag="B")
    rule(shop, "shipping", priority=2, tag="C")
    shop.writes("shipping")
    assert (seen(shop).priority, seen(shop).team, tags(shop)) == (3, "First", ["A", "B", "C"])


def test_a_redelivered_message_and_a_turn_decided_twice_carry_a_rule_out_once(shop: Shop):
    rule(shop, "shipping")
    for _ in range(2):
        shop.writes("shipping", external_id="same")
        shop.passes(seconds=2)
    with shop.store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(RuleMatch)) == 1


def test_only_the_channel_that_a_rule_names_counts(shop: Shop):
    rule(shop, "shipping", channel="messenger")
    shop.writes("shipping")
    assert tags(shop) == []


def test_a_trial_shows_what_would_have_matched_and_changes_nothing(shop: Shop):
    for who in "ab":
        shop.writes("What does shipping cost?", who)
        shop.writes("shipping, please", who)
    shop.writes("return_policy", "c")
    with shop.store.read() as session:
        trial = rules.attempt(session, Draft("x", ("shipping",), tag="x"))
    assert (trial.looked_at, trial.messages, trial.conversations) == (5, 4, 2)
    assert {match.why for match in trial.shown} == {"shipping"}
    assert tags(shop, "a") == []


def test_a_trial_knows_topics_of_the_past(shop: Shop):
    shop.hears("order_status", "a")
    shop.hears("return_policy", "b")
    shop.hears("return_policy upset", "c")  # to a person, with the topic
    with shop.store.read() as session:
        trial = rules.attempt(session, Draft("x", topics=("return_policy",), tag="x"))
    assert trial.conversations == 2


@pytest.mark.parametrize(
    ("draft", "problem"),
    [
        (Draft("", ("a",), tag="t"), "name"),
        (Draft("x", (), tag="t"), "when the rule holds"),
        (Draft("x", ("a",)), "what the rule does"),
        (Draft("x", ("*",), tag="t"), r"\* alone"),
        (Draft("x", ("a" * 81,), tag="t"), "80 characters"),
        (Draft("x", ("a",) * 61, tag="t"), "60 words"),
        (Draft("x", ("a",), channel="fax", tag="t"), "channel"),
        (Draft("x", topics=("weather",), tag="t"), "topic"),
        (Draft("x", ("a",), priority=9), "priority"),
        (Draft("x", ("a",), team_id=77), "team"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(shop: Shop, draft: Draft, problem: str):
    with pytest.raises(BadInput, match=problem):
        supervise(shop, rules.save, draft)


def test_a_tag_has_one_name_whatever_its_case_and_stays_while_a_rule_uses_it(shop: Shop):
    made = rule(shop, "shipping")
    again = supervise(shop, rules.add_tag, "  sHIPPING ")
    assert again.id == made.tag_id
    with pytest.raises(Conflict):
        supervise(shop, rules.retire_tag, made.tag_id)
    supervise(shop, rules.retire, made.id)
    supervise(shop, rules.retire_tag, made.tag_id)
    with shop.store.read() as session:
        assert rules.tags(session) == []
    assert supervise(shop, rules.add_tag, "Shipping").id == made.tag_id  # brought back


def test_what_supervisors_do_with_rules_is_on_record(shop: Shop):
    made = rule(shop, "shipping", live=False)
    supervise(shop, rules.save, Draft("a rule", ("delivery",), tag="Shipping"), rule_id=made.id, live=True)
    with shop.store.read() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [one.what for one in entries] == ["tag_add", "rule_add", "rule_change"]
    assert entries[-1].agent == "Robin"
    assert entries[-1].before == {"phrases": ["shipping"], "live": False}
    assert entries[-1].after == {"phrases": ["delivery"], "live": True}


def test_no_rule_sends_to_a_team_that_was_retired(shop: Shop):
    team = supervise(shop, teams.add, "Parcels")
    made = rule(shop, "shipping", team_id=team.id)
    supervise(shop, rules.retire, made.id)
    supervise(shop, teams.retire, team.id)
    with pytest.raises(BadInput, match="no such team"):
        rule(shop, "parcel", team_id=team.id)
