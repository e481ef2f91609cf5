"""One look at what there is to do, for all kinds of workers: what nobody rang for.

That is what another process committed where no Redis tells of it, what a process that died left, and what
became due while nobody was here. A kind is told of whenever there may be something for it: whoever then
finds nothing has lost a moment, but nothing may be missed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from bot.delivery import OUTBOX
from bot.domain.words import State
from bot.store.engine import Store
from bot.store.news import Work
from bot.store.tables import Conversation, Event, HandOff, Identity, InboxItem, Message

KINDS = (Work.INBOX, Work.TURN, Work.OUTBOX, Work.COURTESY)
LATELY = timedelta(minutes=15)  # an older message isn't shown as seen any more: see `bot.courtesy`


def _any(*conditions: sa.ColumnElement[bool]) -> sa.Exists:
    return sa.exists(sa.select(sa.literal(1)).where(*conditions))


_conversation = Conversation.__table__.c
_elsewhere = _conversation.channel != sa.literal_column("'web'")  # there, "seen" can be shown
_LOOK = sa.select(
    _any(InboxItem.filed_at.is_(None)),
    _any(_conversation.due_at.is_not(None)),
    _any(Message.__table__.c.status.in_(OUTBOX)),
    sa.or_(
        # As their indexes say it: SQLite takes one only for the same words.
        _any(Identity.named_at.is_(None), sa.literal_column("identity.channel <> 'web'")),
        _any(_conversation.due_at.is_not(None), _elsewhere),
        _any(
            _conversation.state == State.AGENT,
            _conversation.last_message_at > sa.bindparam("lately"),
            _elsewhere,
        ),
    ),
    sa.or_(
        _any(HandOff.ended_at.is_(None)),
        _any(_conversation.state.in_((State.WAITING, State.AGENT))),
    ),
    sa.select(sa.func.max(Event.id)).scalar_subquery(),
)


@dataclass(frozen=True)
class Seen:
    """Who may have something to do; whether people wait or are at work; the newest event's id."""

    work: frozenset[Work]
    people: bool
    newest_event: int


def look(store: Store, now: datetime) -> Seen:
    """What one statement tells. Raises StoreDown."""
    with store.read() as session:
        *waits, people, newest = session.execute(_LOOK, {"lately": now - LATELY}).one()
    work = frozenset(kind for kind, is_any in zip(KINDS, waits, strict=True) if is_any)
    return Seen(work, people, newest or 0)
