"""Times in the customer's language."""

from __future__ import annotations

from datetime import datetime

_DAYS = {"en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")}
_AT = {"en": "on {day} at {time}"}


def spoken(opens_at: str | None, language: str) -> str | None:
    """When people are back: an ISO local time becomes "on Monday at 9:00".

    A language without words of its own gets the English ones. Raises ValueError for what isn't an
    ISO time.
    """
    if opens_at is None:
        return None
    time = datetime.fromisoformat(opens_at)
    day = _DAYS.get(language, _DAYS["en"])[time.weekday()]
    return _AT.get(language, _AT["en"]).format(day=day, time=f"{time.hour}:{time.minute:02}")
