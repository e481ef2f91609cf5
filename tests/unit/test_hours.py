from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.domain.errors import SettingError
from bot.domain.hours import Hours, written
from bot.domain.open_time import OpenTime

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = Hours.parse("Mon-Fri 09:00-18:00, Sat 10:00-14:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_while_people_are_there_nothing_is_promised():
    assert HOURS.opens_at(at("2026-11-23T09:00")) is None
    assert HOURS.opens_at(at("2026-11-28T13:59")) is None


@pytest.mark.parametrize(
    ("now", "back"),
    [
        ("2026-11-23T08:59", "2026-11-23T09:00"),
        ("2026-11-23T18:00", "2026-11-24T09:00"),
        ("2026-11-27T20:00", "2026-11-28T10:00"),
        ("2026-11-28T14:00", "2026-11-30T09:00"),  # Saturday afternoon: Monday
        ("2026-11-29T12:00", "2026-11-30T09:00"),
    ],
)
def test_outside_hours_the_next_opening_is_named(now: str, back: str):
    assert HOURS.opens_at(at(now)) == at(back)


def test_a_day_may_have_a_break():
    hours = Hours.parse("Mon 09:00-12:00, Mon 13:00-18:00")
    assert hours.opens_at(at("2026-11-23T12:30")) == at("2026-11-23T13:00")


def test_summer_time_does_not_move_the_opening():
    assert HOURS.opens_at(at("2026-03-28T20:00")) == at("2026-03-30T09:00")
    assert Hours.parse("Sun 09:00-10:00").spans == ((6, time(9), time(10)),)


def test_who_is_always_there_is_there_at_midnight():
    always = Hours.parse("Mon-Sun 00:00-24:00")
    line = OpenTime(always, BERLIN, at("2026-11-23T00:00"), at("2026-11-30T00:00"))
    assert line.between(at("2026-11-23T00:00"), at("2026-11-25T12:00")) == timedelta(hours=60)
    for now in ("2026-11-23T00:00", "2026-11-23T23:59:59.999999", "2026-11-24T00:00"):
        assert always.opens_at(at(now)) is None


def test_a_day_may_end_at_midnight():
    late = Hours.parse("Fri 18:00-24:00, Sat 00:00-02:00")
    assert late.opens_at(at("2026-11-28T00:00")) is None
    assert late.opens_at(at("2026-11-28T02:00")) == at("2026-12-04T18:00")
    assert [written(closes) for _, _, closes in late.spans] == ["24:00", "02:00"]


def test_days_may_go_over_the_weeks_end():
    assert Hours.parse("Fri-Mon 09:00-18:00") == Hours.parse("Mon 09:00-18:00, Fri-Sun 09:00-18:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "Mon 9-18",
        "Fri 22:00-02:00",
        "Mon 24:00-24:00",
        "Mon 18:00-09:00",
        "Mon 09:00-25:00",
        "Xyz 09:00-10:00",
    ],
)
def test_hours_that_cannot_be_read_are_refused_with_an_example(text: str):
    with pytest.raises(SettingError, match="09:00-18:00"):
        Hours.parse(text)
