"""When people are at the desk."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from bot.domain.errors import SettingError

LOOK_AHEAD = 367  # days
DAYS_END = time.max  # 24:00, as a span's end: no `time` can say so
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


@dataclass(frozen=True)
class Hours:
    """Opening spans by weekday (0 is Monday), local time; no span crosses midnight, one may end there
    (`DAYS_END`). Holidays are closed."""

    spans: tuple[tuple[int, time, time], ...]
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Reads "Mon-Fri 09:00-18:00, Sat 10:00-24:00"; "Sat-Mon" goes over the week's end.

        Raises SettingError.
        """
        spans = []
        for part in filter(None, (p.strip().lower() for p in text.split(","))):
            found = _PART.fullmatch(part)
            try:
                if not found:
                    raise ValueError
                first = DAYS.index(found["first"])
                last = DAYS.index(found["last"] or found["first"])
                opens = time.fromisoformat(found["from"])
                closes = DAYS_END if found["to"] == "24:00" else time.fromisoformat(found["to"])
                if opens >= closes:
                    raise ValueError
            except ValueError:
                raise SettingError(
                    f"OPENING_HOURS: can't read {part!r}; write 'Mon-Fri 09:00-18:00, Sat 10:00-14:00', and"
                    " hours beyond midnight as two: 'Fri 18:00-24:00, Sat 00:00-02:00'."
                ) from None
            spans += [((first + day) % 7, opens, closes) for day in range((last - first) % 7 + 1)]
        if not spans:
            raise SettingError("OPENING_HOURS is empty; write it like 'Mon-Fri 09:00-18:00'.")
        return cls(tuple(sorted(spans)))

    def on(self, day: date) -> list[tuple[time, time]]:
        """When the desk opens and closes on a day, in order; spans that overlap count once."""
        if day in self.holidays:
            return []
        merged: list[tuple[time, time]] = []
        for weekday, opens, closes in self.spans:
            if weekday != day.weekday():
                continue
            if merged and opens <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(closes, merged[-1][1]))
            else:
                merged.append((opens, closes))
        return merged

    def opens_at(self, now: datetime) -> datetime | None:
        """When people are back, in `now`'s time zone; None while they are there.

        After a year of holidays nobody knows: then it says when the year is over.
        """
        for ahead in range(LOOK_AHEAD):
            day = now.date() + timedelta(days=ahead)
            for opens, closes in self.on(day):
                start, end = (moment(day, at, now.tzinfo) for at in (opens, closes))
                if start <= now < end:
                    return None
                if start > now:
                    return start
        return now + timedelta(days=LOOK_AHEAD)


def moment(day: date, at: time, zone: tzinfo | None) -> datetime:
    """When a span of a day begins or ends; a day's end is the beginning of the next."""
    if at == DAYS_END:
        return datetime.combine(day + timedelta(days=1), time(), zone)
    return datetime.combine(day, at, zone)


def written(at: time) -> str:
    """As opening hours are written: "18:00", "24:00"."""
    return "24:00" if at == DAYS_END else at.strftime("%H:%M")
