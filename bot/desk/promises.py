"""What customers who wait for a person are promised: a first answer and a solution, by a target.

A promise is made once, when a conversation is handed over, in opening hours and with the targets of that
moment; only a new priority makes it anew. Before a first answer is late the chat is raised: priority up,
a mark, and supervisors see it on their desk. Whether a promise was kept is never stored: it is the time of
the agent's first message, or of the end, against the time that was promised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bot import live, tagging
from bot.desk import audit
from bot.domain.errors import BadInput, NotFound
from bot.domain.hours import Hours
from bot.domain.open_time import OpenTime
from bot.domain.words import Author, Channel, State
from bot.services import Services
from bot.store import queries
from bot.store.care import PRIORITIES, Handling, Holiday, Promise, Target
from bot.store.tables import Agent, Conversation, HandOff, Message

FIRST, SOLVE = 60, 24 * 60  # minutes of opening time, where nobody has set a target
LONGEST = 60 * 24 * 60  # minutes
BATCH = 200
URGENT = max(PRIORITIES)
Phase = Literal["ok", "soon", "breached"]
log = structlog.get_logger()


@dataclass(frozen=True)
class Line:
    """The shop's opening time and how early a chat is raised."""

    hours: Hours
    zone: ZoneInfo
    escalate_percent: int

    @classmethod
    def of(cls, services: Services) -> "Line":
        """As it holds now."""
        settings = services.settings
        return cls(settings.opening_hours, settings.time_zone, services.care.escalate_percent)


@dataclass(frozen=True)
class Due:
    """What a customer is owed next, and by when."""

    what: Literal["first", "solve"]
    at: datetime
    soon_at: datetime  # from then on it is close to late
    phase: Phase
    escalated: bool


def tend(services: Services) -> int:
    """Makes the promises that are due to be made, and raises what is close to be late; returns how many."""
    now = services.clock()
    with services.store.read() as session:  # an idle look only reads
        idle = session.scalar(_unpromised().limit(1)) is None and not _to_raise(session, now, 1)
    if idle:
        return 0
    with services.store.unit_of_work() as session:
        return make_all(session, Line.of(services), now) + escalate(session, now)


def _unpromised() -> sa.Select[int]:
    return sa.select(HandOff.id).where(
        HandOff.ended_at.is_(None), ~sa.exists().where(Promise.hand_off_id == HandOff.id)
    )


def make_all(session: Session, line: Line, now: datetime) -> int:
    """A promise for each open hand-off that has none."""
    # FOR UPDATE, skipping: two workers don't make the same one.
    query = sa.select(HandOff).where(HandOff.id.in_(_unpromised())).order_by(HandOff.id).limit(BATCH)
    found = session.scalars(query.with_for_update(of=HandOff, skip_locked=True)).all()
    targets = listed(session)
    for hand_off in found:
        if session.get(Promise, hand_off.id) is None:
            promise = Promise(hand_off_id=hand_off.id)
            _set(session, promise, hand_off, line, targets)
            session.add(promise)
            live.touched(session, session.get_one(Conversation, hand_off.conversation_id), now)
    session.flush()
    return len(found)


def remake(session: Session, conversation: Conversation, line: Line) -> None:
    """After a new priority: its open promise by the targets that hold for it."""
    hand_off = queries.open_hand_off(session, conversation.id)
    promise = session.get(Promise, hand_off.id) if hand_off else None
    if hand_off and promise:
        _set(session, promise, hand_off, line, listed(session))


def _set(
    session: Session, promise: Promise, hand_off: HandOff, line: Line, targets: Sequence[Target]
) -> None:
    conversation = session.get_one(Conversation, hand_off.conversation_id)
    how = session.get(Handling, conversation.id)
    first, solve = minutes(targets, conversation.channel, how.priority if how else tagging.NORMAL)
    time = OpenTime(line.hours, line.zone, hand_off.at, hand_off.at)
    promise.first_due_at = time.due(hand_off.at, timedelta(minutes=first))
    promise.solve_due_at = time.due(hand_off.at, timedelta(minutes=solve))
    promise.raise_at = time.due(hand_off.at, timedelta(minutes=first * line.escalate_percent / 100))


def escalate(session: Session, now: datetime) -> int:
    """Raises what nobody has answered and is close to be late, once each; returns how many."""
    count = 0
    for hand_off_id, conversation_id in _to_raise(session, now, BATCH):
        one = sa.select(Conversation).where(Conversation.id == conversation_id)
        conversation = session.scalar(queries.for_update(one, skip_locked=True))
        promise = session.get(Promise, hand_off_id, populate_existing=True)
        if conversation is None or promise is None or promise.escalated_at:
            continue
        promise.escalated_at = now
        how = tagging.handling(session, conversation.id)
        before, how.priority = how.priority, min(URGENT, how.priority + 1)
        audit.note(
            session,
            None,
            "conversation_escalated",
            f"#{conversation.id}",
            now,
            {"priority": before},
            {"priority": how.priority, "due": promise.first_due_at.isoformat()},
        )
        session.flush()
        live.touched(session, conversation, now)
        log.info("promise.escalated", conversation_id=conversation.id)
        count += 1
    return count


def _to_raise(session: Session, now: datetime, limit: int) -> list[tuple[int, int]]:
    """Ids of hand-offs and conversations, the most urgent first."""
    found = session.execute(
        sa.select(HandOff.id, HandOff.conversation_id)
        .join(Promise, Promise.hand_off_id == HandOff.id)
        .join(Conversation, Conversation.id == HandOff.conversation_id)
        .where(
            Promise.escalated_at.is_(None),
            Promise.raise_at <= now,
            HandOff.ended_at.is_(None),
            Conversation.state.in_((State.WAITING, State.AGENT)),
            first_answer().is_(None),
        )
        .order_by(Promise.raise_at)
        .limit(limit)
    )
    return [(hand_off_id, conversation_id) for hand_off_id, conversation_id in found]


def first_answer() -> sa.ScalarSelect[datetime]:
    """When a person first wrote after a hand-off and before its end; correlated with `HandOff`."""
    return (
        sa.select(sa.func.min(Message.at))
        .where(
            Message.conversation_id == HandOff.conversation_id,
            Message.author == Author.AGENT,
            Message.at >= HandOff.at,
            sa.or_(HandOff.ended_at.is_(None), Message.at <= HandOff.ended_at),
        )
        .correlate(HandOff)
        .scalar_subquery()
    )


def due(session: Session, conversation_ids: Sequence[int], now: datetime) -> dict[int, Due]:
    """What is owed next in conversations that a person has or shall have."""
    found = session.execute(
        sa.select(HandOff, Promise, first_answer())
        .join(Promise, Promise.hand_off_id == HandOff.id)
        .where(HandOff.conversation_id.in_(conversation_ids), HandOff.ended_at.is_(None))
    )
    return {
        hand_off.conversation_id: _due(hand_off, promise, answered is not None, now)
        for hand_off, promise, answered in found
    }


def _due(hand_off: HandOff, promise: Promise, is_answered: bool, now: datetime) -> Due:
    at = promise.solve_due_at if is_answered else promise.first_due_at
    soon = at - (at - hand_off.at) / 4 if is_answered else promise.raise_at
    phase: Phase = "breached" if now > at else "soon" if now >= soon else "ok"
    return Due("solve" if is_answered else "first", at, soon, phase, promise.escalated_at is not None)


@dataclass(frozen=True)
class Risk:
    """What supervisors are told at their desk: conversations raised and not answered yet."""

    conversation_ids: list[int]
    late: int  # how many of them are over their time already


def risk(session: Session, now: datetime, limit: int = 20) -> Risk:
    """The ones whose time is up, or nearly, the latest first."""
    found = session.execute(
        sa.select(HandOff.conversation_id, Promise.first_due_at)
        .join(Promise, Promise.hand_off_id == HandOff.id)
        .where(
            HandOff.ended_at.is_(None),
            Promise.escalated_at.is_not(None),
            first_answer().is_(None),
        )
        .order_by(Promise.first_due_at)
        .limit(limit)
    ).all()
    return Risk([one for one, _ in found], sum(due_at < now for _, due_at in found))


# --- Targets and holidays ---


def listed(session: Session) -> list[Target]:
    """Every target that was set, the narrowest last."""
    return list(session.scalars(sa.select(Target).order_by(Target.place)))


def minutes(targets: Sequence[Target], channel: Channel, priority: int) -> tuple[int, int]:
    """Minutes for a first answer and for a solution. The narrowest target holds: channel and priority,
    then priority, then channel, then the one for all, then the built-in."""
    by_place = {(one.channel, one.priority): one for one in targets}
    for place in ((channel, priority), (None, priority), (channel, None), (None, None)):
        if place in by_place:
            return by_place[place].first_minutes, by_place[place].solve_minutes
    return FIRST, SOLVE


def set_target(
    session: Session,
    agent: Agent,
    channel: Channel | None,
    priority: int | None,
    first: int,
    solve: int,
    now: datetime,
) -> None:
    """Sets the target of a channel and priority (None: all). Raises BadInput."""
    if not (0 < first <= LONGEST and 0 < solve <= LONGEST):
        raise BadInput("Write minutes from 1 to 86400.")
    if first > solve:
        raise BadInput("The first answer can't be promised later than the solution.")
    if priority is not None and priority not in PRIORITIES:
        raise BadInput("There is no such priority.")
    place = place_of(channel, priority)
    found = session.get(Target, place)
    before = {"first": found.first_minutes, "solve": found.solve_minutes} if found else None
    if found is None:
        found = Target(place=place, channel=channel, priority=priority)
        session.add(found)
    found.first_minutes, found.solve_minutes = first, solve
    audit.note(session, agent, "target_set", place, now, before, {"first": first, "solve": solve})


def remove_target(session: Session, agent: Agent, place: str, now: datetime) -> None:
    """The wider target holds again. Raises NotFound."""
    found = session.get(Target, place)
    if found is None:
        raise NotFound("There is no such target.")
    session.delete(found)
    before = {"first": found.first_minutes, "solve": found.solve_minutes}
    audit.note(session, agent, "target_remove", place, now, before=before)


def place_of(channel: Channel | None, priority: int | None) -> str:
    """The key of a target."""
    return f"{channel.value if channel else '*'}/{'*' if priority is None else priority}"


def add_holiday(session: Session, agent: Agent, day: str, name: str, now: datetime) -> None:
    """A day (ISO) on which the desk is closed. Raises BadInput."""
    try:
        date = datetime.strptime(day, "%Y-%m-%d").date()  # noqa: DTZ007 (a day has no zone)
    except ValueError:
        raise BadInput("Write the day like 2026-12-25.") from None
    name = " ".join(name.split())
    if not 0 < len(name) <= 60:
        raise BadInput("Give the holiday a name of 1 to 60 characters.")
    found = session.get(Holiday, date)
    if found:
        found.name = name
    else:
        session.add(Holiday(day=date, name=name))
    audit.note(session, agent, "holiday_add", day, now, after={"name": name})


def remove_holiday(session: Session, agent: Agent, day: str, now: datetime) -> None:
    """The desk is open as on any such weekday. Raises NotFound."""
    found = session.scalar(sa.select(Holiday).where(sa.cast(Holiday.day, sa.String) == day))
    if found is None:
        raise NotFound("There is no such holiday.")
    session.delete(found)
    audit.note(session, agent, "holiday_remove", day, now, before={"name": found.name})


def holidays(session: Session) -> list[Holiday]:
    """All of them, by day."""
    return list(session.scalars(sa.select(Holiday).order_by(Holiday.day)))
