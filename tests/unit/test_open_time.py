"""Time in which people are at the desk, against counting it minute by minute."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.hours import Hours
from bot.domain.open_time import OpenTime

BERLIN, SEOUL = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Seoul")
HOURS = Hours.parse("Mon-Fri 09:00-18:00, Sat 10:00-14:00")
CHRISTMAS = Hours(HOURS.spans, frozenset({date(2026, 12, 25)}))


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def line(hours: Hours, *moments: datetime) -> OpenTime:
    return OpenTime(hours, BERLIN, min(moments), max(moments))


@pytest.mark.parametrize(
    ("start", "minutes", "due"),
    [
        ("2026-11-23T10:00", 60, "2026-11-23T11:00"),
        ("2026-11-23T17:30", 60, "2026-11-24T09:30"),  # over night
        ("2026-11-23T07:00", 60, "2026-11-23T10:00"),  # before it opens
        ("2026-11-28T13:30", 60, "2026-11-30T09:30"),  # over a Sunday
        ("2026-11-23T09:00", 540, "2026-11-23T18:00"),  # just the day
        ("2026-12-24T17:30", 60, "2026-12-26T10:30"),  # over a holiday
    ],
)
def test_a_promise_is_due_in_opening_hours(start: str, minutes: int, due: str):
    span = timedelta(minutes=minutes)
    assert line(CHRISTMAS, at(start)).due(at(start), span) == at(due)
    assert line(CHRISTMAS, at(start), at(due)).between(at(start), at(due)) == span


def test_a_desk_that_never_opens_promises_nothing_soon():
    closed = Hours(HOURS.spans, frozenset(date(2026, 11, 1) + timedelta(days=n) for n in range(800)))
    start = at("2026-11-23T10:00")
    assert line(closed, start).due(start, timedelta(minutes=1)) > start + timedelta(days=365)
    assert closed.opens_at(start) > start + timedelta(days=365)


def test_a_holiday_is_closed_for_customers_who_ask_when_people_are_back():
    assert CHRISTMAS.opens_at(at("2026-12-25T11:00")) == at("2026-12-26T10:00")


@given(
    start=st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 10)),  # noqa: DTZ001 (Hypothesis wants them so)
    minutes=st.integers(0, 6_000),
    zone=st.sampled_from([BERLIN, SEOUL]),
)
def test_it_is_the_same_as_counting_minutes_also_when_clocks_change(
    start: datetime, minutes: int, zone: ZoneInfo
):
    begin = start.replace(second=0, microsecond=0, tzinfo=ZoneInfo("UTC"))
    end = begin + timedelta(minutes=minutes)
    counted = sum(
        HOURS.opens_at((begin + timedelta(minutes=n)).astimezone(zone)) is None for n in range(minutes)
    )
    assert OpenTime(HOURS, zone, begin, end).between(begin, end) == timedelta(minutes=counted)
    due = OpenTime(HOURS, zone, begin, begin).due(begin, timedelta(minutes=counted))
    assert OpenTime(HOURS, zone, begin, due).between(begin, due) == timedelta(minutes=counted)
