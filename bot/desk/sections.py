"""A report as sections, each a table and its chart, in a reader's language; and as CSV."""

import csv
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from markupsafe import Markup

from bot.desk.charts import bars
from bot.desk.figures import HANDED, KEPT, OUTCOMES, Report, Span
from bot.domain.words import Channel, Reason

Cell = int | float | str | None  # a float is seconds, or a mean where the section says so
Words = Mapping[str, Any]
DAILY = 31  # days that are shown one by one; more are shown by week
TOP_TAGS = 5
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what a spreadsheet would run


@dataclass(frozen=True)
class Section:
    """One table of the report. The first column names the row; `legend` names the chart's colours."""

    key: str
    columns: list[str]
    rows: list[list[Cell]]
    chart: Markup | None = None
    legend: list[str] = field(default_factory=list)
    total: list[Cell] | None = None


def sections(report: Report, span: Span, t: Words) -> list[Section]:
    """Every section, in the page's order."""
    makers: Sequence[Callable[[Report, Span, Words], Section]] = (
        _volume, _days, _outcomes, _times, _hand_offs, _targets, _replies, _reopened, _ratings, _tags,
        _tag_trend, _agents,
    )  # fmt: skip
    return [make(report, span, t) for make in makers]


def shown(cell: Cell, t: Words) -> str:
    """A cell as the page shows it."""
    if cell is None:
        return "–"
    return duration(cell, t) if isinstance(cell, float) else str(cell)


def duration(seconds: float, t: Words) -> str:
    """Seconds for people."""
    frame = t["frame"]
    if seconds < 60:
        return (
            f"{seconds:.1f} {t['reports']['seconds']}"
            if seconds < 10
            else f"{seconds:.0f} {t['reports']['seconds']}"
        )
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} {frame['minutes']}"
    return f"{minutes // 60} {frame['hours']} {minutes % 60:02d} {frame['minutes']}"


def short(name: str, room: int = 14) -> str:
    """A name as a chart has room for it, without what stands before a colon; wide letters count twice."""
    text = name.replace("：", ":").rpartition(":")[2].strip()
    kept, used = "", 0
    for letter in text:
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > room:
            return kept + "…"
        kept += letter
    return kept


def as_csv(section: Section) -> str:
    """A section as CSV for a spreadsheet; seconds as numbers, and no text that one would run as a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    rows: list[Sequence[Cell]] = [section.columns, *section.rows]
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return "\ufeff" + out.getvalue()  # a spreadsheet takes it for UTF-8 by this mark


def _harmless(cell: Cell) -> Cell:
    if isinstance(cell, float):
        return round(cell, 3)
    if isinstance(cell, str) and cell.lstrip().startswith(FORMULA):
        return "'" + cell
    return "" if cell is None else cell


def _channels(span: Span) -> list[str]:
    return [span.channel.value] if span.channel else [one.value for one in Channel]


def _stacked(
    key: str, first: str, labels: list[str], names: list[str], series: list[list[int]], t: Words
) -> Section:
    """A table of counts with one column for each of the series, their sum, and a chart."""
    rows: list[list[Cell]] = [
        [label, *(values[at] for values in series), sum(values[at] for values in series)]
        for at, label in enumerate(labels)
    ]
    total: list[Cell] = [t["reports"]["total"], *map(sum, series), sum(map(sum, series))]
    title = t["reports"]["titles"][key]
    columns = [t["reports"]["columns"][first], *names, t["reports"]["total"]]
    legend = names if len(names) > 1 else []
    return Section(key, columns, rows, bars(title, labels, series), legend, total)


def _volume(report: Report, span: Span, t: Words) -> Section:
    channels = _channels(span)
    series = [[report.by_hour.get((hour, one), 0) for hour in range(24)] for one in channels]
    hours = [f"{hour:02d}:00" for hour in range(24)]
    return _stacked("volume", "hour", hours, [t["channels"][one] for one in channels], series, t)


def _days(report: Report, span: Span, t: Words) -> Section:
    channels, days = _channels(span), span.days
    series = [[report.by_day.get((day, one), 0) for day in days] for one in channels]
    labels = [day.isoformat() for day in days]
    made = _stacked("days", "day", labels, [t["channels"][one] for one in channels], series, t)
    short = bars(t["reports"]["titles"]["days"], [f"{day.day}.{day.month}." for day in days], series)
    return Section(made.key, made.columns, made.rows, short, made.legend, made.total)


def _outcomes(report: Report, _span: Span, t: Words) -> Section:
    names = [t["reports"]["outcomes"][one] for one in OUTCOMES]
    counts = [report.outcomes.get(one, 0) for one in OUTCOMES]
    return _counted("outcomes", "what", names, counts, t)


def _counted(key: str, first: str, names: list[str], counts: list[int], t: Words) -> Section:
    words = t["reports"]
    whole = sum(counts)
    share = [f"{count / whole:.1%}" if whole else "–" for count in counts]
    rows: list[list[Cell]] = [list(row) for row in zip(names, counts, share, strict=True)]
    columns = [words["columns"][first], words["columns"]["count"], words["share"]]
    chart = bars(words["titles"][key], [short(name) for name in names], [counts])
    return Section(key, columns, rows, chart, total=[words["total"], whole, ""])


def _times(report: Report, _span: Span, t: Words) -> Section:
    words = t["reports"]
    rows: list[list[Cell]] = [
        [words["times"][name], one.count, one.median, one.p90] for name, one in report.times.items()
    ]
    columns = [words["columns"][one] for one in ("what", "count", "median", "p90")]
    minutes = [[(getattr(one, part) or 0.0) / 60 for one in report.times.values()] for part in ("median",)]
    labels = [str(number) for number in range(1, len(rows) + 1)]
    title = f"{words['titles']['times']}: {words['columns']['median']}, {t['frame']['minutes']}"
    for number, row in enumerate(rows, start=1):
        row[0] = f"{number} {row[0]}"
    return Section("times", columns, rows, bars(title, labels, minutes, whole=False))


def _hand_offs(report: Report, _span: Span, t: Words) -> Section:
    reasons = [one.value for one in Reason]
    series = [[report.handed.get((reason, how), 0) for reason in reasons] for how in HANDED]
    names = [t["reports"]["handed"][how] for how in HANDED]
    return _stacked("hand_offs", "reason", [t["reasons"][one] for one in reasons], names, series, t)


def _targets(report: Report, _span: Span, t: Words) -> Section:
    kinds = ("first", "solve")
    series = [[report.kept.get((kind, how), 0) for kind in kinds] for how in KEPT]
    names = [t["reports"]["kept"][how] for how in KEPT]
    return _stacked("targets", "promise", [t["reports"]["promises"][one] for one in kinds], names, series, t)


def _replies(report: Report, _span: Span, t: Words) -> Section:
    counts = [report.replies.get(number, 0) for number in range(3)]
    return _counted("replies", "replies", ["0", "1", "2"], counts, t)


def _reopened(report: Report, _span: Span, t: Words) -> Section:
    names = [t["reports"]["reopened"][one] for one in ("again", "other")]
    return _counted("reopened", "what", names, [report.reopened, report.total - report.reopened], t)


def _ratings(report: Report, _span: Span, t: Words) -> Section:
    scores, whose = (1, 2, 3, 4, 5), ("alone", "person")
    series = [[report.ratings.get((score, one), 0) for score in scores] for one in whose]
    names = [t["reports"]["columns"][one] for one in whose]
    return _stacked("ratings", "score", [str(score) for score in scores], names, series, t)


def _tags(report: Report, _span: Span, t: Words) -> Section:
    words = t["reports"]
    rows: list[list[Cell]] = [[name, count] for name, count in report.tags.items()]
    top = list(report.tags.items())[:12]
    chart = bars(words["titles"]["tags"], [short(name) for name, _ in top], [[count for _, count in top]])
    return Section("tags", [words["columns"]["tag"], words["columns"]["conversations"]], rows, chart)


def _tag_trend(report: Report, span: Span, t: Words) -> Section:
    names = list(report.tags)[:TOP_TAGS]
    daily = len(span.days) <= DAILY
    starts = sorted({_period(day, daily) for day in span.days})
    place = {start: at for at, start in enumerate(starts)}
    series = [[0] * len(starts) for _ in names]
    for (name, day), count in report.tag_days.items():
        if name in names:
            series[names.index(name)][place[_period(day, daily)]] += count
    made = _stacked("tag_trend", "period", [one.isoformat() for one in starts], names, series, t)
    labels = [f"{one.day}.{one.month}." for one in starts]
    chart = bars(t["reports"]["titles"]["tag_trend"], labels, series or [[0] * len(starts)])
    return Section(made.key, made.columns, made.rows if names else [], chart, names, made.total)


def _period(day: date, daily: bool) -> date:
    return day if daily else day - timedelta(days=day.weekday())


def _agents(report: Report, _span: Span, t: Words) -> Section:
    words = t["reports"]
    keys = ("agent", "conversations", "messages", "firsts", "first", "kept", "ratings", "mean")
    rows: list[list[Cell]] = [
        [
            name or words["outside"],
            one.conversations,
            one.messages,
            one.firsts,
            one.first,
            one.kept,
            one.ratings,
            "" if one.score is None else f"{one.score:.2f}",
        ]
        for name, one in report.agents.items()
    ]
    some = list(report.agents.items())[:12]
    labels = [short(name.partition(" #")[0] or "–") for name, _ in some]
    chart = bars(words["titles"]["agents"], labels, [[one.messages for _, one in some]])
    return Section("agents", [words["columns"][key] for key in keys], rows, chart)
