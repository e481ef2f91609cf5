"""Two agents, one chat; and one customer on several channels."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from bot import courtesy
from bot.channels.graph import Answer, Outcome
from bot.courtesy import Guest
from bot.desk import audit, contacts, detail, looking, saved, stream
from bot.desk import conversations as desk
from bot.desk.wording import words
from bot.desk.words import LANGUAGES, said
from bot.domain.errors import BadInput, Conflict, Held, NotAllowed, NotFound
from bot.domain.words import Channel, Ending, State
from bot.filing import Kind
from bot.store import queries
from bot.store.care import AuditEntry
from bot.store.desk_tables import Act, Deed
from bot.store.tables import Agent, Contact, Conversation, Event, Identity
from tests.support import Shop


def acts(shop: Shop) -> list[tuple[Deed, str, str | None]]:
    with shop.store.read() as session:
        query = sa.select(Act).where(Act.conversation_id == shop.conversation().id).order_by(Act.id)
        return [
            (one.deed, one.agent.name, one.other.name if one.other else None)
            for one in session.scalars(query)
        ]


def test_taking_over_is_explicit_and_recorded(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    with pytest.raises(Held):
        shop.takes("Ben")
    shop.does("Ben", desk.take_over)
    with pytest.raises(Held):
        shop.answers("Anna", "I was just about to …")
    shop.answers("Ben", "Hello, I'm Ben.")
    assert acts(shop) == [(Deed.TAKEN, "Anna", None), (Deed.TAKEN_OVER, "Ben", "Anna")]


def test_there_must_be_somebody_to_take_over_from(shop: Shop):
    shop.hears("upset")
    with pytest.raises(Conflict):
        shop.does("Ben", desk.take_over)
    shop.does("Ben", desk.resolve)
    with pytest.raises(Conflict):
        shop.does("Ben", desk.take_over)


def test_a_conversation_is_handed_to_a_colleague_with_a_note(shop: Shop):
    ben = shop.agent("Ben")
    shop.hears("upset")
    with pytest.raises(NotAllowed):
        shop.does("Anna", desk.hand, to=ben.id, note="")
    shop.takes("Anna")
    shop.does("Anna", desk.hand, to=ben.id, note="She speaks Korean.")
    assert shop.conversation().agent_id == ben.id
    with shop.store.read() as session:
        assert session.scalars(sa.select(Act.text).order_by(Act.id)).all()[-1] == "She speaks Korean."
    for to in (ben.id, 999):
        with pytest.raises((BadInput, Held)):
            shop.does("Ben", desk.hand, to=to, note="")


def test_nothing_is_handed_to_who_has_left_the_team(shop: Shop):
    ben = shop.agent("Ben")
    shop.hears("upset")
    shop.takes("Anna")
    with shop.store.unit_of_work() as session:
        session.get_one(Agent, ben.id).deactivated_at = shop.now
    with pytest.raises(BadInput):
        shop.does("Anna", desk.hand, to=ben.id, note="")
    with shop.store.read() as session:
        assert stream.colleagues(session, shop.agent("Anna")) == []


def test_what_agents_do_with_each_others_chats_is_in_the_audit_trail(shop: Shop):
    ben = shop.agent("Ben")
    shop.hears("upset")
    shop.takes("Anna")
    shop.does("Anna", desk.hand, to=ben.id, note="Back on Monday.")
    shop.does("Anna", desk.take_over)
    shop.does("Anna", desk.resolve)
    shop.does("Anna", desk.reopen)
    with shop.store.read() as session:
        trail = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [one.what.removeprefix("conversation_") for one in trail] == [
        "take", "hand", "take_over", "resolve", "reopen",
    ]  # fmt: skip
    assert trail[1].after == {"agent": "Ben"}
    assert trail[2].before == {"agent": "Ben"}
    assert "Monday" not in str([(one.before, one.after) for one in trail])
    assert shop.conversation().ending is None
    for language in LANGUAGES:
        assert all(one.what in str(words(language)["audit"]) for one in trail)


def test_what_was_resolved_by_mistake_is_opened_again_as_it_was(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.does("Anna", desk.resolve)
    with pytest.raises(Conflict):
        shop.does("Ben", desk.reopen)
    shop.does("Anna", desk.reopen)
    assert (shop.state(), shop.reason()) == (State.AGENT, "empathy")
    shop.answers("Anna", "One more thing.")


def test_it_is_not_opened_again_later_nor_beside_a_new_one(shop: Shop):
    shop.hears("upset", "late")
    shop.does("Anna", desk.resolve, "late")
    shop.now += desk.UNDO + timedelta(seconds=1)
    with pytest.raises(Conflict):
        shop.does("Anna", desk.reopen, "late")
    shop.hears("upset")
    shop.does("Anna", desk.resolve)
    first = shop.conversation().id
    shop.writes("hello again")
    anna = shop.agent("Anna")
    with shop.store.unit_of_work() as session, pytest.raises(Conflict):
        desk.reopen(session, first, session.get_one(Agent, anna.id), shop.now)


def others(shop: Shop, who: str) -> list[looking.Other]:
    agent, talk = shop.agent(who), shop.conversation().id
    with shop.store.read() as session:
        return looking.others(session, talk, agent, shop.now)


def look(shop: Shop, who: str, conversation: int | None, types: bool = False) -> None:
    agent = shop.agent(who)
    with shop.store.unit_of_work() as session:
        looking.look(session, session.get_one(Agent, agent.id), conversation, types, shop.now)


def test_colleagues_see_who_looks_and_who_writes(shop: Shop):
    shop.hears("upset")
    talk = shop.conversation().id
    look(shop, "Anna", talk)
    assert others(shop, "Ben") == [looking.Other("Anna", False)]
    assert others(shop, "Anna") == []
    look(shop, "Anna", talk, types=True)
    assert others(shop, "Ben") == [looking.Other("Anna", True)]
    shop.now += looking.TYPING
    assert others(shop, "Ben") == [looking.Other("Anna", False)]
    shop.now += looking.GONE
    assert others(shop, "Ben") == []
    look(shop, "Anna", talk)
    look(shop, "Anna", None)
    assert others(shop, "Ben") == []


def test_only_a_change_of_who_looks_is_told(shop: Shop):
    shop.hears("upset")
    talk, before = shop.conversation().id, len(shop.events())
    for types in (False, False, True, True, False):
        look(shop, "Anna", talk, types)
    assert len(shop.events()) == before + 3
    look(shop, "Anna", 999)
    look(shop, "Anna", None)
    assert len(shop.events()) == before + 4


def on_two_channels(shop: Shop) -> tuple[int, int]:
    """Mina, known in the web chat, and somebody on Messenger: their contacts' ids."""
    shop.writes("hello", "web", email="mina@example.com", name="Mina")
    shop.writes("hi", "m", channel=Channel.MESSENGER, account="page")
    return shop.conversation("web").contact_id, shop.conversation("m").contact_id


def joined(shop: Shop, verb: object, *given: int) -> int:
    agent = shop.agent("Anna")
    with shop.store.unit_of_work() as session:
        found = verb(session, *given, session.get_one(Agent, agent.id), shop.now)  # type: ignore[operator]
        session.flush()
        return int(found.id)


def test_two_contacts_become_one_with_all_that_they_have(shop: Shop):
    mina, stranger = on_two_channels(shop)
    joined(shop, contacts.merge, stranger, mina)
    agent, talk = shop.agent("Anna"), shop.conversation("m").id
    with shop.store.read() as session:
        it = detail.detail(session, talk, agent, shop.now)
    assert {one.channel for one in it.identities} == {Channel.WEB, Channel.MESSENGER}
    assert (it.row.contact, it.conversation.contact.email) == ("Mina", "mina@example.com")
    assert [one.id for one in it.earlier] == [shop.conversation("web").id]
    shop.writes("again", "another-session", email="mina@example.com")
    with shop.store.read() as session:
        found = session.scalars(sa.select(Identity).where(Identity.thread == "another-session")).one()
    assert found.contact_id == stranger, "the shop's log-in finds who stayed"


def test_a_merge_can_be_undone_and_takes_along_what_was_said_since(shop: Shop):
    mina, stranger = on_two_channels(shop)
    note = joined(shop, lambda s, c, a, now: contacts.add_note(s, c, a, "Likes oak.", now), mina)
    merge = joined(shop, contacts.merge, stranger, mina)
    shop.does("Anna", desk.resolve, "web")
    shop.writes("a new matter", "web")
    joined(shop, contacts.undo, merge)
    assert shop.conversation("web").contact_id == mina
    assert len(shop.conversations("web")) == 2
    with shop.store.read() as session:
        assert session.get_one(Contact, mina).email == "mina@example.com"
        assert session.get_one(Contact, stranger).email is None
        assert session.get_one(contacts.ContactNote, note).contact_id == mina
    with pytest.raises(Conflict):
        joined(shop, contacts.undo, merge)


def test_two_open_conversations_on_one_channel_keep_a_merge_from_happening(shop: Shop):
    shop.writes("hello", "one")
    shop.writes("hello", "two")
    pair = shop.conversation("one").contact_id, shop.conversation("two").contact_id
    with pytest.raises(Conflict, match="resolve one first"):
        joined(shop, contacts.merge, *pair)
    shop.does("Anna", desk.resolve, "two")
    joined(shop, contacts.merge, *pair)
    assert shop.conversation("two").contact_id == pair[0]


def test_a_channel_is_split_off_and_put_back(shop: Shop):
    mina, stranger = on_two_channels(shop)
    with shop.store.read() as session:
        identity = session.scalars(sa.select(Identity.id).where(Identity.thread == "m")).one()
    with pytest.raises(BadInput):
        joined(shop, contacts.split, stranger, identity)
    joined(shop, contacts.merge, mina, stranger)
    split = joined(shop, contacts.split, mina, identity)
    fresh = shop.conversation("m").contact_id
    assert fresh not in (mina, stranger)
    with shop.store.read() as session:
        assert session.get_one(Contact, fresh).email is None, "what was proven stays where it was"
    joined(shop, contacts.undo, split)
    assert shop.conversation("m").contact_id == mina


def test_a_merge_upon_which_another_was_built_is_not_undone(shop: Shop):
    mina, stranger = on_two_channels(shop)
    shop.writes("hi", "i", channel=Channel.INSTAGRAM, account="instagram:1")
    first = joined(shop, contacts.merge, mina, stranger)
    joined(shop, contacts.merge, mina, shop.conversation("i").contact_id)
    with pytest.raises(Conflict):
        joined(shop, contacts.undo, first)


def test_nobody_merges_what_is_not_there(shop: Shop):
    mina, _ = on_two_channels(shop)
    with pytest.raises(NotFound):
        joined(shop, contacts.merge, mina, 999)
    with pytest.raises(BadInput):
        joined(shop, contacts.merge, mina, mina)


def test_contacts_are_found_by_name_e_mail_and_order(shop: Shop):
    mina, stranger = on_two_channels(shop)
    with shop.store.read() as session:
        assert [one.id for one in contacts.find(session, "min", stranger)] == [mina]
        assert [one.id for one in contacts.find(session, "mina@example.com", stranger)] == [mina]
        assert contacts.find(session, "mina", mina) == []
        assert contacts.find(session, "?", stranger) == []


def test_a_contacts_note_is_deleted_by_its_author_alone(shop: Shop):
    mina, _ = on_two_channels(shop)
    note = joined(shop, lambda s, c, a, now: contacts.add_note(s, c, a, "Likes oak.", now), mina)
    anna, ben = shop.agent("Anna").id, shop.agent("Ben").id
    with shop.store.unit_of_work() as session, pytest.raises(NotAllowed):
        contacts.delete_note(session, note, session.get_one(Agent, ben), shop.now)
    with shop.store.unit_of_work() as session:
        contacts.delete_note(session, note, session.get_one(Agent, anna), shop.now)
    with shop.store.read() as session:
        entry = audit.listed(session, what="contact_note_delete")[0]
    assert (entry.agent, entry.before) == ("Anna", {"customer": mina})
    assert "oak" not in f"{entry.subject}{entry.before}{entry.after}"


def test_a_saved_reply_is_changed_by_its_author_and_by_supervisors_and_never_over_a_colleagues_change(
    shop: Shop,
):
    texts = {"en": "Hello {name}", "ko": ""}
    ids = [shop.agent(name).id for name in ("Anna", "Ben")]
    with shop.store.unit_of_work() as session:
        anna, ben = (session.get_one(Agent, one) for one in ids)
        reply = saved.create(session, anna, "Greeting", texts, shop.now)
        session.flush()
        with pytest.raises(NotAllowed):
            saved.change(session, reply.id, ben, "Mine", texts, 1, shop.now)
        ben.role = "supervisor"
        saved.change(session, reply.id, ben, "Hello", {"en": "Hi {name}"}, 1, shop.now)
        with pytest.raises(Conflict):
            saved.change(session, reply.id, anna, "Greeting", texts, 1, shop.now)
        assert (reply.name, reply.texts) == ("Hello", {"en": "Hi {name}"})
        saved.delete(session, reply.id, anna, shop.now)


@pytest.mark.parametrize(
    ("name", "texts"),
    [("", {"en": "x"}), ("n" * 121, {"en": "x"}), ("n", {}), ("n", {"en": " "}), ("n", {"en": "{secret}"}),
     ("n", {"en": "x" * 4001}), ("n", {"fr": "bonjour"})],
)  # fmt: skip
def test_a_saved_reply_that_nobody_could_use_is_refused(shop: Shop, name: str, texts: dict[str, str]):
    agent = shop.agent("Anna")
    with shop.store.unit_of_work() as session, pytest.raises(BadInput):
        saved.create(session, session.get_one(Agent, agent.id), name, texts, shop.now)


def trail(shop: Shop) -> list[AuditEntry]:
    with shop.store.read() as session:
        return list(session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)))


def test_who_changes_what_everybody_answers_with_is_on_record(shop: Shop):
    agent = shop.agent("Anna").id
    with shop.store.unit_of_work() as session:
        anna = session.get_one(Agent, agent)
        reply = saved.create(session, anna, "Greeting", {"en": "Hello", "ko": "안녕하세요"}, shop.now)
        session.flush()
        saved.change(session, reply.id, anna, "Greeting", {"en": "Hi", "ko": "안녕하세요"}, 1, shop.now)
        saved.delete(session, reply.id, anna, shop.now)
    assert [(one.what, one.agent, one.subject, one.before, one.after) for one in trail(shop)] == [
        ("reply_add", "Anna", "Greeting", None, {"name": "Greeting", "en": "Hello", "ko": "안녕하세요"}),
        ("reply_change", "Anna", "Greeting", {"en": "Hello"}, {"en": "Hi"}),
        ("reply_delete", "Anna", "Greeting", {"name": "Greeting", "en": "Hi", "ko": "안녕하세요"}, None),
    ]
    for language in LANGUAGES:
        assert all(one.what in words(language)["audit"]["words"] for one in trail(shop))


def test_who_makes_one_customer_of_two_is_on_record_and_no_name_with_it(shop: Shop):
    mina, stranger = on_two_channels(shop)
    merge = joined(shop, contacts.merge, mina, stranger)
    joined(shop, contacts.undo, merge)
    joined(shop, contacts.merge, mina, stranger)
    joined(shop, contacts.split, mina, shop.conversation("m").identity_id)
    fresh = shop.conversation("m").contact_id
    assert [(one.what, one.after["kind"], one.after["other"]) for one in trail(shop) if one.after] == [
        ("contact_merge", "merge", stranger),
        ("contact_undo", "merge", stranger),
        ("contact_merge", "merge", stranger),
        ("contact_split", "split", fresh),
    ]
    assert {(one.subject, one.agent) for one in trail(shop)} == {(f"#{shop.conversation('m').id}", "Anna")}
    assert "mina" not in str([(one.before, one.after) for one in trail(shop)]).lower()
    for language in LANGUAGES:
        assert all(one.what in words(language)["audit"]["words"] for one in trail(shop))


def test_variables_are_filled_in_and_what_is_not_known_stays_to_be_seen():
    text = saved.filled("Hi {name}, {order} is {status}. {Other}", {"name": "Mina", "order": None})
    assert text == "Hi Mina, {order} is {status}. {Other}"
    assert saved.unfilled(text) == ["order", "status"]


def test_after_a_merge_nobody_reads_in_one_session_what_was_said_in_another(shop: Shop):
    shop.writes("hello", "a")
    shop.writes("hello", "b")
    a, b = shop.conversation("a"), shop.conversation("b")
    with shop.store.unit_of_work() as session:
        queries.close(session, session.get_one(Conversation, b.id), shop.now, Ending.SILENT)
    joined(shop, contacts.merge, a.contact_id, b.contact_id)
    shop.writes("for b's eyes", "b")
    with shop.store.read() as session:
        told = session.scalars(sa.select(Event).order_by(Event.id.desc()).limit(1)).one()
        open_ones = session.scalars(sa.select(Conversation).where(Conversation.state != State.CLOSED)).all()
        assert {one.identity.thread for one in open_ones} == {"a", "b"}
        assert len({one.contact_id for one in open_ones}) == 2
    assert told.stream == "web/b"
    assert "for b's eyes" not in [message.text for message in shop.messages("a")]


@pytest.mark.parametrize("second", [{"email": "mina@example.com"}, {}])
def test_a_conversation_moves_along_only_with_a_customer_whom_the_shop_vouches_for_twice(
    shop: Shop, second: dict[str, str]
):
    shop.writes("on the train", "phone", email="mina@example.com")
    mina = shop.conversation("phone")
    with shop.store.unit_of_work() as session:
        contact = session.get_one(Contact, mina.contact_id)
        session.add(
            Identity(contact=contact, channel=Channel.WEB, account="web", thread="desk", created_at=shop.now)
        )
    shop.writes("at home", "desk", **second)
    with shop.store.read() as session:
        open_ones = session.scalars(sa.select(Conversation).where(Conversation.state != State.CLOSED)).all()
        threads = {one.identity.thread for one in open_ones}
    assert threads == ({"desk"} if second else {"phone", "desk"})


def on_one_page(shop: Shop) -> tuple[int, int]:
    """Two people on Messenger, merged by mistake while only a's conversation was open: their conversations."""
    for who in "ab":
        shop.hears("upset", who, channel=Channel.MESSENGER, account="page")
    a, b = shop.conversation("a"), shop.conversation("b")
    shop.does("Ben", desk.resolve, "b")
    joined(shop, contacts.merge, a.contact_id, b.contact_id)
    return a.id, b.id


def test_after_a_mistaken_merge_what_happens_in_one_chat_changes_nothing_in_the_other(shop: Shop):
    on_one_page(shop)
    page = {"channel": Channel.MESSENGER, "account": "page"}
    before = len(shop.events())
    shop.now += timedelta(minutes=1)
    shop.writes("", "b", kind=Kind.THREAD, owner="other", **page)
    assert shop.state("a") is State.WAITING, "nobody elsewhere answers a"
    shop.writes("", "b", kind=Kind.READ, until=shop.now.isoformat(), **page)
    shop.writes("", "b", kind=Kind.DELIVERED, until=shop.now.isoformat(), **page)
    shop.writes("", "b", kind=Kind.REFERRAL, referral={"ref": "ad"}, **page)
    assert len(shop.events()) == before
    shop.writes("", "a", kind=Kind.THREAD, owner="other", **page)
    shop.writes("", "b", kind=Kind.THREAD, owner="us", **page)
    assert (shop.state("a"), shop.conversation("a").agent_id) == (State.AGENT, None)
    shop.writes("", "a", kind=Kind.THREAD, owner="us", **page)
    assert shop.state("a") is State.BOT


def test_a_name_that_the_channel_tells_is_shown_in_its_own_chat(shop: Shop):
    a, _ = on_one_page(shop)
    with shop.store.read() as session:
        b = session.scalars(sa.select(Identity).where(Identity.thread == "b")).one()
    before = shop.events()[-1].id
    courtesy._named(shop.services, Guest(b.id, "page", "b", shop.now), Answer(Outcome.SENT, ""), "Bora")
    assert [one for one in shop.events() if one.id > before and one.conversation_id == a] == []


def test_a_merge_is_not_undone_into_two_open_conversations_on_one_channel(shop: Shop):
    shop.writes("hello", "one")
    shop.writes("hello", "two")
    one, two = shop.conversation("one").contact_id, shop.conversation("two").contact_id
    shop.does("Anna", desk.resolve, "one")
    merge = joined(shop, contacts.merge, one, two)
    with shop.store.unit_of_work() as session:
        left = session.get_one(Contact, two)
        tab = Identity(contact=left, channel=Channel.WEB, account="web", thread="tab", created_at=shop.now)
        session.add(tab)
    shop.writes("hello", "tab")
    with pytest.raises(Conflict, match="resolve one first"):
        joined(shop, contacts.undo, merge)
    shop.does("Anna", desk.resolve, "tab")
    joined(shop, contacts.undo, merge)
    assert shop.conversation("two").contact_id == two


def test_who_writes_between_the_look_and_the_change_is_a_conflict_and_no_failure(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    shop.hears("upset", "one")
    shop.hears("upset", "two")
    pair = shop.conversation("one").contact_id, shop.conversation("two").contact_id
    monkeypatch.setattr(contacts, "_check_free", lambda *_: None)
    with pytest.raises(Conflict, match="just now"):
        joined(shop, contacts.merge, *pair)
    shop.does("Anna", desk.resolve, "one")
    first = shop.conversation("one").id
    shop.writes("me again", "one")
    monkeypatch.setattr(queries, "open_conversation", lambda *_: None)
    agent = shop.agent("Anna").id
    with pytest.raises(Conflict, match="just now"), shop.store.unit_of_work() as session:
        desk.reopen(session, first, session.get_one(Agent, agent), shop.now)
    for language in set(LANGUAGES) - {"en"}:
        said_there = said(
            Conflict("The customer has written just now. Look at it, then try again."), language
        )
        assert "customer" not in said_there
