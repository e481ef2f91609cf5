"""How long a year's reports take with many conversations: `python -m bench.reports 100000 [DATABASE_URL]`."""

import sys
import tempfile
import time
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from bot.desk import figures, sections
from bot.desk.figures import Span
from bot.desk.wording import words
from bot.domain.hours import Hours
from bot.domain.open_time import OpenTime
from bot.settings import _database_url
from bot.store.engine import Store
from tests import history

HOURS = Hours.parse("Mon-Fri 09:00-18:00, Sat 10:00-14:00")
NOW = datetime(2026, 11, 28, tzinfo=UTC)


def main() -> None:
    """Writes a year's past, then makes the report of the year, of 28 days, and of a channel."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}/shop.db"
        store = Store(_database_url(url))
        store.migrate()
        history.write(store, count, datetime(2025, 11, 27, tzinfo=UTC), 365)
        for name, first in (("a year", date(2025, 11, 27)), ("28 days", date(2026, 11, 1))):
            span = Span(first, date(2026, 11, 28), None, ZoneInfo("Europe/Berlin"))
            started = time.perf_counter()
            with store.read() as session:
                line = OpenTime(HOURS, span.zone, span.start, NOW)
                found = figures.report(session, span, line, NOW)
            sections.sections(found, span, words("en"))
            print(f"{name}: {found.total} conversations in {time.perf_counter() - started:.2f} s")
        store.close()


if __name__ == "__main__":
    main()
