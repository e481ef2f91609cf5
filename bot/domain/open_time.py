"""Time that passes only while people are at the desk: how long that was, and when a promise is due."""

from bisect import bisect_right
from datetime import date, datetime, time, timedelta, timezone, tzinfo

from bot.domain.hours import Hours, moment

UTC = timezone.utc
AHEAD = timedelta(days=400)  # a promise that isn't due by then never is: the desk doesn't open
STRIDE = timedelta(days=28)


class OpenTime:
    """The opening hours as a line of time. Made once for many questions; all times are aware."""

    def __init__(self, hours: Hours, zone: tzinfo, first: datetime, last: datetime) -> None:
        self._hours, self._zone = hours, zone
        self._starts: list[float] = []  # of each span, seconds since 1970
        self._ends: list[float] = []
        self._before: list[float] = [0.0]  # open seconds before each span
        self._until = first.astimezone(zone).date() - timedelta(days=1)  # spans are known up to here
        self._extend(last.astimezone(zone).date() + timedelta(days=1))

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How long the desk was open from `start` to `end`; zero if `end` is earlier."""
        return timedelta(seconds=self.seconds(start.timestamp(), end.timestamp()))

    def seconds(self, start: float, end: float) -> float:
        """The same for times in seconds since 1970, in seconds."""
        return max(0.0, self._at(end) - self._at(start))

    def due(self, start: datetime, span: timedelta) -> datetime:
        """When `span` of opening time will have passed since `start`, in UTC."""
        wanted = self._at(start.timestamp()) + span.total_seconds()
        limit = start.astimezone(self._zone).date() + AHEAD
        while self._before[-1] < wanted and self._until < limit:
            self._extend(self._until + STRIDE)
        if self._before[-1] < wanted:
            return start.astimezone(UTC) + AHEAD
        index = max(0, bisect_right(self._before, wanted - 1e-6) - 1)
        return datetime.fromtimestamp(self._starts[index] + wanted - self._before[index], UTC)

    def _at(self, moment: float) -> float:
        """Open seconds from the beginning of the line until a moment."""
        index = bisect_right(self._starts, moment) - 1
        if index < 0:
            return 0.0
        return self._before[index] + min(moment, self._ends[index]) - self._starts[index]

    def _extend(self, last: date) -> None:
        while self._until < last:
            self._until += timedelta(days=1)
            for opens, closes in self._hours.on(self._until):
                start, end = (self._stamp(at) for at in (opens, closes))
                self._starts.append(start)
                self._ends.append(max(start, end))
                self._before.append(self._before[-1] + max(0.0, end - start))

    def _stamp(self, at: time) -> float:
        return moment(self._until, at, self._zone).timestamp()
