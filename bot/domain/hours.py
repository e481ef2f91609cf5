"""When people are at the desk."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from bot.domain.errors import SettingError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


@dataclass(frozen=True)
class Hours:
    """Opening spans by weekday (0 is Monday), local time; no span crosses midnight."""

    spans: tuple[tuple[int, time, time], ...]

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Reads "Mon-Fri 09:00-18:00, Sat 10:00-14:00". Raises SettingError."""
        spans = []
        for part in filter(None, (p.strip().lower() for p in text.split(","))):
            found = _PART.fullmatch(part)
            try:
                if not found:
                    raise ValueError
                first = DAYS.index(found["first"])
                last = DAYS.index(found["last"] or found["first"])
                opens, closes = time.fromisoformat(found["from"]), time.fromisoformat(found["to"])
                if first > last or opens >= closes:
                    raise ValueError
            except ValueError:
                raise SettingError(
                    f"OPENING_HOURS: can't read {part!r}; write 'Mon-Fri 09:00-18:00, Sat 10:00-14:00'."
                ) from None
            spans += [(day, opens, closes) for day in range(first, last + 1)]
        if not spans:
            raise SettingError("OPENING_HOURS is empty; write it like 'Mon-Fri 09:00-18:00'.")
        return cls(tuple(sorted(spans)))

    def opens_at(self, now: datetime) -> datetime | None:
        """When people are back, in `now`'s time zone; None while they are there."""
        later = []
        for day, opens, closes in self.spans:
            date = now.date() + timedelta(days=(day - now.weekday()) % 7)
            start = datetime.combine(date, opens, now.tzinfo)
            if start <= now < datetime.combine(date, closes, now.tzinfo):
                return None
            later.append(start if start > now else start + timedelta(days=7))
        return min(later)
