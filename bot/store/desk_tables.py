"""What the desk keeps beside conversations and messages."""

from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bot.store.tables import Agent, Table, Word, one_of


class Deed(str, Enum):
    """What an agent did with a conversation; each is a line of its history."""

    TAKEN = "taken"
    TAKEN_OVER = "taken_over"  # from the colleague `other`
    HANDED = "handed"  # to the colleague `other`
    GIVEN_BACK = "given_back"
    SNOOZED = "snoozed"
    WOKEN = "woken"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class Act(Table):
    """Who did what with a conversation, and when."""

    __tablename__ = "act"
    __table_args__ = (one_of("deed", Deed, "deed"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), index=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    other_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    deed: Mapped[Deed] = mapped_column(Word(Deed))
    text: Mapped[str] = mapped_column(Text, default="")  # the reason or note that came with it
    at: Mapped[datetime]

    agent: Mapped[Agent] = relationship(lazy="joined", foreign_keys=[agent_id])
    other: Mapped[Agent | None] = relationship(lazy="joined", foreign_keys=[other_id])


class Seen(Table):
    """Up to which message an agent has read a conversation."""

    __tablename__ = "seen"

    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True, index=True)
    message_id: Mapped[int]


class Mention(Table):
    """An agent who is named in a note."""

    __tablename__ = "mention"
    __table_args__ = (
        Index(
            "ix_mention_unseen",
            "agent_id",
            sqlite_where=text("seen_at IS NULL"),
            postgresql_where=text("seen_at IS NULL"),
        ),
    )

    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), primary_key=True, index=True)
    seen_at: Mapped[datetime | None]


class Looking(Table):
    """Which conversation an agent has open right now, and whether they write. One row an agent."""

    __tablename__ = "looking"

    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), index=True)
    at: Mapped[datetime]  # when their page last said so
    typing_at: Mapped[datetime | None]

    agent: Mapped[Agent] = relationship(lazy="joined")


class ContactNote(Table):
    """What agents keep about a customer. Never shown to the customer."""

    __tablename__ = "contact_note"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]

    agent: Mapped[Agent] = relationship(lazy="joined")


class Joining(Table):
    """Two contacts that an agent made one (`merge`), or one that was made two (`split`)."""

    __tablename__ = "joining"
    __table_args__ = (sa.CheckConstraint("kind IN ('merge', 'split')", name="kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)  # the one that stayed
    other_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    at: Mapped[datetime]
    before: Mapped[dict[str, Any]]  # what undoing puts back
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))

    agent: Mapped[Agent] = relationship(lazy="joined", foreign_keys=[agent_id])


class SavedReply(Table):
    """A text that agents use again and again, in one or more languages."""

    __tablename__ = "saved_reply"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))  # what it is for, as a customer would ask
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))  # its author
    texts: Mapped[dict[str, Any]]  # language → text
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime]

    agent: Mapped[Agent] = relationship(lazy="joined")
