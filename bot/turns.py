"""A turn, from top to bottom: claim it, have it read, decide, write it down.

    claim ──► Brain.read_and_reply ──► settle, in ONE transaction
      │              │ down
      │              └──► postpone, and after BRAIN_SECONDS a hand-off `outage`
      └── tried TRIES times and never settled: to a person

A turn is what a customer wrote until a moment of quiet. One worker at a time has a conversation: its
lease number is a fencing token, so a worker that wakes up after its lease can change nothing.

A time in the table that lies further ahead than we ever set one was written before the clock was set
back; it counts as past.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from bot import live, tagging
from bot.brain import Brain
from bot.counters import HAND_OVERS, THIRD_REPLIES, TURN_SECONDS, TURN_TROUBLE
from bot.domain.errors import BrainDown, LeaseLost
from bot.domain.rule import MAX_REPLIES, Action, Context, Effect, Proposal, last_word
from bot.domain.words import Author, Button, Channel, Ending, Reason, State, Status
from bot.services import Services
from bot.settings import Settings, opens_at
from bot.store import news, queries, rows
from bot.store.engine import Store
from bot.store.news import News, Work
from bot.store.rows import Columns
from bot.store.tables import Contact, Conversation, Identity, Message, new_public_id

RETRY = timedelta(seconds=1)  # between two tries at a brain that is down
TRIES = 5  # claims of a turn that were neither settled nor postponed: whoever had it failed or died
FAILED_FIRST = timedelta(seconds=2)  # before a turn that failed is tried again; doubled each time
SLACK = timedelta(minutes=1)  # how far the clocks of several machines may be apart
# What a conversation knows of itself that goes into a turn's Context.
LEARNED = ("answered", "asked_for", "misses", "order_number", "email", "language")
REMEMBERED = ("state", *LEARNED)
RELEASED = {"lease_until": None, "failing_since": None, "turn_error": None, "tries": 0}
log = structlog.get_logger()


def _is_due(conversation: sa.ColumnCollection[str, Any]) -> sa.ColumnElement[bool]:
    now: sa.BindParameter[datetime] = sa.bindparam("now")
    until = conversation.lease_until
    due = sa.or_(conversation.due_at <= now, conversation.due_at > sa.bindparam("due_far"))
    return sa.and_(due, sa.or_(until.is_(None), until <= now, until > sa.bindparam("lease_far")))


_TALK, _SAID, _IDENTITY, _CONTACT = map(rows.table, (Conversation, Message, Identity, Contact))
_other = _TALK.alias()
_two = sa.select(_other.c.id).where(_is_due(_other.c)).limit(2).subquery()
_REPLIES, _HEARD = (query.scalar_subquery() for query in queries.said_by_us_in(_TALK.c.id))
# What a decision needs of a conversation.
_KNOWN = (
    *(_TALK.c[name] for name in ("id", "channel", "tries", "lease_no", "last_message_at", *REMEMBERED)),
    _CONTACT.c.email.label("verified_email"),
    _REPLIES.label("replies_used"),
    _HEARD.label("heard"),
)
# The longest due conversation, and whether there are others.
_DUE = (
    sa.select(*_KNOWN, sa.select(sa.func.count()).select_from(_two).scalar_subquery().label("number"))
    .join(_CONTACT, _CONTACT.c.id == _TALK.c.contact_id)
    .where(_is_due(_TALK.c))
    .order_by(_TALK.c.due_at)
    .limit(1)
    .with_for_update(of=_TALK, skip_locked=True, key_share=True)
)
_LOCK = sa.select(_TALK.c.lease_no).where(_TALK.c.id == sa.bindparam("row"))
_LOCK = _LOCK.with_for_update(key_share=True)
_HERE = (
    sa.select(
        *_KNOWN,
        *(_TALK.c.due_at, _TALK.c.identity_id, _IDENTITY.c.account, _IDENTITY.c.thread, _IDENTITY.c.wrote_at),
        sa.exists(tagging.LIVE).label("has_rules"),
    )
    .join(_CONTACT, _CONTACT.c.id == _TALK.c.contact_id)
    .join(_IDENTITY, _IDENTITY.c.id == _TALK.c.identity_id)
    .where(_TALK.c.id == sa.bindparam("row"))
)
_OPEN = sa.select(*(_SAID.c[name] for name in ("id", "text", "attachments", "pressed"))).where(
    _SAID.c.conversation_id == sa.bindparam("conversation"), _SAID.c.handled_at.is_(None)
)
# A web page waits for a message to be stored before it sends the next. Meta delivers out of order, and
# says when each was written.
_OPEN_HERE, _OPEN_AS_WRITTEN = _OPEN.order_by(_SAID.c.id), _OPEN.order_by(_SAID.c.at, _SAID.c.id)
_IDLE = rows.update(Conversation, "due_at")
_LEASED = rows.update(Conversation, "tries", "lease_no", "lease_until")
_RELEASED = rows.update(Conversation, *RELEASED)
_WAITS = rows.update(Conversation, "last_message_at", "due_at")
_SETTLED = rows.update(Conversation, "state", "last_message_at", "due_at", *LEARNED)
_HANDLED, _MOVED = rows.update(Message, "handled_at", "tone"), rows.update(Message, "conversation_id")


@dataclass(frozen=True)
class Turn:
    """What a worker has claimed. `text` is the customer's messages, a line each."""

    conversation_id: int
    lease_no: int
    claimed_at: datetime
    message_ids: tuple[int, ...]
    text: str
    context: Context
    tries: int = 1  # this one included
    more: bool = False  # others are due, too

    @property
    def key(self) -> str:
        """Names this try at this turn; no two tries share it."""
        return f"{self.conversation_id}-{self.lease_no}"


@dataclass(frozen=True)
class Reply:
    """A reply for a channel that it is sent to, written down and on its way. `written`: monotonic seconds."""

    message_id: int
    public_id: str
    conversation_id: int
    identity_id: int
    channel: Channel
    account: str
    thread: str
    text: str
    buttons: list[dict[str, str]]
    at: datetime
    wrote_at: datetime  # when the customer wrote last
    written: float = 0.0


class Courier(Protocol):
    """Sends a reply without the queue. `bot.delivery` has one."""

    def takes(self, session: Session, reply: Reply) -> bool:
        """Whether it may go at once; `message_id` isn't known yet."""

    def marks(self, now: datetime) -> dict[str, Any]:
        """The columns of a message that is on its way."""

    def sends(self, reply: Reply) -> None:
        """Goes off, after the commit."""


async def work(
    services: Services, found: Callable[[], None] = lambda: None, courier: Courier | None = None
) -> bool:
    """Takes one turn that is due, if there is one; says whether there was.

    Calls `found` as soon as it has one, if there are more, for other workers. What a turn says goes with
    the `courier` if it takes it; else it is queued.
    """
    turn = await run_in_threadpool(claim, services.store, services.settings, services.clock())
    if turn is None:
        return False
    if turn.more:
        found()
    with structlog.contextvars.bound_contextvars(conversation_id=turn.conversation_id, turn=turn.key):
        await _decide(services, turn, courier)
    return True


async def _decide(services: Services, turn: Turn, courier: Courier | None) -> None:
    try:
        proposal = await read(services.brain, turn)
        if proposal is None:
            await run_in_threadpool(postpone, services, turn)
        else:
            reply = await run_in_threadpool(settle, services, turn, proposal, courier=courier)
            if reply and courier:
                courier.sends(reply)
    except LeaseLost:
        TURN_TROUBLE.labels("lease_lost").inc()
        log.warning("turn.lease_lost")
    except asyncio.CancelledError:
        await run_in_threadpool(give_back, services, turn)  # the process ends: the next one decides it
        raise
    except Exception as error:
        TURN_TROUBLE.labels("failed").inc()
        log.exception("turn.failed", tries=turn.tries)
        await run_in_threadpool(give_back, services, turn, type(error).__name__)


async def read(brain: Brain, turn: Turn) -> Proposal | None:
    """What the brain proposes; None if it is down."""
    try:
        return await brain.read_and_reply(turn.key, turn.text, turn.context)
    except BrainDown as error:
        log.warning("turn.brain_down", error=str(error))
        return None


def claim(store: Store, settings: Settings, now: datetime) -> Turn | None:
    """The longest due turn, leased to the caller; None if nothing is due."""
    longest = max(settings.burst, settings.greeting_wait, FAILED_FIRST * 2**TRIES)
    times = {"now": now, "due_far": now + longest + SLACK, "lease_far": now + settings.lease + SLACK}
    # Not durable: a turn whose claim is lost is claimed anew, and its lease can't have been used.
    with store.unit_of_work(durable=False) as session:
        due = session.execute(_DUE, times).first()
        if due is None:
            return None
        messages = _open_messages(session, due)
        if not messages:
            session.execute(_IDLE, {"row": due.id, "due_at": None})
            return None
        if due.tries < TRIES:
            return _lease(session, due, messages, settings, now)
    with store.unit_of_work() as session:
        conversation = queries.locked(session, due.id)
        if conversation and conversation.due_at and conversation.tries >= TRIES:
            _give_up(session, conversation, now)
    return None


def _lease(
    session: Session, due: Columns, messages: Sequence[Columns], settings: Settings, now: datetime
) -> Turn:
    lease = {"tries": due.tries + 1, "lease_no": due.lease_no + 1, "lease_until": now + settings.lease}
    session.execute(_LEASED, {"row": due.id, **lease})
    return Turn(
        conversation_id=due.id,
        lease_no=due.lease_no + 1,
        claimed_at=now,
        message_ids=tuple(message.id for message in messages),
        text="\n".join(message.text for message in messages if message.text),
        context=_context(due, messages, settings, now),
        tries=due.tries + 1,
        more=due.number > 1,
    )


def _give_up(session: Session, conversation: Conversation, now: datetime) -> None:
    """Nobody could decide this turn. A person gets it as it is, and may have it tried again."""
    TURN_TROUBLE.labels("given_up").inc()
    log.error("turn.given_up", conversation_id=conversation.id, error=conversation.turn_error)
    conversation.due_at = conversation.lease_until = None
    conversation.tries = 0
    conversation.turn_error = conversation.turn_error or "the worker died"
    queries.hand_over(session, conversation.id, Reason.OUTAGE, None, now)
    conversation.state = State.WAITING
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def give_back(services: Services, turn: Turn, error: str = "") -> None:
    """Lets go of a turn that wasn't decided; one that failed waits longer each time.

    Does nothing when another worker has the conversation by now.
    """
    with services.store.unit_of_work() as session:
        conversation = queries.locked(session, turn.conversation_id)
        if conversation is None or conversation.lease_no != turn.lease_no or not conversation.due_at:
            return
        conversation.lease_until = None
        if error:
            conversation.turn_error = error[:400]
            conversation.due_at = services.clock() + FAILED_FIRST * 2 ** (turn.tries - 1)


def release_all(store: Store) -> None:
    """Gives back what a killed process had claimed.

    For the embedded database, which one bot process serves. Were there another, its turn would be
    decided a second time and lose its lease: never said twice.
    """
    with store.unit_of_work() as session:
        held = Conversation.lease_until.is_not(None)
        session.execute(sa.update(Conversation).where(held).values(lease_until=None))


def settle(
    services: Services,
    turn: Turn,
    proposal: Proposal,
    is_outage: bool = False,
    courier: Courier | None = None,
) -> Reply | None:
    """Carries a proposal out, or drops it if the conversation has moved on since the claim.

    An outage is not decided anew: whatever has been written by now goes to a person. Returns the reply if
    the courier takes it: then it must be given to it.

    Raises LeaseLost when another worker has the conversation by now.
    """
    now = services.clock()
    with services.store.unit_of_work() as session, session.no_autoflush:
        done = carry_out(session, services.settings, turn, proposal, now, is_outage, courier)
    if done is None:
        return None
    effect, reply = done.effect, done.reply
    if proposal.speaks and done.replies_used >= MAX_REPLIES:
        THIRD_REPLIES.inc()
    if effect.hand_off and effect.state is not done.before:
        HAND_OVERS.labels(effect.hand_off.value).inc()
    TURN_SECONDS.labels(proposal.action.value).observe(max(0.0, (now - turn.claimed_at).total_seconds()))
    log.info(
        "turn.settled",
        action=proposal.action.value,
        state=effect.state.value,
        reply_no=effect.reply_no,
        reason=effect.hand_off.value if effect.hand_off else None,
    )
    return reply and replace(reply, written=time.monotonic())


@dataclass(frozen=True)
class Settled:
    """What became of a turn; `before` and `replies_used` are from before it."""

    effect: Effect
    before: State
    replies_used: int
    reply: Reply | None


def carry_out(
    session: Session,
    settings: Settings,
    turn: Turn,
    proposal: Proposal,
    now: datetime,
    is_outage: bool = False,
    courier: Courier | None = None,
) -> Settled | None:
    """What `settle` does in its transaction; None if nothing is settled yet. Raises LeaseLost."""
    its = {"row": turn.conversation_id}
    held = session.execute(_LOCK, its).first()
    if held is None or held.lease_no != turn.lease_no:
        raise LeaseLost
    talk = session.execute(_HERE, its).one()  # once it is locked: nothing of it changes any more
    session.execute(_RELEASED, its | RELEASED)
    messages = _open_messages(session, talk)
    moved_on = tuple(message.id for message in messages) != turn.message_ids
    if moved_on and not (is_outage and messages):
        TURN_TROUBLE.labels("stale").inc()
        if talk.due_at:
            news.tell(session, News(Work.TURN, talk.due_at))
        return None  # more came, or a person took over: what was decided is stale, and is decided anew
    context = _context(talk, messages, settings, now)
    effect = last_word(proposal, context, settings.new_topic_closes)
    if effect.wait and not turn.context.quiet:
        last_message_at = min(talk.last_message_at, now)  # the clock may go back
        due_at = last_message_at + settings.greeting_wait
        session.execute(_WAITS, its | {"last_message_at": last_message_at, "due_at": due_at})
        news.tell(session, News(Work.TURN, due_at))
        return None
    if effect.reopen:
        _move_on(session, session.get_one(Conversation, talk.id), messages, now)
        return None
    if messages:
        tones = [*(None for _ in messages[1:]), proposal.tone]
        handled = zip(messages, tones, strict=True)
        session.execute(_HANDLED, [{"row": m.id, "handled_at": now, "tone": tone} for m, tone in handled])
    if effect.hand_off:
        cause = _cause(messages, proposal.words)
        queries.hand_over(session, talk.id, effect.hand_off, proposal.topic, now, cause)
    reply = _say(session, talk, effect, courier, now) if effect.reply_no else None
    closes = effect.state is State.CLOSED
    settled = {
        "state": talk.state if closes else effect.state,
        "last_message_at": now if effect.reply_no else talk.last_message_at,
        "due_at": None,
    }
    learned = _learned(talk, proposal, was_said=effect.reply_no is not None)
    session.execute(_SETTLED, its | settled | learned)
    if closes:
        queries.close(session, session.get_one(Conversation, talk.id), now)
    if effect.reply_no or effect.hand_off or effect.state is not talk.state:
        status = live.state_view(effect.state, talk.replies_used + bool(effect.reply_no))
        _tell(session, talk, live.Kind.STATUS, status, now)
    if talk.has_rules:
        tagging.apply_rules(session, talk.id, talk.channel, turn.text, proposal.topic, now)
    return Settled(effect, talk.state, talk.replies_used, reply)


def postpone(services: Services, turn: Turn) -> None:
    """Tries again soon; when the brain stays down too long, a person gets the turn.

    Raises LeaseLost when another worker has the conversation by now.
    """
    now = services.clock()
    with services.store.unit_of_work() as session:
        conversation = _leased(session, turn)
        since = min(conversation.failing_since or turn.claimed_at, now)
        conversation.failing_since = since
        conversation.tries = 0
        if now - since < services.settings.brain_patience:
            conversation.lease_until = None
            conversation.due_at = now + RETRY
            TURN_TROUBLE.labels("postponed").inc()
            return
    text = services.brain.outage_reply(turn.context, conversation.language or "en")
    settle(services, turn, Proposal(Action.HAND_OFF, text=text, reason=Reason.OUTAGE), is_outage=True)


def _open_messages(session: Session, talk: Columns) -> Sequence[Columns]:
    """The customer's messages that no turn has dealt with, as they were written."""
    query = _OPEN_HERE if talk.channel is Channel.WEB else _OPEN_AS_WRITTEN
    return session.execute(query, {"conversation": talk.id}).all()


def _leased(session: Session, turn: Turn) -> Conversation:
    conversation = queries.locked(session, turn.conversation_id)
    if conversation is None or conversation.lease_no != turn.lease_no:
        raise LeaseLost
    return conversation


def _context(talk: Columns, messages: Sequence[Columns], settings: Settings, now: datetime) -> Context:
    """The conversation so far, as the rule wants it."""
    pressed = next((m.pressed for m in reversed(messages) if m.pressed), None)
    return Context(
        **{name: getattr(talk, name) for name in REMEMBERED},
        replies_used=talk.replies_used,
        verified_email=talk.verified_email,
        disclosed=talk.heard is Author.BOT,
        attachment=any(message.attachments for message in messages),
        pressed=Button(pressed) if pressed in set(Button) else None,
        quiet=now - talk.last_message_at >= settings.greeting_wait,
        opens_at=opens_at(settings, now),
    )


def _learned(talk: Columns, proposal: Proposal, was_said: bool) -> dict[str, Any]:
    """What the next turn should know. Only what was said counts as answered or asked."""
    known = {name: getattr(talk, name) for name in LEARNED} | {"language": proposal.language}
    known["order_number"] = proposal.order_number or talk.order_number
    known["email"] = proposal.email or talk.email
    if was_said and proposal.action is Action.ANSWER:
        known |= {"answered": proposal.topic, "asked_for": None}
    elif was_said and proposal.action is Action.ASK:
        known |= {"asked_for": proposal.detail, "misses": talk.misses + proposal.is_miss}
    return known


def _say(
    session: Session, talk: Columns, effect: Effect, courier: Courier | None, now: datetime
) -> Reply | None:
    """Writes the reply down. One that has to be sent is queued, or returned if the courier takes it."""
    buttons = [{"title": title, "button": button.value} for title, button in effect.buttons]
    said: dict[str, Any] = {
        **{"public_id": new_public_id(), "conversation_id": talk.id, "author": Author.BOT},
        **{"text": effect.reply, "attachments": [], "buttons": buttons, "reply_no": effect.reply_no},
        **{"client_id": None, "account": talk.account, "at": now, "handled_at": now},
        "status": first_status(talk.channel),
    }
    reply = None
    if courier and said["status"] is Status.QUEUED and talk.wrote_at:
        place = (talk.id, talk.identity_id, talk.channel, talk.account, talk.thread)
        reply = Reply(0, said["public_id"], *place, effect.reply, buttons, now, talk.wrote_at)
        reply = reply if courier.takes(session, reply) else None
        said |= courier.marks(now) if reply else {}
    message_id = rows.add(session, Message, said)
    if said["status"] is Status.QUEUED:
        news.tell(session, News(Work.OUTBOX))
    _tell(session, talk, live.Kind.MESSAGE, live.row_view(said), now)
    return reply and replace(reply, message_id=message_id)


def _tell(session: Session, talk: Columns, kind: live.Kind, view: dict[str, Any], now: datetime) -> None:
    live.tell(session, live.stream_of(talk.account, talk.thread), talk.id, kind, view, now)


def _cause(messages: Sequence[Columns], words: str | None) -> tuple[int | None, str | None]:
    """The message of a turn that holds the words; the last one where it isn't known."""
    found = next((message.id for message in messages if words and words in message.text), None)
    if found:
        return found, words
    return (messages[-1].id if messages else None), None


def first_status(channel: Channel) -> Status:
    """The web chat reads the table itself: what is committed is sent. Others are sent to."""
    return Status.SENT if channel is Channel.WEB else Status.QUEUED


def _move_on(session: Session, old: Conversation, messages: Sequence[Columns], now: datetime) -> None:
    """A new matter after a settled one: the turn opens a conversation of its own, and is due there."""
    new = Conversation(
        contact=old.contact,
        identity=old.identity,
        channel=old.channel,
        state=State.BOT,
        opened_at=now,
        last_message_at=old.last_message_at,
        due_at=now,
    )
    queries.close(session, old, now, Ending.MOVED_ON)
    live.changed(session, old, queries.replies_used(session, old.id), now)
    session.flush()
    session.add(new)
    session.flush()
    session.execute(_MOVED, [{"row": message.id, "conversation_id": new.id} for message in messages])
