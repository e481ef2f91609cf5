"""How long a conversation can be put off, and that it comes back."""

from datetime import datetime, time, timedelta
from enum import StrEnum

import sqlalchemy as sa

from bot import live
from bot.domain.hours import Hours
from bot.store import queries
from bot.store.desk_tables import Act, Deed
from bot.store.engine import Store
from bot.store.tables import Conversation

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


def wake_due(store: Store, now: datetime) -> int:
    """Puts back what was snoozed until now, so that its holder's page shows it; returns how many."""
    due = sa.and_(Conversation.agent_id.is_not(None), Conversation.snoozed_until <= now)
    with store.read() as session:  # an idle look only reads
        if session.scalar(sa.select(Conversation.id).where(due).limit(1)) is None:
            return 0
    with store.unit_of_work() as session:
        woken = session.scalars(
            queries.for_update(sa.select(Conversation).where(due), skip_locked=True)
        ).all()
        for conversation in woken:
            conversation.snoozed_until = None
            session.add(
                Act(
                    conversation_id=conversation.id,
                    agent_id=conversation.agent_id,
                    deed=Deed.WOKEN,
                    text="",
                    at=now,
                )
            )
            live.touched(session, conversation, now)
        return len(woken)
