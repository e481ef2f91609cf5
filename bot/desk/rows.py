"""What a list shows of a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.domain.words import Author, Reason, State
from bot.store.desk_tables import Seen
from bot.store.tables import Agent, Conversation, HandOff, Message

PEOPLE = (Author.CUSTOMER, Author.AGENT)  # whose last words a list shows; the bot's tell nobody anything


@dataclass(frozen=True)
class Row:
    """A conversation in a list."""

    id: int
    state: State
    reason: Reason | None
    channel: str
    contact: str | None  # None: a visitor without a name
    contact_id: int
    language: str | None
    waiting_since: datetime | None
    snoozed_until: datetime | None
    replies_used: int
    holder: str | None
    last_text: str
    last_author: Author | None
    last_message_at: datetime
    unread: bool = False
    snippet: str = ""  # of the message that a search found

    @property
    def name(self) -> str:
        """The contact's name for the API; pages say it in their language."""
        return self.contact or f"Visitor {self.contact_id}"

    def as_json(self) -> dict[str, Any]:
        """As the desk API gives it."""
        return {
            "id": self.id,
            "state": self.state.value,
            "reason": self.reason.value if self.reason else None,
            "channel": self.channel,
            "contact": self.name,
            "language": self.language,
            "waiting_since": self.waiting_since.isoformat() if self.waiting_since else None,
            "snoozed_until": self.snoozed_until.isoformat() if self.snoozed_until else None,
            "replies_used": self.replies_used,
            "agent": self.holder or ("A colleague outside the desk" if self.state is State.AGENT else None),
            "unread": self.unread,
            "last_message": self.last_text,
            "last_message_at": self.last_message_at.isoformat(),
        }


def rows_of(session: Session, agent: Agent, ids: Sequence[int]) -> list[Row]:
    """What a list shows of these conversations, in their order."""
    if not ids:
        return []
    last = sa.orm.aliased(Message)
    query = (
        sa.select(
            Conversation,
            HandOff,
            sa.select(sa.func.count())
            .where(Message.conversation_id == Conversation.id, Message.author == Author.BOT)
            .scalar_subquery(),
            last,
            last_of(Message.id, Message.author == Author.CUSTOMER),
            sa.func.coalesce(Seen.message_id, 0),
        )
        .outerjoin(HandOff, sa.and_(HandOff.conversation_id == Conversation.id, HandOff.ended_at.is_(None)))
        .outerjoin(last, last.id == last_of(Message.id, Message.author.in_(PEOPLE)))
        .outerjoin(Seen, sa.and_(Seen.conversation_id == Conversation.id, Seen.agent_id == agent.id))
        .where(Conversation.id.in_(ids))
    )
    found = {}
    for conversation, hand_off, used, said, theirs, seen in session.execute(query):
        concerns = conversation.state is State.WAITING or conversation.agent_id == agent.id
        row = row_of(conversation, hand_off, used, said)
        found[row.id] = replace(row, unread=concerns and (theirs or 0) > seen)
    return [found[row_id] for row_id in ids if row_id in found]


def row_of(conversation: Conversation, hand_off: HandOff | None, used: int, last: Message | None) -> Row:
    """One conversation as a list shows it."""
    contact, holder = conversation.contact, conversation.agent
    return Row(
        id=conversation.id,
        state=conversation.state,
        reason=hand_off.reason if hand_off else None,
        channel=conversation.channel.value,
        contact=contact.name or contact.email,
        contact_id=contact.id,
        language=conversation.language,
        waiting_since=hand_off.at if hand_off and conversation.state is State.WAITING else None,
        snoozed_until=conversation.snoozed_until,
        replies_used=used,
        holder=holder.name if holder else None,
        last_text=(last.text if last else "")[:200],
        last_author=last.author if last else None,
        last_message_at=conversation.last_message_at,
    )


def last_of(column: Any, condition: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """A column of a conversation's newest message of a kind."""
    return (
        sa.select(column)
        .where(Message.conversation_id == Conversation.id, condition)
        .order_by(Message.id.desc())
        .limit(1)
        .scalar_subquery()
    )
