"""One conversation with all that an agent needs to answer it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import live
from bot.desk.conversations import is_undoable
from bot.desk.rows import PEOPLE, Row, row_of
from bot.domain.errors import NotFound
from bot.domain.window import FOR_ALL, FOR_PEOPLE
from bot.domain.words import Author, Channel, Reason, State, Status
from bot.orders import normal_email, normal_number, orders_of
from bot.settings import Settings, opens_at
from bot.store import queries
from bot.store.care import Assignment
from bot.store.desk_tables import Act, ContactNote, Deed, Joining
from bot.store.tables import Agent, Conversation, HandOff, Identity, Message, Order

HISTORY = 500  # messages of one conversation
EARLIER = 10  # other conversations of the same contact


@dataclass(frozen=True)
class Routed:
    """A line of the history: routing gave it to `who`, or took it back because they had left."""

    id: int
    who: str
    given: bool
    at: datetime


@dataclass(frozen=True)
class Detail:
    """One conversation, its history and its customer."""

    row: Row
    conversation: Conversation
    identities: list[Identity]
    messages: list[Message]
    hand_offs: list[HandOff]
    acts: list[Act]
    routed: list[Routed]
    orders: list[Order]
    earlier: list[Conversation]
    notes: list[ContactNote]
    joining: Joining | None  # the newest merge or split that can be undone
    mine: bool
    undoable: bool  # this agent has just resolved it

    @property
    def hand_off(self) -> HandOff | None:
        """The open one."""
        return next((one for one in self.hand_offs if one.ended_at is None), None)

    @property
    def last_said(self) -> Message | None:
        """The customer's last message that has words."""
        theirs = (m for m in reversed(self.messages) if m.author is Author.CUSTOMER and m.text.strip())
        return next(theirs, None)

    @property
    def done(self) -> list[Act | Routed]:
        """Who did what with it, oldest first. What routing gave to an agent, they didn't take."""
        given = {(one.at, one.who) for one in self.routed if one.given}
        by_hand = [
            act for act in self.acts if act.deed is not Deed.TAKEN or (act.at, act.agent.name) not in given
        ]
        return sorted([*by_hand, *self.routed], key=lambda one: one.at)

    @property
    def unanswered(self) -> list[Message]:
        """What the customer has said in words since the last answer; the last of it once it is answered.

        A notice that a person will look at it is no answer.
        """
        handed = {one.at for one in self.hand_offs}
        since: list[Message] = []
        for message in self.messages:
            if message.author is Author.CUSTOMER and message.text.strip():
                since.append(message)
            elif message.author in (Author.AGENT, Author.BOT) and message.status is not Status.FAILED:
                since = since if message.author is Author.BOT and message.at in handed else []
        return since or ([self.last_said] if self.last_said else [])

    @property
    def tones(self) -> list[Message]:
        """The customer's turns whose tone was read, oldest first."""
        return [message for message in self.messages if message.tone]

    @property
    def upset(self) -> bool:
        """Whether the customer was when it was read last, or that is why it is here."""
        last = self.tones[-1].tone if self.tones else None
        return last == "upset" or (self.hand_off is not None and self.hand_off.reason is Reason.EMPATHY)

    def told(self, settings: Settings) -> tuple[bool, str | None] | None:
        """What the customer was promised when it came here: whether anything was said, and, if nobody
        was there, when people are back (ISO). None without a hand-off."""
        if self.hand_off is None:
            return None
        at = self.hand_off.at
        was_said = any(m.author is Author.BOT and m.at == at for m in self.messages)
        return was_said, opens_at(settings, at)

    def as_json(self) -> dict[str, Any]:
        """As the desk API gives it."""
        return self.row.as_json() | {
            "messages": [_message_json(message, self.conversation.identity) for message in self.messages],
            "reply_window": self._window_json(),
            "hand_offs": [
                {
                    "reason": h.reason.value,
                    "topic": h.topic.value if h.topic else None,
                    "words": h.words,
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


def detail(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Detail:
    """One conversation. Raises NotFound."""
    conversation = session.get(Conversation, conversation_id)
    if conversation is None:
        raise NotFound("There is no such conversation.")
    newest = sa.select(Message).where(Message.conversation_id == conversation.id)
    messages = session.scalars(newest.order_by(Message.id.desc()).limit(HISTORY)).all()[::-1]
    hand_offs = session.scalars(
        sa.select(HandOff).where(HandOff.conversation_id == conversation.id).order_by(HandOff.id)
    ).all()
    shown = [message for message in messages if message.author in PEOPLE]
    return Detail(
        row=row_of(
            conversation,
            next((h for h in hand_offs if h.ended_at is None), None),
            queries.replies_used(session, conversation.id),
            shown[-1] if shown else None,
        ),
        conversation=conversation,
        identities=list(conversation.contact.identities),
        messages=list(messages),
        hand_offs=list(hand_offs),
        acts=list(
            session.scalars(sa.select(Act).where(Act.conversation_id == conversation.id).order_by(Act.id))
        ),
        routed=_routed(session, conversation.id),
        orders=_orders(session, conversation),
        earlier=_earlier(session, conversation),
        notes=list(
            session.scalars(
                sa.select(ContactNote)
                .where(ContactNote.contact_id == conversation.contact_id)
                .order_by(ContactNote.id.desc())
            )
        ),
        joining=_joining(session, conversation.contact_id),
        mine=conversation.state is State.AGENT and conversation.agent_id == agent.id,
        undoable=is_undoable(session, conversation, agent, now),
    )


def _routed(session: Session, conversation_id: int) -> list[Routed]:
    query = (
        sa.select(Assignment, Agent.name)
        .join(Agent, Agent.id == Assignment.agent_id)
        .where(Assignment.conversation_id == conversation_id)
        .order_by(Assignment.id)
    )
    return [Routed(one.id, name, one.kind == "given", one.at) for one, name in session.execute(query)]


def _earlier(session: Session, conversation: Conversation) -> list[Conversation]:
    """The contact's other conversations, newest first."""
    query = sa.select(Conversation).where(
        Conversation.contact_id == conversation.contact_id, Conversation.id != conversation.id
    )
    return list(session.scalars(query.order_by(Conversation.id.desc()).limit(EARLIER)))


def _joining(session: Session, contact_id: int) -> Joining | None:
    query = sa.select(Joining).where(
        Joining.undone_at.is_(None), sa.or_(Joining.contact_id == contact_id, Joining.other_id == contact_id)
    )
    return session.scalar(query.order_by(Joining.id.desc()).limit(1))


def _orders(session: Session, conversation: Conversation) -> list[Order]:
    """The proven customer's orders; else the one whose number and e-mail were both given."""
    if conversation.contact.email:
        return orders_of(session, conversation.contact.email)
    if conversation.order_number and conversation.email:
        order = session.get(Order, normal_number(conversation.order_number))
        if order and order.email == normal_email(conversation.email):
            return [order]
    return []


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
        "tone": message.tone,
        "edited_at": message.edited_at.isoformat() if message.edited_at else None,
        "unsent_at": message.unsent_at.isoformat() if message.unsent_at else None,
    }
