"""The stream of all conversations: views, filters, search and pages, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from bot.desk import conversations as desk
from bot.desk import snoozing, stream
from bot.desk.snoozing import Pause
from bot.desk.stream import Filters, View
from bot.domain.errors import BadInput
from bot.domain.hours import Hours
from bot.domain.words import Channel, Reason, State
from bot.store.search import terms
from bot.store.tables import Agent, Contact, Conversation
from tests.support import Shop


def listed(shop: Shop, view: View, who: str = "Anna", **more: object) -> stream.Listed:
    agent = shop.agent(who)
    before, limit = more.pop("before", None), more.pop("limit", stream.PAGE)
    with shop.store.read() as session:
        return stream.listed(session, agent, view, shop.now, Filters(**more), before, limit)  # type: ignore[arg-type]


def names(shop: Shop, view: View, **more: object) -> list[str]:
    """The threads of a view's conversations, in its order."""
    ids = [row.id for row in listed(shop, view, **more).rows]
    with shop.store.read() as session:
        return [session.get_one(Conversation, one).identity.thread for one in ids]


def test_each_view_shows_its_conversations_and_all_shows_all(shop: Shop):
    shop.hears("return_policy", "bot")
    shop.hears("upset", "waits")
    shop.hears("upset", "mine")
    shop.takes("Anna", "mine")
    shop.hears("upset", "done")
    shop.does("Anna", desk.resolve, "done")
    assert names(shop, View.BOT) == ["bot"]
    assert names(shop, View.WAITING) == ["waits"]
    assert names(shop, View.MINE) == ["mine"]
    assert names(shop, View.CLOSED) == ["done"]
    assert names(shop, View.ALL) == ["done", "mine", "waits", "bot"]
    assert names(shop, View.MINE, who="Ben") == []


def test_who_waits_longest_comes_first(shop: Shop):
    for who in ("first", "second", "third"):
        shop.hears("upset", who)
        shop.passes(minutes=1)
    shop.writes("and another thing", "first")
    assert names(shop, View.WAITING) == ["first", "second", "third"]


def test_of_mine_those_that_wait_for_an_answer_come_first(shop: Shop):
    for who in ("answered", "asks"):
        shop.hears("upset", who)
        shop.takes("Anna", who)
    shop.answers("Anna", "There you are.", "answered")
    shop.passes(minutes=1)
    shop.writes("hello?", "asks")
    assert names(shop, View.MINE) == ["asks", "answered"]


def test_filters_narrow_a_view_and_can_be_combined(shop: Shop):
    shop.hears("upset", "a")
    shop.hears("ask_person", "b")
    shop.hears("ask_person", "c", channel=Channel.MESSENGER, account="page")
    shop.takes("Ben", "b")
    assert names(shop, View.ALL, reason=Reason.ASKED) == ["c", "b"]
    assert names(shop, View.ALL, reason=Reason.ASKED, channel=Channel.MESSENGER) == ["c"]
    assert names(shop, View.WAITING, reason=Reason.EMPATHY) == ["a"]
    assert names(shop, View.ALL, agent=shop.agent("Ben").id) == ["b"]
    shop.does("Ben", desk.resolve, "b")
    assert names(shop, View.CLOSED, agent=shop.agent("Ben").id) == ["b"], "who handled it, once it is closed"


def test_pages_by_key_show_each_conversation_once_while_new_ones_arrive(shop: Shop):
    for number in range(7):
        shop.hears("return_policy", f"c{number}")
    seen, before = [], None
    while True:
        found = listed(shop, View.ALL, limit=2, before=before)
        seen += [row.id for row in found.rows]
        shop.hears("return_policy", f"late{len(seen)}")
        before = found.more
        if before is None:
            break
    with shop.store.read() as session:
        threads = [session.get_one(Conversation, one).identity.thread for one in seen]
    assert threads == [f"c{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("key", ["x", "2026-11-23_1", "2026-11-23T00:00:00+00:00_-1", "_", "1_2_3", "9" * 30])
def test_a_key_that_is_not_ours_is_refused(shop: Shop, key: str):
    with pytest.raises(BadInput):
        listed(shop, View.ALL, before=key)


@pytest.mark.parametrize("key", ["2_2026-11-23T00:00:00+00:00_1", "2026-11-23T00:00:00+00:00_1", "0_1", "x"])
def test_a_key_of_mine_that_is_not_ours_is_refused(shop: Shop, key: str):
    with pytest.raises(BadInput):
        listed(shop, View.MINE, before=key)


def test_mine_is_paged_by_key_those_that_wait_for_an_answer_first(shop: Shop):
    for number in range(5):
        shop.hears("upset", f"c{number}")
        shop.takes("Anna", f"c{number}")
        shop.passes(seconds=1)
    for number in (0, 3):
        shop.answers("Anna", "There you are.", f"c{number}")
    whole = names(shop, View.MINE)
    seen, before = [], None
    while True:
        found = listed(shop, View.MINE, limit=2, before=before)
        seen += [row.id for row in found.rows]
        before = found.more
        if before is None:
            break
    with shop.store.read() as session:
        assert [session.get_one(Conversation, one).identity.thread for one in seen] == whole
    assert whole == ["c1", "c2", "c4", "c0", "c3"]


SAID = {
    "en": "Can I return the café lamp?",
    "ko": "환불은 언제쯤 받을 수 있을까요",
    "ja": "返品したいのですが送料はかかりますか",
}


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        ("lamp", ["en"]), ("LAMP return", ["en"]), ("lam", ["en"]), ("cafe", ["en"]), ("amp", []),
        ("환불", ["ko"]), ("환불은 언제", ["ko"]), ("불", ["ko"]), ("불은", ["ko"]), ("환은", []),
        ("返品", ["ja"]), ("送料", ["ja"]), ("料", ["ja"]), ("料は", ["ja"]), ("料品", []),
        ("?!", []), ("lamp AND (", []), ('"', []), ("'; DROP TABLE message", []), ("* OR NEAR(", []),
    ],
)  # fmt: skip
def test_search_finds_what_was_said_in_any_script(shop: Shop, text: str, finds: list[str]):
    for who, said in SAID.items():
        shop.writes(said, who)
    assert names(shop, View.ALL, text=text) == finds


def test_search_finds_a_contact_by_name_and_e_mail_and_the_owner_of_an_order(shop: Shop):
    from datetime import date

    from bot.store.tables import Order

    shop.writes("hello", "mina", email="mina@example.com", name="김민아")
    shop.writes("hello", "other")
    with shop.store.unit_of_work() as session:
        session.add(
            Order(number="10023", email="mina@example.com", name="Mina", status="shipped", items="Lamp",
                  placed_at=date(2026, 11, 1))
        )  # fmt: skip
    for text in ("민아", "mina@example.com", "#10023"):
        assert names(shop, View.ALL, text=text) == ["mina"]
    with shop.store.unit_of_work() as session:
        session.scalars(sa.select(Contact)).first().name = "Jonas"
    assert names(shop, View.ALL, text="민아") == []
    assert names(shop, View.ALL, text="jonas") == ["mina"]


def test_what_was_taken_back_or_edited_is_not_found_any_more(shop: Shop):
    shop.writes(
        "my password is swordfish", "mina", channel=Channel.MESSENGER, account="page", external_id="m1"
    )
    assert names(shop, View.ALL, text="swordfish") == ["mina"]
    from bot import inbox

    event = inbox.Incoming(
        channel=Channel.MESSENGER, account="page", thread="mina", external_id="m1-unsent",
        kind=inbox.Kind.UNSENT, payload={}, at=shop.now, about="m1",
    )  # fmt: skip
    inbox.accept(shop.store, [event], shop.now)
    shop.file()
    assert names(shop, View.ALL, text="swordfish") == []


def test_a_search_is_paged_and_finds_each_conversation_once(shop: Shop):
    for number in range(5):
        shop.writes("the lamp", f"c{number}")
        shop.writes("the lamp again", f"c{number}")
    seen, before = [], None
    while True:
        found = listed(shop, View.ALL, text="lamp", limit=2, before=before)
        seen += [row.id for row in found.rows]
        before = found.more
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 5


def test_a_search_that_has_looked_at_many_messages_goes_on_from_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "CHUNK", 2)
    monkeypatch.setattr(stream, "CHUNKS", 2)
    shop.writes("the lamp", "first")
    for _ in range(9):
        shop.writes("the lamp", "second", channel=Channel.MESSENGER, account="page")
    pages, before = [], None
    while True:
        found = listed(shop, View.ALL, text="lamp", channel=Channel.WEB, before=before)
        pages.append(len(found.rows))
        before = found.more
        if before is None:
            break
    assert pages == [0, 0, 1]


def test_terms_are_words_or_pairs_of_characters():
    assert terms("Größe 환불해 XL-42 ﾃｽﾄ") == [
        "große",
        "환불",
        "불해",
        "해",
        "xl",
        "42",
        "テス",
        "スト",
        "ト",
    ]


def test_unread_marks_are_each_agents_own(shop: Shop):
    shop.hears("upset")
    (row,) = listed(shop, View.WAITING).rows
    assert row.unread
    anna = shop.agent("Anna")
    with shop.store.unit_of_work() as session:
        assert stream.mark_seen(session, anna, row.id, shop.now)
        session.flush()
        assert not stream.mark_seen(session, anna, row.id, shop.now)
    assert not listed(shop, View.WAITING).rows[0].unread
    assert listed(shop, View.WAITING, who="Ben").rows[0].unread
    shop.writes("hello?")
    assert listed(shop, View.WAITING).rows[0].unread


def test_a_note_that_names_a_colleague_brings_it_to_them(shop: Shop):
    shop.agent("Ben")
    shop.agent("민수")
    shop.hears("upset")
    shop.does("Anna", desk.note, client_id="n", text="@ben please look, cc @민수님, not me@benelux.example")
    for who in ("Ben", "민수"):
        assert len(listed(shop, View.MENTIONS, who=who).rows) == 1
        assert mentions(shop, who) == 1
    assert listed(shop, View.MENTIONS).rows == []
    ben, talk = shop.agent("Ben"), shop.conversation().id
    with shop.store.unit_of_work() as session:
        stream.mark_seen(session, ben, talk, shop.now)
    assert mentions(shop, "Ben") == 0


def test_a_note_brings_it_to_whom_it_names_in_full_and_to_nobody_who_has_left(shop: Shop):
    for name in ("Ben", "Ben-Lee", "Cleo"):
        shop.agent(name)
    with shop.store.unit_of_work() as session:
        session.execute(sa.update(Agent).where(Agent.name == "Cleo").values(deactivated_at=shop.now))
    shop.hears("upset")
    shop.does("Anna", desk.note, client_id="n", text="@Ben-Lee, @Cleo: please look")
    assert [mentions(shop, who) for who in ("Ben", "Ben-Lee", "Cleo")] == [0, 1, 0]


def mentions(shop: Shop, who: str) -> int:
    agent = shop.agent(who)
    with shop.store.read() as session:
        return stream.counts(session, agent, shop.now)[View.MENTIONS]


def test_a_snoozed_conversation_is_out_of_sight_until_its_time(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    until = shop.now + timedelta(hours=1)
    shop.does("Anna", desk.snooze, until=until, reason="the carrier calls back")
    assert (names(shop, View.MINE), names(shop, View.SNOOZED)) == ([], ["mina"])
    shop.passes(minutes=61)
    assert (names(shop, View.MINE), names(shop, View.SNOOZED)) == (["mina"], [])


def test_what_was_snoozed_comes_back_by_itself_and_pages_are_told(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.does("Anna", desk.snooze, until=shop.now + timedelta(hours=1), reason="")
    assert snoozing.wake_due(shop.store, shop.now) == 0
    before = len(shop.events())
    shop.passes(hours=1)
    assert snoozing.wake_due(shop.store, shop.now) == 1
    assert snoozing.wake_due(shop.store, shop.now) == 0
    assert len(shop.events()) == before + 1


@pytest.mark.parametrize(
    ("pause", "comes_back"),
    [
        (Pause.HOUR, "2026-11-27T18:30"),
        (Pause.HOURS, "2026-11-27T20:30"),
        (Pause.TOMORROW, "2026-11-28T10:00"),
        (Pause.WEEK, "2026-11-30T08:30"),
    ],
)
def test_a_morning_begins_when_the_desk_opens(pause: Pause, comes_back: str):
    friday = datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    hours = Hours.parse("Mon-Fri 08:30-18:00, Sat 10:00-14:00")
    assert snoozing.moment_of(pause, friday, hours) == datetime.fromisoformat(comes_back + "+00:00")


def test_a_customers_word_wakes_what_was_snoozed(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.does("Anna", desk.snooze, until=shop.now + timedelta(hours=1), reason="")
    shop.writes("hello?")
    assert names(shop, View.MINE) == ["mina"]


def test_what_was_snoozed_and_is_resolved_by_mistake_is_in_sight_again_when_that_is_undone(shop: Shop):
    shop.hears("upset")
    shop.takes("Anna")
    shop.does("Anna", desk.snooze, until=shop.now + timedelta(hours=1), reason="")
    shop.does("Anna", desk.resolve)
    shop.does("Anna", desk.reopen)
    assert (names(shop, View.MINE), names(shop, View.SNOOZED)) == (["mina"], [])


def test_a_count_stops_at_many(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "MANY", 2)
    for who in ("a", "b", "c"):
        shop.hears("upset", who)
    anna = shop.agent("Anna")
    with shop.store.read() as session:
        assert stream.counts(session, anna, shop.now)[View.WAITING] == 2


def test_a_count_is_of_what_the_view_shows(shop: Shop):
    shop.hears("upset", "a")
    shop.hears("ask_person", "b")
    anna = shop.agent("Anna")
    with shop.store.read() as session:
        for filters in (Filters(), Filters(reason=Reason.EMPATHY), Filters(channel=Channel.MESSENGER)):
            shown = stream.listed(session, anna, View.WAITING, shop.now, filters).rows
            assert stream.counts(session, anna, shop.now, filters)[View.WAITING] == len(shown)


def test_the_stream_goes_along_indexes(shop: Shop):
    """No view reads the whole table of conversations, whatever the planner likes on a small one."""
    if not shop.store.is_sqlite:
        pytest.skip("PostgreSQL reads a small table whole, and rightly: bench/desk.py looks at a large one")
    plans = []

    def plan(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            plans.append((statement, parameters))

    agent = shop.agent("Anna")
    with shop.store.read() as session:
        sa.event.listen(shop.store._engine, "before_cursor_execute", plan)
        for view in View:
            key = f"{shop.now.isoformat()}_9"
            stream.listed(session, agent, view, shop.now, before=f"0_{key}" if view is View.MINE else key)
        sa.event.remove(shop.store._engine, "before_cursor_execute", plan)
        for statement, parameters in plans:
            steps = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            scans = [step[-1] for step in steps if step[-1].startswith("SCAN conversation")]
            assert all("USING" in scan for scan in scans), (statement, scans)
            sorts = [step[-1] for step in steps if "TEMP B-TREE FOR ORDER BY" in step[-1]]
            few = ("agent_id", "mention", "hand_off.at")  # what is mine, or waits: never many
            assert not sorts or any(word in statement for word in few), (statement, sorts)


def test_views_name_only_states_that_there_are():
    assert {State(view.value) for view in (View.WAITING, View.BOT, View.CLOSED)} <= set(State)
