"""What a commit leaves to do, told to whoever does it: workers of this process and of others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from bot.domain.words import Status
from bot.store.tables import Conversation, InboxItem, Message

_NEWS, _LATE = "what to tell after the commit", "events to write just before the commit"


class Work(StrEnum):
    """Who has something to do."""

    INBOX = "inbox"  # something to file
    TURN = "turn"
    GUEST = "guest"  # to greet whoever has just written
    COURTESY = "courtesy"  # to look whom else a message may be shown to as seen
    OUTBOX = "outbox"
    LIVE = "live"  # an event to show


PATIENT = timedelta(seconds=0.4)  # an answer that comes by then needs nobody who seems to type it


@dataclass(frozen=True)
class Guest:
    """A customer to be courteous to: whoever filed their message says so, once.

    `is_nameless`: the channel wasn't asked for their name.
    """

    identity_id: int
    account: str
    thread: str
    wrote_at: datetime  # by our clock
    is_nameless: bool = False
    is_answered: bool = False


@dataclass(frozen=True)
class News:
    """Something to do, from `at` on (None: now). A `guest` is this process's own to look after."""

    work: Work
    at: datetime | None = None
    guest: Guest | None = None


Listener = Callable[[frozenset[News]], None]


class Unit(Session):
    """A session that notes what its changes leave to do, so that no caller has to think of it."""


@event.listens_for(Unit, "before_flush")
def _note(session: Unit, *_: Any) -> None:
    for row in (*session.new, *session.dirty):
        if isinstance(row, Conversation) and row.due_at:
            tell(session, News(Work.TURN, row.due_at))
        elif isinstance(row, Message) and row.status is Status.QUEUED:
            tell(session, News(Work.OUTBOX, row.next_try_at))
        elif isinstance(row, InboxItem) and row.filed_at is None:
            tell(session, News(Work.INBOX))


def tell(session: Session, news: News) -> None:
    """Tells it after the commit; a wrong alarm does no harm."""
    session.info.setdefault(_NEWS, set()).add(news)


def told(session: Session) -> frozenset[News]:
    """What there is to tell."""
    return frozenset(session.info.get(_NEWS, ()))


def add_event(session: Session, values: dict[str, Any]) -> None:
    """Writes a live event with this unit of work, as the last thing before its commit."""
    session.info.setdefault(_LATE, []).append((session.get_nested_transaction(), values))


@event.listens_for(Unit, "after_soft_rollback")
def _forget(session: Unit, ended: SessionTransaction) -> None:
    """What a savepoint that was rolled back had to tell never happened."""
    late = session.info.get(_LATE, [])
    session.info[_LATE] = [(savepoint, values) for savepoint, values in late if savepoint is not ended]


def late_events(session: Session) -> list[dict[str, Any]]:
    """The events to write, in the order of what happened."""
    found = [values for _savepoint, values in session.info.get(_LATE, [])]
    if found:
        tell(session, News(Work.LIVE))
    return found
