"""Days and times in the customer's language. Plain Python: the action server imports this too.

A language without words of its own gets the English ones.
"""

from __future__ import annotations

from datetime import date, datetime, time

_WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "ko": ("월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일"),
    "ja": ("月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日", "日曜日"),
}
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAY = {
    "en": "{weekday} {day} {month}",
    "ko": "{number}월 {day}일 {weekday}",
    "ja": "{number}月{day}日({weekday[0]})",
}
_AT = {"en": "on {weekday} at {time}", "ko": "{weekday} {time}", "ja": "{weekday}{time}"}


def spoken(opens_at: str | None, language: str) -> str | None:
    """When people are back: an ISO local time becomes "on Monday at 9:00", "월요일 오전 9시".

    Raises ValueError for what isn't an ISO time.
    """
    if opens_at is None:
        return None
    moment = datetime.fromisoformat(opens_at)
    return _AT.get(language, _AT["en"]).format(
        weekday=_weekday(moment, language), time=_clock(moment.time(), language)
    )


def spoken_day(day: date, language: str) -> str:
    """A day as people say it: "Monday 23 November", "11월 23일 월요일", "11月23日(月)"."""
    return _DAY.get(language, _DAY["en"]).format(
        weekday=_weekday(day, language), day=day.day, number=day.month, month=_MONTHS[day.month - 1]
    )


def _weekday(day: date, language: str) -> str:
    return _WEEKDAYS.get(language, _WEEKDAYS["en"])[day.weekday()]


def _clock(at: time, language: str) -> str:
    if language != "ko":
        return f"{at.hour}:{at.minute:02}"
    half, minutes = "오전" if at.hour < 12 else "오후", f" {at.minute}분" if at.minute else ""
    return f"{half} {at.hour % 12 or 12}시{minutes}"
