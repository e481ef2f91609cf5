"""The figures of the reports, from the tables as they are now.

Every figure is about the conversations that were opened in a time, on one channel or all, so that they add
up: what they mean stands on the page (`words/shift`, `reports.means`), and a test computes each anew from
the raw tables. The database counts; only times of which a median is wanted are fetched one by one.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from bot.desk import promises
from bot.domain.open_time import OpenTime
from bot.domain.words import Author, Channel, Ending, State
from bot.store.care import ConversationTag, Promise, Rating, Tag
from bot.store.tables import Agent, Conversation, HandOff, Message

QUARTER = 900  # seconds: every time zone's hours begin on a quarter of an hour
AGAIN = 24 * 3600  # seconds after a close within which a customer who writes has come back
OUTCOMES = ("settled", "silent", "moved_on", "alone_unknown", "person_closed", "person_open", "bot_open")
HANDED = ("resolved", "closed", "given_back", "held", "waiting")
KEPT = ("kept", "late", "running", "ended")


@dataclass(frozen=True)
class Span:
    """Which conversations: opened on these days of the shop's, both included, on one channel or all."""

    first: date
    last: date
    channel: Channel | None
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        """The beginning of the first day, in UTC."""
        return datetime.combine(self.first, time(), self.zone).astimezone(UTC)

    @property
    def end(self) -> datetime:
        """The end of the last day, in UTC."""
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone).astimezone(UTC)

    @property
    def days(self) -> list[date]:
        """Each of the days."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def where(self) -> sa.ColumnElement[bool]:
        """Condition on `Conversation`."""
        opened = sa.and_(Conversation.opened_at >= self.start, Conversation.opened_at < self.end)
        return sa.and_(opened, Conversation.channel == self.channel) if self.channel else opened


@dataclass(frozen=True)
class Spread:
    """Times of which half, and nine of ten, are no longer; seconds. None where there are none."""

    count: int
    median: float | None
    p90: float | None

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Spread":
        """The 90th percentile by the nearest rank: the smallest time that 90 % don't exceed."""
        found = sorted(seconds)
        if not found:
            return cls(0, None, None)
        return cls(len(found), median(found), found[math.ceil(0.9 * len(found)) - 1])


@dataclass(frozen=True)
class Report:
    """Every figure. Counts, and spreads of seconds."""

    total: int
    by_hour: dict[tuple[int, str], int]  # hour of the shop's day and channel
    by_day: dict[tuple[date, str], int]
    outcomes: dict[str, int]
    replies: dict[int, int]
    times: dict[str, Spread]
    handed: dict[tuple[str, str], int]  # reason and outcome
    kept: dict[tuple[str, str], int]  # "first" or "solve", and how it went
    reopened: int
    ratings: dict[tuple[int, str], int]  # score, and "alone" or "person"
    tags: dict[str, int]
    tag_days: dict[tuple[str, date], int]
    agents: dict[str, "AgentFigures"]


@dataclass
class AgentFigures:
    """What one agent did in these conversations. The name "" stands for colleagues outside the desk."""

    conversations: int = 0
    messages: int = 0
    firsts: int = 0
    first: float | None = None  # median seconds
    kept: int = 0
    ratings: int = 0
    score: float | None = None


def report(session: Session, span: Span, time_line: OpenTime, now: datetime) -> Report:
    """All figures of a span."""
    buckets = _volume(session, span)
    local = {bucket: _local(bucket, span.zone) for bucket, _ in buckets}
    by_hour: Counter[tuple[int, str]] = Counter()
    by_day: Counter[tuple[date, str]] = Counter()
    for (bucket, channel), count in buckets.items():
        by_hour[local[bucket].hour, channel] += count
        by_day[local[bucket].date(), channel] += count
    outcomes, replies, bot_first, alone = _conversations(session, span)
    handed = _handed(session, span, now)
    tags, tag_days = _tags(session, span)
    return Report(
        total=sum(buckets.values()),
        by_hour=by_hour,
        by_day=by_day,
        outcomes=outcomes,
        replies=replies,
        times=_times(handed, bot_first, alone, time_line),
        handed=Counter((one.reason, one.outcome) for one in handed),
        kept=Counter(
            pair
            for one in handed
            if one.promised
            for pair in (("first", one.first_kept), ("solve", one.kept))
        ),
        reopened=_reopened(session, span),
        ratings=_ratings(session, span),
        tags=tags,
        tag_days=tag_days,
        agents=_agents(session, span, handed),
    )


def epoch(session: Session, column: Any) -> sa.ColumnElement[float]:
    """A time as seconds since 1970."""
    if session.get_bind().dialect.name == "sqlite":
        # A text of 26 characters; %f would be seconds alone, julianday isn't exact to the millisecond.
        whole = sa.cast(sa.func.strftime("%s", column), sa.Integer)
        return sa.cast(whole, sa.Float) + sa.cast(
            "0" + sa.func.substr(sa.cast(column, sa.String), 20, 7), sa.Float
        )
    return sa.cast(sa.extract("epoch", column), sa.Float)


def _bucket(session: Session, column: Any) -> sa.ColumnElement[int]:
    if session.get_bind().dialect.name == "sqlite":
        return sa.cast(sa.func.strftime("%s", column), sa.Integer).op("/")(QUARTER)
    return sa.cast(sa.func.floor(sa.extract("epoch", column) / QUARTER), sa.Integer)


def _local(bucket: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(bucket * QUARTER, zone)


def _volume(session: Session, span: Span) -> dict[tuple[int, str], int]:
    bucket = _bucket(session, Conversation.opened_at)
    found = session.execute(
        sa.select(bucket, Conversation.channel, sa.func.count())
        .where(span.where())
        .group_by(bucket, Conversation.channel)
    )
    return {(int(at), channel.value): count for at, channel, count in found}


def _person() -> sa.ColumnElement[bool]:
    """Whether a person had anything to do with a conversation; condition on `Conversation`."""
    return sa.or_(
        sa.exists().where(HandOff.conversation_id == Conversation.id),
        sa.exists().where(Message.conversation_id == Conversation.id, Message.author == Author.AGENT),
        sa.func.coalesce(Conversation.ending == Ending.RESOLVED, sa.false()),
    )


def _conversations(
    session: Session, span: Span
) -> tuple[dict[str, int], dict[int, int], list[float], list[float]]:
    """Outcomes, replies used, and seconds until the bot's first reply and until it had settled it alone."""
    bots, first = (
        sa.select(what)
        .where(Message.conversation_id == Conversation.id, Message.author == Author.BOT)
        .scalar_subquery()
        for what in (sa.func.count(), sa.func.min(epoch(session, Message.at)))
    )
    closed = Conversation.state == State.CLOSED
    outcome = sa.case(
        (sa.and_(_person(), closed), "person_closed"),
        (_person(), "person_open"),
        (~closed, "bot_open"),
        (Conversation.ending.is_(None), "alone_unknown"),
        else_=sa.cast(Conversation.ending, sa.String),
    )
    opened, ended = epoch(session, Conversation.opened_at), epoch(session, Conversation.closed_at)
    per = (
        sa.select(
            outcome.label("outcome"),
            bots.label("bots"),
            (first - opened).label("first"),
            (ended - opened).label("length"),
        )
        .where(span.where())
        .subquery()
    )
    counted = session.execute(
        sa.select(per.c.outcome, per.c.bots, sa.func.count()).group_by(per.c.outcome, per.c.bots)
    ).all()
    outcomes: Counter[str] = Counter()
    replies: Counter[int] = Counter()
    for name, used, count in counted:
        outcomes[name] += count
        replies[used] += count
    alone = per.c.outcome.in_(("settled", "silent", "moved_on", "alone_unknown"))
    times = session.execute(
        sa.select(per.c.first, sa.case((alone, per.c.length))).where(sa.or_(per.c.first.is_not(None), alone))
    ).all()
    firsts = [one for one, _ in times if one is not None]
    return outcomes, replies, firsts, [one for _, one in times if one is not None]


@dataclass(frozen=True)
class Handed:
    """One hand-off; times in seconds since 1970."""

    reason: str
    outcome: str
    at: float
    first: float | None
    by: int | None  # the agent who answered first
    solved: float | None
    promised: bool
    first_kept: str
    kept: str


def _handed(session: Session, span: Span, now: datetime) -> list[Handed]:
    by = (
        sa.select(Message.agent_id)
        .where(
            Message.conversation_id == HandOff.conversation_id,
            Message.author == Author.AGENT,
            Message.at >= HandOff.at,
        )
        .order_by(Message.at, Message.id)
        .limit(1)
        .correlate(HandOff)
        .scalar_subquery()
    )
    closes = HandOff.ended_at == Conversation.closed_at
    outcome = sa.case(
        (sa.and_(closes, Conversation.ending == Ending.RESOLVED), "resolved"),
        (closes, "closed"),
        (HandOff.ended_at.is_not(None), "given_back"),
        (HandOff.taken_at.is_not(None), "held"),
        else_="waiting",
    )
    found = session.execute(
        sa.select(
            HandOff.reason,
            outcome,
            epoch(session, HandOff.at),
            epoch(session, promises.first_answer()),
            by,
            sa.case((closes, epoch(session, HandOff.ended_at))),
            epoch(session, Promise.first_due_at),
            epoch(session, Promise.solve_due_at),
            HandOff.ended_at.is_not(None),
        )
        .join(Conversation, Conversation.id == HandOff.conversation_id)
        .outerjoin(Promise, Promise.hand_off_id == HandOff.id)
        .where(span.where())
    )
    moment = now.timestamp()
    return [
        Handed(
            reason.value,
            how,
            at,
            first,
            by if first is not None else None,
            solved,
            first_due is not None,
            _kept(first, first_due, is_over, moment),
            _kept(solved, solve_due, is_over, moment),
        )
        for reason, how, at, first, by, solved, first_due, solve_due, is_over in found
    ]


def _kept(done: float | None, due: float | None, is_over: bool, now: float) -> str:
    """How a promise went. One that ended before it was due and without what was promised is owed no more."""
    if due is None:
        return ""
    if done is not None:
        return "kept" if done <= due else "late"
    if is_over:
        return "ended"
    return "late" if now > due else "running"


def _times(
    handed: Sequence[Handed], bot_first: list[float], alone: list[float], line: OpenTime
) -> dict[str, Spread]:
    first = [(one.at, one.first) for one in handed if one.first is not None]
    solved = [(one.at, one.solved) for one in handed if one.solved is not None]
    return {
        "bot_first": Spread.of(bot_first),
        "bot_solve": Spread.of(alone),
        "first": Spread.of(end - start for start, end in first),
        "first_open": Spread.of(line.seconds(start, end) for start, end in first),
        "solve": Spread.of(end - start for start, end in solved),
        "solve_open": Spread.of(line.seconds(start, end) for start, end in solved),
    }


def _reopened(session: Session, span: Span) -> int:
    before = aliased(Conversation)
    gap = epoch(session, Conversation.opened_at) - epoch(session, before.closed_at)
    came_back = sa.exists().where(
        before.contact_id == Conversation.contact_id,
        before.channel == Conversation.channel,
        before.opened_at < Conversation.opened_at,
        sa.func.coalesce(before.ending != Ending.MOVED_ON, sa.true()),
        gap.between(0, AGAIN),
    )
    return session.scalar(sa.select(sa.func.count()).where(span.where(), came_back)) or 0


def _ratings(session: Session, span: Span) -> dict[tuple[int, str], int]:
    whose = sa.case((_person(), "person"), else_="alone")
    found = session.execute(
        sa.select(Rating.score, whose, sa.func.count())
        .join(Conversation, Conversation.id == Rating.conversation_id)
        .where(span.where())
        .group_by(Rating.score, whose)
    )
    return {(score, name): count for score, name, count in found}


def _tags(session: Session, span: Span) -> tuple[dict[str, int], dict[tuple[str, date], int]]:
    bucket = _bucket(session, Conversation.opened_at)
    found = session.execute(
        sa.select(Tag.name, bucket, sa.func.count())
        .join(ConversationTag, ConversationTag.tag_id == Tag.id)
        .join(Conversation, Conversation.id == ConversationTag.conversation_id)
        .where(span.where(), ConversationTag.removed_at.is_(None))
        .group_by(Tag.id, Tag.name, bucket)
    )
    total: Counter[str] = Counter()
    by_day: Counter[tuple[str, date]] = Counter()
    for name, at, count in found:
        total[name] += count
        by_day[name, _local(int(at), span.zone).date()] += count
    return dict(total.most_common()), by_day


def _agents(session: Session, span: Span, handed: Sequence[Handed]) -> dict[str, AgentFigures]:
    wrote = session.execute(
        sa.select(Message.agent_id, sa.func.count(), sa.func.count(sa.distinct(Message.conversation_id)))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(span.where(), Message.author == Author.AGENT)
        .group_by(Message.agent_id)
    )
    found: defaultdict[int | None, AgentFigures] = defaultdict(AgentFigures)
    for agent_id, messages, conversations in wrote:
        found[agent_id].messages, found[agent_id].conversations = messages, conversations
    took: defaultdict[int | None, list[float]] = defaultdict(list)
    for one in handed:
        if one.first is not None:
            took[one.by].append(one.first - one.at)
            found[one.by].kept += one.first_kept == "kept"
    for agent_id, seconds in took.items():
        found[agent_id].firsts, found[agent_id].first = len(seconds), median(seconds)
    # A rating counts for each agent who wrote to the customer.
    pairs = (
        sa.select(Message.conversation_id.label("conversation"), Message.agent_id)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(Rating, Rating.conversation_id == Conversation.id)
        .where(span.where(), Message.author == Author.AGENT)
        .group_by(Message.conversation_id, Message.agent_id)
        .subquery()
    )
    rated = session.execute(
        sa.select(pairs.c.agent_id, sa.func.count(), sa.func.sum(Rating.score))
        .join(Rating, Rating.conversation_id == pairs.c.conversation)
        .group_by(pairs.c.agent_id)
    )
    for agent_id, count, scores in rated:
        found[agent_id].ratings, found[agent_id].score = count, scores / count
    names = dict(session.execute(sa.select(Agent.id, Agent.name)).all())
    order = sorted(found.items(), key=lambda item: -item[1].messages)
    return {f"{names[agent_id]} #{agent_id}" if agent_id else "": one for agent_id, one in order}
