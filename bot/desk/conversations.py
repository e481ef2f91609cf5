"""What agents do with a conversation, one verb each, and what they see of it.

Every verb locks the conversation's row first, so two agents racing get an order: the first wins,
the second is told who has it.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live
from bot.desk import audit
from bot.domain.conversation import Hold, check_resolve, check_speak, check_take
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.window import FOR_ALL, FOR_PEOPLE, window
from bot.domain.words import Author, Channel, Ending, Reason, State, Status
from bot.orders import normal_email, normal_number, orders_of
from bot.store import queries
from bot.store.engine import Store
from bot.store.tables import Agent, Conversation, HandOff, Identity, Message, Order, new_public_id
from bot.turns import first_status

TEXT_LIMIT = 8_000  # characters of an agent's message or note
LIST_LIMIT = 200  # conversations on one page
HISTORY = 500  # messages of one conversation
LANDING = 2.0  # seconds; a sender that was killed would keep an agent waiting for minutes
PEOPLE = (Author.CUSTOMER, Author.AGENT)  # whose last words a list shows; the bot's tell nobody anything


def take(
    session: Session, conversation_id: int, agent: Agent, now: datetime, what: str = "conversation_take"
) -> Conversation:
    """The agent holds it from here; the bot is silent. `what` is for the audit trail.

    Raises NotFound, Held or Conflict.
    """
    conversation = _locked(session, conversation_id)
    check_take(_hold(conversation), agent.id)
    if conversation.state is State.AGENT and conversation.agent_id == agent.id:
        return conversation
    conversation.state = State.AGENT
    conversation.agent = agent
    conversation.due_at = None
    queries.handle_open_messages(session, conversation.id, now)
    queries.take_back_queued(session, conversation.id)
    hand_off = queries.open_hand_off(session, conversation.id)
    if hand_off:
        hand_off.taken_at = hand_off.taken_at or now
    audit.note(session, agent, what, f"#{conversation.id}", now)
    _changed(session, conversation, now)
    return conversation


def let_it_land(store: Store, conversation_id: int) -> None:
    """Returns once nothing of the bot's is on its way any more, at the latest after `LANDING` seconds.

    Whoever is told that they have a conversation isn't spoken over by what was just being sent.
    """
    sending = sa.select(Message.id).where(
        Message.conversation_id == conversation_id,
        Message.author == Author.BOT,
        Message.status == Status.SENDING,
    )
    until = time.monotonic() + LANDING
    while time.monotonic() < until:
        with store.read() as session:
            if session.scalar(sending.limit(1)) is None:
                return
        time.sleep(LANDING / 100)


def answer(
    session: Session, conversation_id: int, agent: Agent, client_id: str, text: str, now: datetime
) -> tuple[Message, bool]:
    """Queues an agent's answer; the same `client_id` again gives the same message and False.

    Raises NotFound, Held, NotAllowed (take it first), Conflict (closed, or the channel's reply window
    is) or BadInput.
    """
    conversation = _locked(session, conversation_id)
    repeated = _repeated(session, conversation.id, Author.AGENT, agent, client_id)
    if repeated:
        return repeated, False
    check_speak(_hold(conversation), agent.id)
    if not window(conversation.channel, conversation.identity.wrote_at, now).admits(Author.AGENT):
        raise Conflict("Meta takes no answer more than 7 days after the customer wrote last.")
    status = first_status(conversation.channel)
    message = _write(session, conversation, Author.AGENT, agent, client_id, text, status, now)
    conversation.last_message_at = now
    return message, True


def note(
    session: Session, conversation_id: int, agent: Agent, client_id: str, text: str, now: datetime
) -> tuple[Message, bool]:
    """Leaves a note that only agents see. Anyone may, at any time. Raises NotFound or BadInput."""
    conversation = _locked(session, conversation_id)
    repeated = _repeated(session, conversation.id, Author.NOTE, agent, client_id)
    if repeated:
        return repeated, False
    return _write(session, conversation, Author.NOTE, agent, client_id, text, Status.SENT, now), True


def give_back(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """The bot reads on; the count of its replies stays. Raises NotFound, Held, NotAllowed or Conflict."""
    conversation = _locked(session, conversation_id)
    check_speak(_hold(conversation), agent.id)
    conversation.state = State.BOT
    conversation.agent = None
    queries.end_hand_off(session, conversation.id, now)
    audit.note(session, agent, "conversation_give_back", f"#{conversation.id}", now)
    _changed(session, conversation, now)
    return conversation


def resolve(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """Closes it; the customer's next message opens a new one. Raises NotFound, Held or Conflict."""
    conversation = _locked(session, conversation_id)
    check_resolve(_hold(conversation), agent.id)
    queries.close(session, conversation, now, Ending.RESOLVED)
    audit.note(session, agent, "conversation_resolve", f"#{conversation.id}", now)
    queries.handle_open_messages(session, conversation.id, now)
    _changed(session, conversation, now)
    return conversation


@dataclass(frozen=True)
class Row:
    """A conversation in a list."""

    id: int
    state: State
    reason: Reason | None
    channel: str
    contact: str
    waiting_since: datetime | None
    replies_used: int
    holder: str | None
    last_text: str
    last_author: Author | None
    last_message_at: datetime

    def as_json(self) -> dict[str, Any]:
        """As the desk API gives it."""
        return {
            "id": self.id,
            "state": self.state.value,
            "reason": self.reason.value if self.reason else None,
            "channel": self.channel,
            "contact": self.contact,
            "waiting_since": self.waiting_since.isoformat() if self.waiting_since else None,
            "replies_used": self.replies_used,
            "agent": self.holder,
            "last_message": self.last_text,
            "last_message_at": self.last_message_at.isoformat(),
        }


def listed(
    session: Session, state: State | None = None, holder: int | None = None, limit: int = LIST_LIMIT
) -> list[Row]:
    """Conversations in one state (None: all that are open), who waits longest first.

    Closed ones come newest first. With `holder`, only those that this agent holds.
    """
    used = (
        sa.select(sa.func.count())
        .where(Message.conversation_id == Conversation.id, Message.author == Author.BOT)
        .scalar_subquery()
    )
    newest = (
        sa.select(sa.func.max(Message.id))
        .where(Message.conversation_id == Conversation.id, Message.author.in_(PEOPLE))
        .scalar_subquery()
    )
    last = sa.orm.aliased(Message)
    query = (
        sa.select(Conversation, HandOff, used, last)
        .outerjoin(HandOff, sa.and_(HandOff.conversation_id == Conversation.id, HandOff.ended_at.is_(None)))
        .outerjoin(last, last.id == newest)
        .limit(limit)
    )
    if state is State.CLOSED:
        query = query.where(Conversation.state == state).order_by(Conversation.last_message_at.desc())
    else:
        query = query.order_by(sa.func.coalesce(HandOff.at, Conversation.last_message_at), Conversation.id)
        query = query.where(
            Conversation.state == state if state else Conversation.state.in_(set(State) - {State.CLOSED})
        )
    if holder is not None:
        query = query.where(Conversation.agent_id == holder)
    return [_row(*found) for found in session.execute(query)]


@dataclass(frozen=True)
class Counts:
    """How many conversations each view of the desk holds."""

    waiting: int
    mine: int
    open: int


def counts(session: Session, agent: Agent) -> Counts:
    """Those that wait, those that this agent holds, and all that are open."""
    state, is_open = Conversation.state, Conversation.state.in_(set(State) - {State.CLOSED})
    found = session.execute(
        sa.select(
            sa.func.count().filter(state == State.WAITING),
            sa.func.count().filter(Conversation.agent_id == agent.id),
            sa.func.count(),
        ).where(is_open)
    ).one()
    return Counts(*found)


@dataclass(frozen=True)
class Detail:
    """One conversation with all that an agent needs to answer it."""

    row: Row
    conversation: Conversation
    identities: list[Identity]
    messages: list[Message]
    hand_offs: list[HandOff]
    orders: list[Order]
    earlier: list[Conversation]
    mine: bool

    def as_json(self) -> dict[str, Any]:
        """As the desk API gives it."""
        return self.row.as_json() | {
            "messages": [_message_json(message, self.conversation.identity) for message in self.messages],
            "reply_window": self._window_json(),
            "hand_offs": [
                {
                    "reason": h.reason.value,
                    "topic": h.topic.value if h.topic else None,
                    "at": h.at.isoformat(),
                }
                for h in self.hand_offs
            ],
            "orders": [
                {
                    "number": o.number,
                    "status": o.status,
                    "items": o.items,
                    "placed_at": o.placed_at.isoformat(),
                }
                for o in self.orders
            ],
        }

    def _window_json(self) -> dict[str, str] | None:
        """Until when anyone, and until when a person, may answer; None where there is no such rule."""
        wrote_at = self.conversation.identity.wrote_at
        if self.conversation.channel is Channel.WEB or wrote_at is None:
            return None
        until = {"anyone_until": wrote_at + FOR_ALL, "people_until": wrote_at + FOR_PEOPLE}
        return {name: at.isoformat() for name, at in until.items()}


def detail(session: Session, conversation_id: int, agent: Agent) -> Detail:
    """One conversation. Raises NotFound."""
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise NotFound("There is no such conversation.")
    messages = session.scalars(
        sa.select(Message)
        .where(Message.conversation_id == conversation.id)
        .order_by(Message.id.desc())
        .limit(HISTORY)
    ).all()[::-1]
    hand_offs = session.scalars(
        sa.select(HandOff).where(HandOff.conversation_id == conversation.id).order_by(HandOff.id)
    ).all()
    earlier = session.scalars(
        sa.select(Conversation)
        .where(Conversation.contact_id == conversation.contact_id, Conversation.id < conversation.id)
        .order_by(Conversation.id.desc())
        .limit(10)
    ).all()
    open_now = next((h for h in hand_offs if h.ended_at is None), None)
    shown = [message for message in messages if message.author in PEOPLE]
    return Detail(
        row=_row(
            conversation,
            open_now,
            queries.replies_used(session, conversation.id),
            shown[-1] if shown else None,
        ),
        conversation=conversation,
        identities=list(conversation.contact.identities),
        messages=list(messages),
        hand_offs=list(hand_offs),
        orders=_orders(session, conversation),
        earlier=list(earlier),
        mine=conversation.state is State.AGENT and conversation.agent_id == agent.id,
    )


def _orders(session: Session, conversation: Conversation) -> list[Order]:
    """The proven customer's orders; else the one whose number and e-mail were both given."""
    if conversation.contact.email:
        return orders_of(session, conversation.contact.email)
    if conversation.order_number and conversation.email:
        order = session.get(Order, normal_number(conversation.order_number))
        if order and order.email == normal_email(conversation.email):
            return [order]
    return []


def _row(conversation: Conversation, hand_off: HandOff | None, used: int, last: Message | None) -> Row:
    contact = conversation.contact
    return Row(
        id=conversation.id,
        state=conversation.state,
        reason=hand_off.reason if hand_off else None,
        channel=conversation.channel.value,
        contact=contact.name or contact.email or f"Visitor {contact.id}",
        waiting_since=hand_off.at if hand_off and conversation.state is State.WAITING else None,
        replies_used=used,
        holder=_hold(conversation).who if conversation.state is State.AGENT else None,
        last_text=(last.text if last else "")[:200],
        last_author=last.author if last else None,
        last_message_at=conversation.last_message_at,
    )


def progress(message: Message, identity: Identity) -> str:
    """How far a message of ours is: its status, or `delivered` or `read` as the channel has told."""
    at = message.sent_at
    if message.status is not Status.SENT or at is None or identity.channel is Channel.WEB:
        return message.status.value
    if identity.read_until and at <= identity.read_until:
        return "read"
    return "delivered" if identity.delivered_until and at <= identity.delivered_until else "sent"


def _message_json(message: Message, identity: Identity) -> dict[str, Any]:
    ours = message.author in (Author.BOT, Author.AGENT)
    return live.message_view(message) | {
        "reply_no": message.reply_no,
        "status": message.status.value,
        "progress": progress(message, identity) if ours else None,
        "error": message.error,
        "attachments": message.attachments,
        "reaction": message.reaction,
        "edited_at": message.edited_at.isoformat() if message.edited_at else None,
        "unsent_at": message.unsent_at.isoformat() if message.unsent_at else None,
    }


def _locked(session: Session, conversation_id: int) -> Conversation:
    conversation = queries.locked(session, conversation_id)
    if conversation is None:
        raise NotFound("There is no such conversation.")
    return conversation


def _hold(conversation: Conversation) -> Hold:
    holder = conversation.agent
    return Hold(conversation.state, conversation.agent_id, holder.name if holder else None)


def _repeated(
    session: Session, conversation_id: int, author: Author, agent: Agent, client_id: str
) -> Message | None:
    return session.scalar(
        sa.select(Message).where(
            Message.conversation_id == conversation_id,
            Message.author == author,
            Message.agent_id == agent.id,
            Message.client_id == client_id,
        )
    )


def _write(
    session: Session,
    conversation: Conversation,
    author: Author,
    agent: Agent,
    client_id: str,
    text: str,
    status: Status,
    now: datetime,
) -> Message:
    text = text.replace("\0", "").strip()
    if not 0 < len(text) <= TEXT_LIMIT or not 0 < len(client_id) <= 80:
        raise BadInput(f"Write 1 to {TEXT_LIMIT} characters.")
    message = Message(
        public_id=new_public_id(),
        conversation_id=conversation.id,
        author=author,
        agent=agent,
        client_id=client_id,
        text=text,
        account=conversation.identity.account,
        at=now,
        handled_at=now,
        status=status,
    )
    session.add(message)
    session.flush()
    live.said(session, conversation, message)
    return message


def _changed(session: Session, conversation: Conversation, now: datetime) -> None:
    session.flush()
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)
