"""Every figure of the reports, computed anew from the raw rows in another way."""

import csv
import io
import statistics
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from bot.desk import figures, sections
from bot.desk.figures import Report, Span
from bot.desk.wording import words
from bot.desk.words import LANGUAGES
from bot.domain.hours import Hours
from bot.domain.open_time import OpenTime
from bot.domain.words import Channel
from bot.store.engine import Store
from tests import history

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = Hours(Hours.parse("Mon-Fri 09:00-18:00, Sat 10:00-14:00").spans, frozenset({date(2026, 10, 30)}))
START = datetime(2026, 10, 12, tzinfo=UTC)  # over the end of summer time
NOW = datetime(2026, 11, 12, 15, 0, tzinfo=UTC)
Row = dict[str, Any]


class Raw:
    """The tables as plain rows, and the conversations that are asked for."""

    def __init__(self, store: Store, span: Span) -> None:
        with store.read() as session:
            self.tables: dict[str, list[Row]] = {}
            for name in (
                "conversation",
                "message",
                "hand_off",
                "promise",
                "rating",
                "conversation_tag",
                "tag",
                "agent",
            ):
                found = session.execute(sa.text(f"SELECT * FROM {name}")).mappings()
                self.tables[name] = [
                    {
                        key: moment(value) if key == "at" or key.endswith("_at") else value
                        for key, value in row.items()
                    }
                    for row in found
                ]
        every = self.tables["conversation"]
        self.every = every
        self.chosen = {
            c["id"]: c
            for c in every
            if span.first <= c["opened_at"].astimezone(BERLIN).date() <= span.last
            and (span.channel is None or c["channel"] == span.channel.value)
        }
        self.messages = self.by_conversation("message")
        self.hand_offs = self.by_conversation("hand_off")
        self.promises = {row["hand_off_id"]: row for row in self.tables["promise"]}
        self.ratings = {row["conversation_id"]: row for row in self.tables["rating"]}

    def by_conversation(self, table: str) -> dict[int, list[Row]]:
        found = defaultdict(list)
        for row in self.tables[table]:
            found[row["conversation_id"]].append(row)
        return found

    def has_person(self, c: Row) -> bool:
        return bool(
            self.hand_offs[c["id"]]
            or c["ending"] == "resolved"
            or [m for m in self.messages[c["id"]] if m["author"] == "agent"]
        )

    def firsts(self) -> list[tuple[Row, Row | None]]:
        """Each hand-off with the message that answered it."""
        found = []
        for c in self.chosen:
            for h in self.hand_offs[c]:
                said = [
                    m
                    for m in self.messages[c]
                    if m["author"] == "agent"
                    and h["at"] <= m["at"]
                    and (h["ended_at"] is None or m["at"] <= h["ended_at"])
                ]
                found.append((h, min(said, key=lambda m: (m["at"], m["id"])) if said else None))
        return found


def moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


def open_seconds(start: datetime, end: datetime) -> float:
    """Opening time, day by day: where the two stretches overlap."""
    total, day = 0.0, start.astimezone(BERLIN).date()
    while day <= end.astimezone(BERLIN).date():
        for weekday, opens, closes in HOURS.spans:
            if weekday == day.weekday() and day not in HOURS.holidays:
                one, two = (datetime.combine(day, at, BERLIN).timestamp() for at in (opens, closes))
                total += max(0.0, min(two, end.timestamp()) - max(one, start.timestamp()))
        day += timedelta(days=1)
    return total


@pytest.fixture(params=[None, Channel.WEB], ids=["every channel", "web"])
def span(request: pytest.FixtureRequest) -> Span:
    return Span(date(2026, 10, 15), date(2026, 11, 5), request.param, BERLIN)


@pytest.fixture
def both(store: Store, span: Span) -> tuple[Report, Raw]:
    history.write(store, 400, START, 28)
    line = OpenTime(HOURS, BERLIN, span.start, NOW + timedelta(days=30))
    with store.read() as session:
        return figures.report(session, span, line, NOW), Raw(store, span)


def positive(counts: Any) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}


def near(spread: figures.Spread, seconds: list[float]) -> bool:
    seconds = sorted(seconds)
    ninth = next(one for one in seconds if sum(other <= one for other in seconds) >= 0.9 * len(seconds))
    return (spread.count, spread.median, spread.p90) == (
        len(seconds),
        pytest.approx(statistics.median(seconds), abs=0.01),
        pytest.approx(ninth, abs=0.01),
    )


def test_every_figure_is_what_the_raw_tables_say(both: tuple[Report, Raw], span: Span):
    report, raw = both
    chosen = raw.chosen.values()
    local = {c["id"]: c["opened_at"].astimezone(BERLIN) for c in chosen}
    assert len(chosen) > 80
    assert report.total == len(chosen)
    assert positive(report.by_hour) == Counter((local[c["id"]].hour, c["channel"]) for c in chosen)
    assert positive(report.by_day) == Counter((local[c["id"]].date(), c["channel"]) for c in chosen)

    def outcome(c: Row) -> str:
        if raw.has_person(c):
            return "person_closed" if c["state"] == "closed" else "person_open"
        return "bot_open" if c["state"] != "closed" else c["ending"] or "alone_unknown"

    assert positive(report.outcomes) == Counter(map(outcome, chosen))
    assert set(report.outcomes) <= set(figures.OUTCOMES)
    bots = {c["id"]: [m for m in raw.messages[c["id"]] if m["author"] == "bot"] for c in chosen}
    assert positive(report.replies) == Counter(map(len, bots.values()))

    assert near(
        report.times["bot_first"],
        [
            (min(m["at"] for m in said) - raw.chosen[c]["opened_at"]).total_seconds()
            for c, said in bots.items()
            if said
        ],
    )
    alone = [c for c in chosen if not raw.has_person(c) and c["state"] == "closed"]
    assert near(report.times["bot_solve"], [(c["closed_at"] - c["opened_at"]).total_seconds() for c in alone])
    firsts = [(h["at"], m["at"]) for h, m in raw.firsts() if m]
    assert near(report.times["first"], [(b - a).total_seconds() for a, b in firsts])
    assert near(report.times["first_open"], [open_seconds(a, b) for a, b in firsts])
    solved = [
        (h["at"], h["ended_at"])
        for h, _ in raw.firsts()
        if h["ended_at"] and h["ended_at"] == raw.chosen[h["conversation_id"]]["closed_at"]
    ]
    assert near(report.times["solve"], [(b - a).total_seconds() for a, b in solved])
    assert near(report.times["solve_open"], [open_seconds(a, b) for a, b in solved])

    def handed(h: Row) -> tuple[str, str]:
        c = raw.chosen[h["conversation_id"]]
        if h["ended_at"] is None:
            return h["reason"], "held" if h["taken_at"] else "waiting"
        if h["ended_at"] != c["closed_at"]:
            return h["reason"], "given_back"
        return h["reason"], "resolved" if c["ending"] == "resolved" else "closed"

    assert positive(report.handed) == Counter(handed(h) for h, _ in raw.firsts())

    kept: Counter[tuple[str, str]] = Counter()
    for h, m in raw.firsts():
        promise = raw.promises.get(h["id"])
        if promise is None:
            continue
        ends = h["ended_at"] if h["ended_at"] == raw.chosen[h["conversation_id"]]["closed_at"] else None
        for kind, done, due in (
            ("first", m["at"] if m else None, promise["first_due_at"]),
            ("solve", ends, promise["solve_due_at"]),
        ):
            if done:
                kept[kind, "kept" if done <= due else "late"] += 1
            elif h["ended_at"]:
                kept[kind, "ended"] += 1
            else:
                kept[kind, "late" if due < NOW else "running"] += 1
    assert positive(report.kept) == kept

    def came_back(c: Row) -> bool:
        return any(
            b["contact_id"] == c["contact_id"] and b["channel"] == c["channel"] and b["closed_at"] and b["opened_at"] < c["opened_at"]
            and b["ending"] != "moved_on" and timedelta(0) <= c["opened_at"] - b["closed_at"] <= timedelta(hours=24)
            for b in raw.every
        )  # fmt: skip

    assert report.reopened == sum(map(came_back, chosen))

    rated = {c["id"]: raw.ratings[c["id"]]["score"] for c in chosen if c["id"] in raw.ratings}
    assert positive(report.ratings) == Counter(
        (score, "person" if raw.has_person(raw.chosen[c]) else "alone") for c, score in rated.items()
    )

    names = {row["id"]: row["name"] for row in raw.tables["tag"]}
    tagged = [
        row
        for row in raw.tables["conversation_tag"]
        if row["conversation_id"] in raw.chosen and row["removed_at"] is None
    ]
    assert report.tags == Counter(names[row["tag_id"]] for row in tagged)
    assert positive(report.tag_days) == Counter(
        (names[row["tag_id"]], local[row["conversation_id"]].date()) for row in tagged
    )

    people = {row["id"]: f"{row['name']} #{row['id']}" for row in raw.tables["agent"]} | {None: ""}
    written = [m for c in raw.chosen for m in raw.messages[c] if m["author"] == "agent"]
    for agent_id, name in people.items():
        own = [m for m in written if m["agent_id"] == agent_id]
        if not own:
            assert name not in report.agents
            continue
        one, where = report.agents[name], {m["conversation_id"] for m in own}
        took = [
            (m["at"] - h["at"]).total_seconds() for h, m in raw.firsts() if m and m["agent_id"] == agent_id
        ]
        scores = [rated[c] for c in where if c in rated]
        assert (one.messages, one.conversations, one.firsts, one.ratings) == (
            len(own),
            len(where),
            len(took),
            len(scores),
        )
        assert one.first == pytest.approx(statistics.median(took), abs=0.01)
        assert one.score == pytest.approx(statistics.mean(scores))
        in_time = [
            h
            for h, m in raw.firsts()
            if m
            and m["agent_id"] == agent_id
            and h["id"] in raw.promises
            and m["at"] <= raw.promises[h["id"]]["first_due_at"]
        ]
        assert one.kept == len(in_time)


def test_the_parts_add_up_to_the_whole(both: tuple[Report, Raw], span: Span):
    report, _ = both
    for parts in (report.by_hour, report.by_day, report.outcomes, report.replies):
        assert sum(parts.values()) == report.total
    assert sum(one.firsts for one in report.agents.values()) == report.times["first"].count
    assert sum(one.kept for one in report.agents.values()) == report.kept["first", "kept"]
    assert sum(n for (kind, _), n in report.kept.items() if kind == "first") == sum(
        n for (kind, _), n in report.kept.items() if kind == "solve"
    )
    for language in LANGUAGES:
        for one in sections.sections(report, span, words(language)):
            assert all(len(row) == len(one.columns) for row in one.rows), one.key
            if one.total and one.key not in ("agents",):
                sums = [
                    sum(row[at] for row in one.rows)
                    for at in range(1, len(one.columns))
                    if isinstance(one.total[at], int)
                ]
                assert sums == [value for value in one.total[1:] if isinstance(value, int)], one.key


def test_nothing_at_all_is_a_report_too(embedded: Store):
    span = Span(date(2026, 10, 15), date(2026, 10, 15), None, BERLIN)
    with embedded.read() as session:
        report = figures.report(session, span, OpenTime(HOURS, BERLIN, span.start, span.end), NOW)
    assert report.total == 0
    for one in sections.sections(report, span, words("ko")):
        assert sections.as_csv(one)


def test_a_table_in_a_spreadsheet_runs_no_formula(embedded: Store):
    history.write(embedded, 120, START, 28)
    span = Span(date(2026, 10, 12), date(2026, 11, 12), None, BERLIN)
    with embedded.read() as session:
        report = figures.report(session, span, OpenTime(HOURS, BERLIN, span.start, NOW), NOW)
    for one in sections.sections(report, span, words("en")):
        text = sections.as_csv(one)
        assert text.startswith("\ufeff")
        for row in csv.reader(io.StringIO(text[1:])):
            for cell in row:
                assert not cell.lstrip().startswith(("=", "+", "-", "@")), (one.key, cell)
    assert "'=HYPERLINK(1)" in sections.as_csv(
        next(s for s in sections.sections(report, span, words("en")) if s.key == "agents")
    )
    for evil in ("=1+1", "+1", "-1", "@x", "\t=1", " =1", "＝1"):
        assert str(sections._harmless(evil)).startswith("'")


def test_a_day_of_the_shop_begins_at_its_own_midnight():
    span = Span(date(2026, 10, 25), date(2026, 10, 25), None, BERLIN)  # this day has 25 hours
    assert span.end - span.start == timedelta(hours=25)
    assert span.start.astimezone(BERLIN).time() == time()
