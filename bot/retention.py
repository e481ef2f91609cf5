"""What may go: live events that no page will ask for, and filed inbox items that no channel repeats.

Neither is the only place of anything: an event tells of a change that its tables hold, and a filed item's
message is a row of its own. Rows are looked at once from the oldest on, a few at a time, so that nobody
waits for a deletion.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot.store.engine import Store
from bot.store.tables import Event, InboxItem

# A page that was away for longer is given the whole conversation again (`bot.channels.web`), or fetches it.
EVENTS_KEPT = timedelta(days=1)
# Meta repeats a webhook for up to a few days; a page's unsent message may lie in its browser for weeks.
INBOX_KEPT = timedelta(days=30)
BATCH = 500


class Sweep:
    """Goes through both tables, again and again, a batch with each step."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._after: dict[str, int] = {}

    def step(self) -> bool:
        """Deletes what is too old among the next rows; says whether there may be more."""
        now = self._clock()
        with self._store.read() as session:
            newest = session.scalar(sa.select(sa.func.max(Event.id))) or 0
        events = (Event.at < now - EVENTS_KEPT, Event.id < newest)  # the newest marks where ids are
        filed = InboxItem.filed_at < now - INBOX_KEPT
        items = (InboxItem.received_at < now - INBOX_KEPT, sa.and_(filed, InboxItem.error.is_(None)))
        return any([self._delete(Event, *events), self._delete(InboxItem, *items)])

    def _delete(
        self,
        table: type[Event] | type[InboxItem],
        is_old: sa.ColumnElement[bool],
        may_go: sa.ColumnElement[bool],
    ) -> bool:
        after = self._after.get(table.__tablename__, 0)
        with self._store.read() as session:
            rows = session.execute(
                sa.select(table.id, is_old, may_go).where(table.id > after).order_by(table.id).limit(BATCH)
            ).all()
        old = [row for row in rows if row[1]]
        going = [row[0] for row in old if row[2]]
        if going:
            with self._store.unit_of_work(durable=False) as session:
                session.execute(sa.delete(table).where(table.id.in_(going)))
        is_through = len(old) < BATCH
        self._after[table.__tablename__] = 0 if is_through else rows[-1][0]
        return not is_through
