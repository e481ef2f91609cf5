"""How long a conversation can be put off."""

from datetime import datetime, time, timedelta
from enum import StrEnum

from bot.domain.hours import Hours

MORNING = time(9)  # of a day on which the desk isn't open at all


class Pause(StrEnum):
    """What an agent chooses from."""

    HOUR = "hour"
    HOURS = "hours"
    TOMORROW = "tomorrow"
    WEEK = "week"


def moment_of(pause: Pause, now: datetime, hours: Hours) -> datetime:
    """When it comes back; `now` is the shop's own time. Mornings begin when the desk opens."""
    if pause in (Pause.HOUR, Pause.HOURS):
        return now + timedelta(hours=1 if pause is Pause.HOUR else 3)
    days = 1 if pause is Pause.TOMORROW else 7 - now.weekday()
    day = now.date() + timedelta(days=days)
    opens = (opens for weekday, opens, _closes in hours.spans if weekday == day.weekday())
    return datetime.combine(day, min(opens, default=MORNING), now.tzinfo)
