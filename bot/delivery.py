"""Sending what is queued, in order, each message once.

    queued ──► sending ──► sent | failed | unknown

A row is marked `sending` before Meta is asked, so a crash in between leaves a row that may have been
sent: it becomes `unknown`, and only its echo settles it. Nothing is ever sent again blindly: only an
answer that says that nothing was sent leads to another try. A long text goes out part by part: after
each the row is queued again, and the next claim goes on behind it.

One sender at a time has a message: `send_no` is a fencing token, so one that wakes up after its claim
was given up can neither send nor write down anything.

A turn's reply doesn't queue where nothing is in its way: it is written down as `sending`, and the `Courier`
goes off with it as soon as that is on the disk.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, cast

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, aliased
from starlette.concurrency import run_in_threadpool

from bot import accounts, filing, live
from bot.accounts import Trouble
from bot.channels.graph import REASONS, Answer, Graph, Outcome
from bot.domain.texts import split
from bot.domain.window import FOR_ALL, FOR_PEOPLE, Phase, window
from bot.domain.words import Author, Channel, Reason, State, Status
from bot.services import Services
from bot.store import queries, rows
from bot.store.engine import Store
from bot.store.tables import Account, Conversation, Identity, InboxItem, Message, Part
from bot.turns import Reply

PATIENCE = timedelta(minutes=3)  # longer than one send may take: its sender is gone
HOLD_BACK = timedelta(minutes=2)  # how long an `unknown` message holds back the ones after it
RETRY_FIRST = timedelta(seconds=2)
RETRY_MOST = timedelta(minutes=5)
AT_ONCE_SECONDS = 0.05  # between the commit and the send: a sender that took longer looks once more
GIVE_UP = 20  # tries; about an hour and a half
LONGEST_ID = 255  # what the column holds of an external id
LONGEST = timedelta(minutes=10)  # no time in the outbox is set further ahead: the clock was set back
OUTBOX = (Status.QUEUED, Status.SENDING)
TROUBLES = {Outcome.NO_TOKEN: Trouble.NO_TOKEN, Outcome.TOKEN: Trouble.TOKEN}
KEPT = (Outcome.RETRY, Outcome.THROTTLED, *TROUBLES)  # nothing was sent, and it may go later
log = structlog.get_logger()


@dataclass(frozen=True)
class Parcel:
    """One message on its way, or one part of it. `part` counts from 1."""

    message_id: int
    conversation_id: int
    public_id: str
    account: str
    thread: str
    text: str
    buttons: list[dict[str, str]]
    send_no: int
    attempt: int
    started_at: datetime
    part: int = 1
    parts: int = 1
    is_late: bool = False  # a person answers after the 24-hour window
    by_agent: bool = False

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """A reply that is on its way since its turn was settled, or the first part of it."""
        return cls(
            message_id=reply.message_id,
            conversation_id=reply.conversation_id,
            public_id=reply.public_id,
            account=reply.account,
            thread=reply.thread,
            send_no=1,
            attempt=1,
            started_at=reply.at,
            **_part_of(reply.text, reply.buttons, reply.channel),
        )

    @property
    def part_id(self) -> str:
        """What travels as metadata. The last part's echo settles the message, the others' their part."""
        return self.public_id if self.part == self.parts else f"{self.public_id}/{self.part}"


async def deliver(services: Services, graph: Graph, found: Callable[[], None] = lambda: None) -> bool:
    """Sends one queued message or part, if there is one; says whether there was.

    Calls `found` as soon as it has one: there may be more, for other workers.
    """
    parcel = await run_in_threadpool(claim, services)
    if parcel is None:
        return False
    found()
    await _carry(services, graph, parcel, look=True)
    return True


async def _carry(services: Services, graph: Graph, parcel: Parcel, look: bool) -> None:
    """Sends a parcel and writes down what became of it; `look`: whether it may still go is asked first."""
    if look and not await run_in_threadpool(may_go, services, parcel):
        await run_in_threadpool(settle, services, parcel, Answer(Outcome.REFUSED, queries.TAKEN))
        return
    answer = await _send(graph, parcel)
    if answer.outcome is Outcome.NOT_OWNER and parcel.by_agent:
        taken = await graph.take_thread(parcel.account, parcel.thread)
        if taken.outcome is Outcome.SENT:
            answer = await _send(graph, parcel)
        elif taken.outcome in KEPT:
            answer = taken
        elif taken.outcome is Outcome.UNKNOWN:  # whoever has the thread now: nothing was sent
            answer = replace(taken, outcome=Outcome.RETRY)
    await run_in_threadpool(settle, services, parcel, answer)


class Courier:
    """Goes off with what a turn says, without the queue: so many at a time, and the queue takes the rest.

    See `bot.turns.Courier`.
    """

    def __init__(self, services: Services, graph: Graph, most: int) -> None:
        self._services, self._graph, self._most = services, graph, most
        self._under_way: set[asyncio.Task[None]] = set()

    def takes(self, session: Session, reply: Reply) -> bool:
        """Whether it may go at once: nothing before it in its thread is open, nothing holds its account."""
        if len(self._under_way) >= self._most or reply.at - reply.wrote_at >= FOR_ALL:
            return False
        place = {"identity": reply.identity_id, "account": reply.account}
        return session.execute(_IN_THE_WAY, place | _times(reply.at)).first() is None

    def marks(self, now: datetime) -> dict[str, Any]:
        """The columns of a message that is on its way."""
        return {"status": Status.SENDING, "attempts": 1, "send_no": 1, "next_try_at": now + PATIENCE}

    def sends(self, reply: Reply) -> None:
        """Goes off. To be called on the event loop, after the commit."""
        self._services.guests.answered(reply.account, reply.thread)
        task = asyncio.create_task(self.goes(reply))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def goes(self, reply: Reply) -> None:
        """Sends a reply that it took, and writes down what became of it."""
        parcel = Parcel.of(reply)
        slept = time.monotonic() - reply.written > AT_ONCE_SECONDS
        try:
            await _carry(self._services, self._graph, parcel, look=slept)
        except Exception:  # the row stays `sending`: it becomes `unknown`, as when the process dies
            log.exception("delivery.failed", message=parcel.public_id)

    async def rest(self, seconds: float) -> None:
        """Waits for those under way; who isn't back in time is left, as when the process dies."""
        if self._under_way:
            _back, late = await asyncio.wait(self._under_way, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _send(graph: Graph, parcel: Parcel) -> Answer:
    return await graph.send(
        parcel.account, parcel.thread, parcel.text, parcel.part_id, parcel.buttons, parcel.is_late
    )


def claim(services: Services) -> Parcel | None:
    """The next message or part to send, marked `sending`. A message waits for those before it."""
    now = services.clock()
    with services.store.read() as session:  # an idle look only reads
        if session.scalar(_ANY) is None:
            return None
    with services.store.unit_of_work() as session:
        _expire(session, now)
        _abandon(session, now)
        message = session.scalar(_NEXT, _times(now))
        if message is None:
            return None
        account = session.get(Account, message.account)
        if account and account.trouble in TROUBLES.values():
            account.paused_until = now + accounts.PROBE  # one message tries; the rest wait for its answer
        identity: Identity = message.conversation.identity
        message.status = Status.SENDING
        message.attempts += 1
        message.send_no += 1
        message.next_try_at = now + PATIENCE
        return Parcel(
            message_id=message.id,
            conversation_id=message.conversation_id,
            public_id=message.public_id,
            account=message.account,
            thread=identity.thread,
            send_no=message.send_no,
            attempt=message.attempts,
            started_at=now,
            **_part_of(message.text, message.buttons, identity.channel, message.parts_sent),
            is_late=window(identity.channel, identity.wrote_at, now).phase is Phase.PEOPLE,
            by_agent=message.author is Author.AGENT,
        )


def _part_of(text: str, buttons: list[dict[str, str]], channel: Channel, sent: int = 0) -> dict[str, Any]:
    """The fields of a parcel for the part after so many; the buttons are on the last."""
    parts = split(text, channel) or [""]
    number = min(sent, len(parts) - 1) + 1
    last = number == len(parts)
    return {
        **{"text": parts[number - 1], "buttons": buttons if last else []},
        **{"part": number, "parts": len(parts)},
    }


def _is_past(at: Any) -> sa.ColumnElement[bool]:
    """Whether a time of ours has come; what is too far ahead was set before the clock was set back."""
    return sa.or_(at <= sa.bindparam("now"), at > sa.bindparam("too_far"))


def _holds_back(message: Any) -> sa.ColumnElement[bool]:
    """Whether what comes after a message in its thread has to wait for it."""
    unsettled = sa.and_(message.status == Status.UNKNOWN, ~_is_past(message.next_try_at))
    return sa.or_(message.status.in_(OUTBOX), unsettled)


def _times(now: datetime) -> dict[str, datetime]:
    """What `_is_past` compares with."""
    return {"now": now, "too_far": now + LONGEST}


def _next() -> sa.Select[Message]:
    """The oldest message that may go: nothing before it in its thread is open, nothing holds its account."""
    earlier, its = aliased(Message), aliased(Conversation)
    waits = (
        sa.select(earlier.id)
        .join(its, its.id == earlier.conversation_id)
        .where(
            its.identity_id == Conversation.identity_id,
            earlier.id < Message.id,
            _holds_back(earlier),
        )
        .exists()
    )
    paused = sa.exists().where(Account.id == Message.account, ~_is_past(Account.paused_until))
    return (
        sa.select(Message)
        .join(Message.conversation)
        .where(
            Message.status == Status.QUEUED,
            Conversation.channel != Channel.WEB,
            sa.or_(Message.next_try_at.is_(None), _is_past(Message.next_try_at)),
            ~waits,
            ~paused,
            sa.or_(Message.author != Author.BOT, Conversation.state != State.AGENT),
        )
        .order_by(Message.id)
        .limit(1)
        .with_for_update(of=Message, skip_locked=True)
    )


def _late() -> sa.Select[int]:
    """What waited in the queue until the channel's window closed."""
    too_old = sa.or_(
        sa.and_(Message.author == Author.BOT, Identity.wrote_at <= sa.bindparam("for_all")),
        Identity.wrote_at <= sa.bindparam("for_people"),
    )
    late = sa.select(Message.id).join(Message.conversation).join(Conversation.identity)
    late = late.where(Message.status == Status.QUEUED, Conversation.channel != Channel.WEB, too_old)
    return late.order_by(Message.id).limit(1)


def _dead(is_dead: sa.ColumnElement[bool]) -> sa.Update:
    """What was sent by whoever died. What is locked is being settled: no wait for it."""
    left = sa.select(Message.id).where(Message.status == Status.SENDING, is_dead)
    return (
        sa.update(Message)
        .where(Message.id.in_(left.with_for_update(skip_locked=True)))
        .values(status=Status.UNKNOWN, next_try_at=sa.bindparam("until"), error="the sender stopped")
        .execution_options(synchronize_session=False)
    )


def _in_the_way() -> sa.CompoundSelect[Any]:
    """What keeps a customer's next message from going at once."""
    said, talk, account = map(rows.table, (Message, Conversation, Account))
    before = (
        sa.select(said.c.id)
        .join(talk, talk.c.id == said.c.conversation_id)
        .where(
            talk.c.identity_id == sa.bindparam("identity"),
            _holds_back(said.c),
        )
    )
    troubled = sa.select(account.c.throttled).where(
        account.c.id == sa.bindparam("account"),
        sa.or_(account.c.trouble.is_not(None), ~_is_past(account.c.paused_until)),
    )
    return sa.union_all(before, troubled).limit(1)


def _more_to_it() -> sa.CompoundSelect[Any]:
    """What there is to think of when a message was sent: its account was in trouble, its id is another's,
    something came in about it already."""
    account, said, part, item = map(rows.table, (Account, Message, Part, InboxItem))
    its: sa.BindParameter[str] = sa.bindparam("account")
    named: sa.BindParameter[str] = sa.bindparam("external_id")
    mends = sa.or_(
        account.c.trouble.is_not(None), account.c.throttled > 0, account.c.paused_until.is_not(None)
    )
    return sa.union_all(
        sa.select(sa.literal_column("1")).select_from(account).where(account.c.id == its, mends),
        *(
            sa.select(sa.literal_column("1")).select_from(kind).where(kind.c.account == its, column == named)
            for kind, column in (
                (said, said.c.external_id),
                (part, part.c.external_id),
                (item, item.c.about),
            )
        ),
    )


# Made once: to make a statement costs more than a database takes to answer it.
_IN_THE_WAY, _MORE_TO_IT = _in_the_way(), _more_to_it()
_TALK, _SAID = rows.table(Conversation), rows.table(Message)
_LOCK = sa.select(_TALK.c.id).where(_TALK.c.id == sa.bindparam("conversation"))
_LOCK = _LOCK.with_for_update(key_share=True)
_SENT = (
    sa.update(_SAID)
    .where(
        _SAID.c.id == sa.bindparam("row"),
        _SAID.c.send_no == sa.bindparam("sender"),
        _SAID.c.status.in_((Status.SENDING, Status.UNKNOWN)),
    )
    .values(
        status=Status.SENT,
        external_id=sa.bindparam("named"),
        parts_sent=sa.bindparam("parts"),
        # When the send began: the channel's own time of it, which reads and deliveries refer to, is later.
        sent_at=sa.bindparam("began"),
        error=None,
        next_try_at=None,
    )
)
_ANY = sa.select(Message.id).where(Message.status.in_(OUTBOX)).limit(1)
_NEXT, _LATE = _next(), _late()
_DEAD, _ALL_DEAD = _dead(_is_past(Message.next_try_at)), _dead(sa.true())


def may_go(services: Services, parcel: Parcel) -> bool:
    """The last look before Meta is asked: whether the row is still this sender's, and the bot may speak.

    A sender that slept may have been taken for dead; a person may have taken the conversation.
    """
    with services.store.read() as session:
        message = session.get_one(Message, parcel.message_id)
        ours = message.status is Status.SENDING and message.send_no == parcel.send_no
        return ours and not queries.bot_is_silenced(message)


def release_all(store: Store, now: datetime) -> None:
    """What a killed process was sending may have been sent. For the embedded database, which one bot
    process serves."""
    with store.unit_of_work() as session:
        _abandon(session, now, all_died=True)


def settle(services: Services, parcel: Parcel, answer: Answer) -> None:
    """Writes down what became of a send, unless an echo has done so already."""
    now = services.clock()
    with services.store.unit_of_work() as session:
        if answer.outcome is Outcome.SENT and write_down(session, parcel, answer.detail, now):
            return
        message = queries.locked_message(session, parcel.message_id)
        if message is None or message.send_no != parcel.send_no:
            return  # this sender slept and was taken for dead
        outcome, detail = answer.outcome, answer.detail
        if outcome is Outcome.SENT:
            _record(session, message, parcel, detail, now)
        if message.status is not Status.SENDING:
            return  # it is recorded now, or an echo has settled it, or it was taken for dead
        if message.parts_sent >= parcel.part:  # this part's echo was faster
            queries.queue_again(message)
            message.attempts = 0
            return
        if outcome in KEPT and queries.bot_is_silenced(message):
            outcome, detail = Outcome.REFUSED, queries.TAKEN
        message.error = detail[:400]
        if outcome is Outcome.UNKNOWN:
            message.status, message.next_try_at = Status.UNKNOWN, now + HOLD_BACK
            accounts.falter(session, message.account, now)
        elif outcome in TROUBLES:
            accounts.halt(session, message.account, TROUBLES[outcome], detail, now)
            _await_account(message)
        elif outcome is Outcome.THROTTLED:
            accounts.throttle(session, message.account, answer.wait, now)
            _await_account(message)
        elif outcome is Outcome.RETRY and parcel.attempt < GIVE_UP:
            longer = min(RETRY_FIRST * 2 ** (parcel.attempt - 1), RETRY_MOST)
            message.status, message.next_try_at = Status.QUEUED, now + max(longer, answer.wait or longer)
        else:
            _fail(session, message, outcome, detail, parcel.is_late, now)
        log.warning("delivery.not_sent", message=parcel.public_id, outcome=outcome.value, detail=detail)
        live.touched(session, message.conversation, now)


def write_down(session: Session, parcel: Parcel, external_id: str, now: datetime) -> bool:
    """Writes down, row by row, that a whole message was sent; False where there is more to it than that."""
    if parcel.part < parcel.parts or len(external_id) > LONGEST_ID:
        return False
    session.execute(_LOCK, {"conversation": parcel.conversation_id})
    named = {"account": parcel.account, "external_id": external_id}
    if session.execute(_MORE_TO_IT, named).first() is not None:
        return False
    its = {"row": parcel.message_id, "sender": parcel.send_no, "named": external_id}
    sent = session.execute(_SENT, its | {"parts": parcel.parts, "began": parcel.started_at})
    if cast(sa.CursorResult[Any], sent).rowcount != 1:
        return False
    stream = live.stream_of(parcel.account, parcel.thread)
    live.tell(session, stream, parcel.conversation_id, live.Kind.DESK, {}, now)
    return True


def _record(session: Session, message: Message, parcel: Parcel, external_id: str, now: datetime) -> None:
    """The channel took a message, or a part of it: then what is left goes on."""
    if message.status not in (Status.SENDING, Status.UNKNOWN):
        return
    accounts.mend(session, message.account)
    message.error = message.next_try_at = None
    if parcel.part < parcel.parts:
        queries.keep_part(session, message, parcel.part, external_id)
        message.parts_sent = max(message.parts_sent, parcel.part)
        queries.queue_again(message)
        message.attempts = 0
    else:
        message.external_id = queries.unused(session, message.account, external_id)
        message.status, message.parts_sent = Status.SENT, parcel.parts
        # When the send began: the channel's own time of it, which reads and deliveries refer to, is later.
        message.sent_at = parcel.started_at
    session.flush()
    filing.settle_by_id(session, message.account, external_id, now)
    live.touched(session, message.conversation, now)


def _await_account(message: Message) -> None:
    """The account waits, not the message: this try doesn't count."""
    message.status, message.next_try_at, message.attempts = Status.QUEUED, None, message.attempts - 1


def _fail(
    session: Session, message: Message, outcome: Outcome, detail: str, was_late: bool, now: datetime
) -> None:
    """It will never be sent. What the bot meant to say is a person's now: nobody is left unanswered."""
    conversation: Conversation = message.conversation
    message.status, message.next_try_at = Status.FAILED, None
    message.error = detail[:400]
    if message.parts_sent and detail != queries.TAKEN:
        message.error = f"stopped after part {message.parts_sent}: {detail}"[:400]
    if outcome is Outcome.WINDOW:
        closed = now - (FOR_PEOPLE if was_late else FOR_ALL)
        conversation.identity.wrote_at = min(conversation.identity.wrote_at or closed, closed)
    if message.author is not Author.BOT:
        return
    if outcome is Outcome.NOT_OWNER:
        filing.held_elsewhere(session, conversation, now)
    elif conversation.state is State.BOT:
        queries.hand_over(session, conversation.id, Reason.OUTAGE, conversation.answered, now)
        conversation.state = State.WAITING
        live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def _expire(session: Session, now: datetime) -> None:
    """What waited in the queue until the channel's window closed is not sent any more."""
    closed = {"for_all": now - FOR_ALL, "for_people": now - FOR_PEOPLE}
    message_id = session.scalar(_LATE, closed)  # one conversation's lock at a time
    message = queries.locked_message(session, message_id) if message_id else None
    if message and message.status is Status.QUEUED:
        _fail(session, message, Outcome.REFUSED, REASONS[Outcome.WINDOW], False, now)
        live.touched(session, message.conversation, now)


def _abandon(session: Session, now: datetime, all_died: bool = False) -> None:
    """A row whose sender died may have been sent."""
    session.execute(_ALL_DEAD if all_died else _DEAD, _times(now) | {"until": now + HOLD_BACK})
