"""It stays as fast: no question to the database reads a table from end to end, however long it has grown."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from bot import accounts, courtesy, delivery, inbox, live, operations, turns
from bot.channels import web
from bot.channels.graph import Answer, Graph, Outcome
from bot.desk import care, conversations, dead_letters, detail, looking, snoozing, stream
from bot.desk.stream import Filters, View
from bot.domain.words import Author, Channel, Reason, State
from bot.filing import Times
from bot.look import look
from bot.retention import EVENTS_KEPT, INBOX_KEPT, Sweep
from bot.store import queries, search
from bot.store.tables import Contact, Conversation, Event, HandOff, Identity, InboxItem, Message
from tests.support import Shop

CONTACTS, TALKS, MESSAGES = 500, 2, 4  # of each
REGULAR = 400  # conversations of one contact
LONG = ("message", "conversation", "inbox", "event", "identity", "contact", "hand_off")
# What holds only rows that wait for something: to walk through all of these is the work itself.
SHORT = (
    "ix_message_open", "ix_inbox_unfiled", "ix_conversation_due",
    "ix_conversation_failed", "ix_identity_nameless", "uq_hand_off_open", "ix_inbox_unfiled_thread",
    "uq_conversation_open", "ix_hand_off_open_at", "ix_conversation_held",
)  # fmt: skip
# What a list walks along, newest first, no further than it is long.
IN_ORDER = ("ix_conversation_last_message_at_id", "ix_conversation_state_last_message_at_id")


def fill(shop: Shop) -> None:
    """Years of a shop, all of it closed, with one customer who came again and again."""
    long_ago = shop.now - timedelta(days=90)
    talks = [n // TALKS + 1 for n in range(CONTACTS * TALKS)] + [1] * REGULAR
    rows: dict[Any, list[dict[str, Any]]] = {
        Contact: [{"id": n, "created_at": long_ago, "name": f"N {n}", "email": f"{n}@x.example"}
                  for n in range(1, CONTACTS + 1)],
        Identity: [{"id": n, "contact_id": n, "channel": Channel.WEB if n % 2 else Channel.MESSENGER,
                    "account": "web" if n % 2 else "page", "thread": f"t{n}", "created_at": long_ago,
                    "wrote_at": long_ago, "named_at": long_ago} for n in range(1, CONTACTS + 1)],
        Conversation: [{"id": n, "contact_id": who, "identity_id": who, "state": State.CLOSED,
                        "channel": Channel.WEB if who % 2 else Channel.MESSENGER, "opened_at": long_ago,
                        "last_message_at": long_ago, "closed_at": long_ago, "misses": 0, "lease_no": 0, "tries": 0}
                       for n, who in enumerate(talks, start=1)],
    }  # fmt: skip
    messages = range(len(talks) * MESSAGES)
    rows[Message] = [
        {"public_id": f"{n:024x}", "conversation_id": n // MESSAGES + 1, "text": "…", "account": "web",
         "author": Author.BOT if n % 2 else Author.CUSTOMER, "reply_no": n % MESSAGES // 2 + 1 if n % 2 else None,
         "external_id": f"x{n}", "at": long_ago, "handled_at": long_ago, "attachments": [], "buttons": [],
         "attempts": 0, "parts_sent": 0} for n in messages
    ]  # fmt: skip
    rows[HandOff] = [
        {
            "conversation_id": n,
            "reason": Reason.LIMIT,
            "at": long_ago,
            "taken_at": long_ago,
            "ended_at": long_ago,
        }
        for n in range(1, len(talks) + 1)
    ]
    rows[InboxItem] = [
        {"public_id": f"{n:024x}", "channel": Channel.WEB, "account": "web", "external_id": f"x{n}",
         "thread": f"t{talks[n // MESSAGES]}", "kind": "message", "payload": {}, "at": long_ago,
         "received_at": long_ago, "filed_at": long_ago} for n in messages if n % 2 == 0
    ]  # fmt: skip
    rows[Event] = [
        {"stream": f"web/t{talks[n // MESSAGES]}", "conversation_id": n // MESSAGES + 1, "kind": "message",
         "payload": {}, "at": long_ago} for n in messages
    ]  # fmt: skip
    with shop.store.unit_of_work() as session:
        for table, values in rows.items():
            session.execute(sa.insert(table), values)
        search.index_all(session.connection())
        if not shop.store.is_sqlite:
            for table in rows:
                name, pk = table.__tablename__, "id"
                session.execute(sa.text(f"SELECT setval('{name}_{pk}_seq', (SELECT max(id) FROM {name}))"))
            session.execute(sa.text("ANALYZE"))  # as PostgreSQL does by itself


@contextmanager
def asked(shop: Shop) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that reads or changes rows, with its parameters."""
    seen: dict[str, Any] = {}

    def executed(
        _conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE)", statement) and "pg_" not in statement:
            seen.setdefault(statement, parameters[0] if many else parameters)

    found: list[tuple[str, Any]] = []
    event.listen(sa.Engine, "before_cursor_execute", executed)
    try:
        yield found
    finally:
        event.remove(sa.Engine, "before_cursor_execute", executed)
        found.extend(seen.items())


def whole_tables(shop: Shop, statement: str, parameters: Any) -> list[str]:
    """The long tables that the database would read from end to end for this."""
    # Where a plan by index exists, PostgreSQL takes it: a table as small as this one would be read whole.
    explain = "EXPLAIN QUERY PLAN " if shop.store.is_sqlite else "EXPLAIN (FORMAT JSON) "
    with shop.store.read() as session:
        if not shop.store.is_sqlite:
            session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        found = session.connection().exec_driver_sql(explain + statement, parameters).fetchall()
    if shop.store.is_sqlite:
        names = {m[1]: m[1] for m in re.finditer(r"(?:FROM|JOIN|UPDATE) (\w+)", statement)}
        names |= {m[2]: m[1] for m in re.finditer(r"(\w+) AS (\w+)", statement)}
        scans = [re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", row[3]) for row in found]
        ordered = "LIMIT" in statement  # in the order of an index, up to so many
        return [
            names.get(scan[1], scan[1])
            for scan in scans
            if scan
            and names.get(scan[1], scan[1]) in LONG
            and scan[2] not in SHORT
            and not (ordered and (scan[2] in IN_ORDER or _by_id(statement)))
        ]
    plan = found[0][0]
    nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return [
        node["Relation Name"]
        for node in nodes
        if _reads_all(node) and not ("LIMIT" in statement and node["Node Type"] != "Seq Scan")
    ]


def _reads_all(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") not in LONG:
        return False
    if node["Node Type"] == "Seq Scan":
        return True
    sifts = node["Node Type"].startswith("Index") and "Index Cond" not in node and "Filter" in node
    return sifts and node["Index Name"] not in SHORT


def _by_id(statement: str) -> bool:
    return "ORDER BY event.id" in statement


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def event_of(shop: Shop, text: str, thread: str, channel: Channel, number: int) -> inbox.Incoming:
    account = "web" if channel is Channel.WEB else "page"
    payload = {"text": text, "email": "1@x.example"}
    return inbox.Incoming(channel, account, thread, f"new-{number}", inbox.Kind.MESSAGE, payload, shop.now)


def a_day(shop: Shop) -> None:
    """All that the product asks its database while customers write and agents answer."""
    settings, services, store = shop.settings, shop.services, shop.store
    times = Times(shop.now, settings.burst, settings.idle)
    for number, (thread, channel) in enumerate(
        [("t1", Channel.WEB), ("new", Channel.WEB), ("t2", Channel.MESSENGER), ("fresh", Channel.MESSENGER)]
    ):
        inbox.take_in(store, event_of(shop, "return_policy", thread, channel, number), times)
    inbox.accept(store, [event_of(shop, "upset", "t3", Channel.WEB, 9)], shop.now)
    shop.file()
    courtesy._unnoticed(services)
    courtesy._nameless(services)
    guest = services.guests.next(shop.now + timedelta(seconds=1))
    assert guest
    courtesy._named(services, guest, Answer(Outcome.SENT, ""), "Kim")
    shop.now += timedelta(seconds=2)
    courier = delivery.Courier(services, Graph(shop.settings.messenger), most=1)
    while turn := turns.claim(store, settings, shop.now):
        turns.settle(services, turn, shop.brain._propose(turn.text, turn.context), courier=courier)
    shop.now += delivery.PATIENCE  # as if nobody had been sent for those
    while parcel := delivery.claim(services):
        assert delivery.may_go(services, parcel)
        delivery.settle(services, parcel, Answer(Outcome.SENT, f"out-{parcel.message_id}"))
    agent = shop.agent("anna")
    visitor = web.Visitor("t5")
    web.history(visitor, services)
    web._status_now(services, visitor)
    look(store, shop.now)
    with store.read() as session:
        live.since(session, live.newest(session) - 5, "web/t1")
        live.since(session, live.newest(session) - 5)
        live.has_gap(session, 1)
    shop.takes("anna", "t3")
    shop.answers("anna", "I'm here.", "t3")
    with store.read() as session:
        for view in View:
            rows = stream.listed(session, agent, view, shop.now).rows
            key = f"{shop.now.isoformat()}_9"
            stream.listed(session, agent, view, shop.now, before=f"0_{key}" if view is View.MINE else key)
            care.of(session, [row.id for row in rows], shop.now)
        for filters in (
            Filters(agent=agent.id),
            Filters(text="here"),
            Filters(text="N 7"),
            Filters(text="10023"),
        ):
            stream.listed(session, agent, View.ALL, shop.now, filters)
        stream.counts(session, agent, shop.now)
        for thread in ("t1", "t3"):
            detail.detail(session, shop.conversation(thread).id, agent, shop.now)
            looking.others(session, shop.conversation(thread).id, agent, shop.now)
            stream.mark_seen(session, agent, shop.conversation(thread).id, shop.now)
        session.rollback()
        dead_letters.listed(session)
        accounts.alerts(session)
        queries.last_author(1)
    shop.does("anna", conversations.resolve, "t3")
    snoozing.wake_due(store, shop.now)
    operations.look(services)
    inbox.close_idle(store, shop.now, settings.idle)
    dead_letters.hand_over_unsettled(store, shop.now)
    Sweep(store, services.clock).step()
    turns.claim(store, settings, shop.now)


def test_no_question_reads_a_whole_table(shop: Shop):
    fill(shop)
    with asked(shop) as statements:
        a_day(shop)
    assert len(statements) > 40
    slow = [(tables, " ".join(s.split())) for s, p in statements if (tables := whole_tables(shop, s, p))]
    # The tests' own looks aside.
    slow = [(tables, s) for tables, s in slow if not re.search(r"identity\.thread = \S+( ORDER BY|$)", s)]
    assert not slow, "\n\n".join(f"{tables}: {s[:90]} … {s[s.find('FROM') :]}" for tables, s in slow)


def test_a_test_that_finds_no_whole_table_would_find_one(shop: Shop):
    fill(shop)
    assert whole_tables(shop, "SELECT id FROM message WHERE text = 'x'", ()) == ["message"]


class TestRetention:
    def sweep(self, shop: Shop) -> None:
        sweep = Sweep(shop.store, shop.services.clock)
        while sweep.step():
            pass

    def rows(self, shop: Shop, table: type[Event] | type[InboxItem]) -> int:
        with shop.store.read() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def test_old_events_and_filed_items_go_and_nothing_else(self, shop: Shop):
        shop.hears("return_policy")
        said, items = len(shop.messages()), self.rows(shop, InboxItem)
        shop.now += EVENTS_KEPT / 2
        self.sweep(shop)
        assert self.rows(shop, Event) == 3
        shop.now += EVENTS_KEPT
        self.sweep(shop)
        assert self.rows(shop, Event) == 1  # the newest stays: it says where ids are
        assert self.rows(shop, InboxItem) == items
        shop.now += INBOX_KEPT
        self.sweep(shop)
        assert self.rows(shop, InboxItem) == 0
        assert len(shop.messages()) == said

    def test_what_is_not_filed_or_could_not_be_is_kept(self, shop: Shop):
        message = event_of(shop, "return_policy", "t1", Channel.WEB, 1)
        inbox.accept(shop.store, [message], shop.now)
        with shop.store.unit_of_work() as session:
            broken = inbox._row(event_of(shop, "x", "t2", Channel.WEB, 2), shop.now)
            session.add(InboxItem(**broken, filed_at=shop.now, error="ValueError"))
        shop.now += INBOX_KEPT * 2
        self.sweep(shop)
        assert self.rows(shop, InboxItem) == 2

    def test_a_message_repeated_after_its_item_has_gone_is_neither_doubled_nor_an_error(self, shop: Shop):
        shop.writes("return_policy", external_id="once")
        shop.now += INBOX_KEPT + timedelta(days=1)
        self.sweep(shop)
        shop.writes("return_policy", external_id="once")
        assert len([m for m in shop.messages() if m.author is Author.CUSTOMER]) == 1
        with shop.store.read() as session:
            assert [item.error for item in session.scalars(sa.select(InboxItem))] == [None]

    def test_a_page_that_slept_longer_than_events_are_kept_is_given_all_messages(self, shop: Shop):
        shop.hears("return_policy")
        cursor = 1
        shop.now += EVENTS_KEPT * 2
        self.sweep(shop)
        shop.writes("invoice")

        async def heard() -> str:
            stream = web._stream(shop.services, web.Visitor("mina"), live.Follower(), cursor)
            async with aclosing(stream):
                return (await anext(stream)).decode()

        events = re.findall("event: (.*)\r\ndata: (.*)\r\n\r\n", asyncio.run(heard()))[:4]
        assert [kind for kind, _ in events] == ["status", "message", "message", "message"]
        shown = [json.loads(data)["id"] for _, data in events[1:]]
        assert shown == [m.public_id for m in shop.messages()]


@pytest.mark.parametrize("table", [Event, InboxItem])
def test_a_sweep_goes_on_where_it_was_and_begins_anew(shop: Shop, table: Any):
    steps: list[Callable[[], bool]] = []
    fill(shop)
    shop.now += INBOX_KEPT
    sweep = Sweep(shop.store, shop.services.clock)
    steps += [sweep.step] * 100
    assert sum(step() for step in steps) > 5
    with shop.store.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(table)) == (1 if table is Event else 0)
