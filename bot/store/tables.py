"""The tables. Their constraints keep the promises even when the code above them is wrong.

Times are aware UTC datetimes in Python. Who may write what: a customer's message comes in through
`inbox`; everything that goes out is a row of `message`, which is also the outbox.
"""

import secrets
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from bot.domain.rule import Detail
from bot.domain.words import Author, Channel, Ending, Reason, State, Status, Topic


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database; refuses naive ones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Python to database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Database to Python; SQLite hands back what it was given without its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word[E: Enum](TypeDecorator[E]):
    """One of our words as plain text, with the CHECK that `one_of` writes.

    Comparisons name the word itself, not a parameter: a database uses an index on some of the rows
    ("status IN ('queued', …)") only if it can see that the rows asked for are among them.
    """

    impl = String(24)
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[Any]):
        """Writes words out."""

        def operate(self, op: Any, *other: Any, **more: Any) -> Any:
            """Any comparison."""
            return super().operate(op, *(_written_out(one, self.type) for one in other), **more)

    comparator_factory = Comparator

    def __init__(self, kind: type[E]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: E | None, dialect: sa.Dialect) -> str | None:
        """Python to database."""
        return None if value is None else str(self.kind(value).value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> E | None:
        """Database to Python."""
        return None if value is None else self.kind(value)


def _written_out(value: Any, type_: Any) -> Any:
    if isinstance(value, Enum):  # as part of the statement's text: there is nothing to put in later
        return sa.literal_column(f"'{value.value}'", type_)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_written_out(one, type_) for one in sorted(value)]
    return value


def one_of(column: str, kind: type[Enum], name: str) -> CheckConstraint:
    """CHECK (column IN (…)) for the words of `kind`; NULL passes."""
    words = ", ".join(f"'{word.value}'" for word in kind)
    return CheckConstraint(f"{column} IN ({words})", name=name)


def new_public_id() -> str:
    """A message's id for pages: 96 random bits in hex, as long as `bot.inbox` derives them."""
    return secrets.token_hex(12)


class Table(DeclarativeBase):
    """The root of all tables; constraint names are the same on every database."""

    metadata = sa.MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own form)
        datetime: UTCDateTime(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, str]]: sa.JSON(),
        Author: Word(Author),
        Channel: Word(Channel),
        Detail: Word(Detail),
        Ending: Word(Ending),
        Reason: Word(Reason),
        State: Word(State),
        Status: Word(Status),
        Topic: Word(Topic),
    }


class Contact(Table):
    """A person, on however many channels."""

    __tablename__ = "contact"
    __table_args__ = (
        Index(
            "ix_contact_email",
            "email",
            sqlite_where=text("email IS NOT NULL"),
            postgresql_where=text("email IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(320))  # proven: signed by the shop or linked by an agent
    created_at: Mapped[datetime]

    identities: Mapped[list["Identity"]] = relationship(back_populates="contact")


class Identity(Table):
    """A contact on one channel account, under the name that the channel knows."""

    __tablename__ = "identity"
    __table_args__ = (
        UniqueConstraint("account", "thread"),
        one_of("channel", Channel, "channel"),
        Index(
            "ix_identity_nameless",
            "id",
            sqlite_where=text("named_at IS NULL AND channel <> 'web'"),
            postgresql_where=text("named_at IS NULL AND channel <> 'web'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), index=True)
    channel: Mapped[Channel]
    account: Mapped[str] = mapped_column(String(80))  # "web", or a Page's id
    thread: Mapped[str] = mapped_column(String(120))  # the session, or the page-scoped id
    created_at: Mapped[datetime]

    # What the channel tells beside messages; watermarks only ever move forward.
    wrote_at: Mapped[datetime | None]  # the customer's last message: it opens the reply window
    delivered_until: Mapped[datetime | None]  # what was sent up to then has arrived
    read_until: Mapped[datetime | None]
    routed_at: Mapped[datetime | None]  # when the channel last gave the thread to an app, us or another
    noticed_at: Mapped[datetime | None]  # the `wrote_at` for which "seen" and "typing" were shown
    named_at: Mapped[datetime | None]  # when the channel was asked for the name
    referral: Mapped[dict[str, Any] | None]  # what led the customer here: ref, source, type, ad

    contact: Mapped[Contact] = relationship(back_populates="identities")


class Account(Table):
    """A channel account (a Page, an Instagram account) that something is the matter with, or was."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    trouble: Mapped[str | None] = mapped_column(String(24))  # bot.channels.accounts.Trouble
    detail: Mapped[str | None] = mapped_column(String(400))
    since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]  # nothing is sent before then
    throttled: Mapped[int] = mapped_column(default=0)  # times in a row


class Agent(Table):
    """A person at the desk."""

    __tablename__ = "agent"
    __table_args__ = (CheckConstraint("role IN ('agent', 'supervisor')", name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]  # may not log in any more; what they wrote stays theirs
    language: Mapped[str | None] = mapped_column(String(8))  # of the desk; None: as the browser asks


class AgentSession(Table):
    """A log-in, by cookie or bearer token. Only the token's hash is kept."""

    __tablename__ = "agent_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), index=True)
    expires_at: Mapped[datetime]

    agent: Mapped[Agent] = relationship(lazy="joined")


class LoginFailure(Table):
    """A refused log-in, counted to slow guessing down."""

    __tablename__ = "login_failure"
    __table_args__ = (Index("ix_login_failure_key_at", "key", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(400))
    at: Mapped[datetime]


class Conversation(Table):
    """One contact on one channel, from the message that opens it until it closes."""

    __tablename__ = "conversation"
    __table_args__ = (
        one_of("state", State, "state"),
        one_of("channel", Channel, "channel"),
        one_of("ending", Ending, "ending"),
        CheckConstraint("agent_id IS NULL OR state = 'agent'", name="holder"),
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed"),
        Index(
            "uq_conversation_open",
            "contact_id",
            "channel",
            unique=True,
            sqlite_where=text("state <> 'closed'"),
            postgresql_where=text("state <> 'closed'"),
        ),
        Index(
            "ix_conversation_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index(
            "ix_conversation_failed",
            "id",
            sqlite_where=text("turn_error IS NOT NULL"),
            postgresql_where=text("turn_error IS NOT NULL"),
        ),
        # The desk's views are walked along these, newest first, page by page.
        Index("ix_conversation_state_last_message_at_id", "state", "last_message_at", "id"),
        Index("ix_conversation_last_message_at_id", "last_message_at", "id"),
        Index("ix_conversation_handler_id_last_message_at_id", "handler_id", "last_message_at", "id"),
        Index(
            "ix_conversation_held",
            "agent_id",
            sqlite_where=text("agent_id IS NOT NULL"),
            postgresql_where=text("agent_id IS NOT NULL"),
        ),
        Index("ix_conversation_identity_id_id", "identity_id", "id"),
        Index("ix_conversation_contact_id_id", "contact_id", "id"),
        Index("ix_conversation_opened_at", "opened_at"),  # reports
        Index("ix_conversation_contact_id_channel_opened_at", "contact_id", "channel", "opened_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"))
    identity_id: Mapped[int] = mapped_column(ForeignKey("identity.id"))
    channel: Mapped[Channel]
    state: Mapped[State] = mapped_column(default=State.BOT)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    handler_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))  # who held it last
    snoozed_until: Mapped[datetime | None]  # out of its holder's sight until then, or a new message
    opened_at: Mapped[datetime]
    last_message_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    ending: Mapped[Ending | None]  # how it closed; None while it is open, or from before this was kept

    # What the bot has learnt, for the next turn's Context.
    answered: Mapped[Topic | None]
    asked_for: Mapped[Detail | None]
    misses: Mapped[int] = mapped_column(default=0)
    order_number: Mapped[str | None] = mapped_column(String(40))
    email: Mapped[str | None] = mapped_column(String(320))
    language: Mapped[str | None] = mapped_column(String(16))

    # The worker's: when the next turn is due, who has it, and until when.
    due_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    lease_no: Mapped[int] = mapped_column(default=0)  # a fencing token: one more with each claim
    failing_since: Mapped[datetime | None]  # the brain can't be reached
    tries: Mapped[int] = mapped_column(default=0)  # claims since a turn was last settled or postponed
    turn_error: Mapped[str | None] = mapped_column(String(400))  # what kept the turn from being settled

    identity: Mapped[Identity] = relationship(lazy="joined")
    contact: Mapped[Contact] = relationship(lazy="joined")
    agent: Mapped[Agent | None] = relationship(lazy="joined", foreign_keys=[agent_id])


class Message(Table):
    """What was said; for messages to the customer also the outbox."""

    __tablename__ = "message"
    __table_args__ = (
        one_of("author", Author, "author"),
        one_of("status", Status, "status"),
        # The rule, as the database's last word: a bot's message is the first or the second reply.
        CheckConstraint(
            "(author = 'bot' AND reply_no IS NOT NULL AND reply_no IN (1, 2)) "
            "OR (author <> 'bot' AND reply_no IS NULL)",
            name="reply_no",
        ),
        UniqueConstraint("conversation_id", "reply_no"),
        UniqueConstraint("account", "external_id"),
        # What an agent's page sends twice; a customer's is part of its external id.
        UniqueConstraint("conversation_id", "agent_id", "author", "client_id", name="uq_message_client_id"),
        Index("ix_message_status_id", "status", "id"),
        Index("ix_message_conversation_id_id", "conversation_id", "id"),
        Index(
            "ix_message_agent_id_at",
            "agent_id",
            "at",
            sqlite_where=text("author = 'agent'"),
            postgresql_where=text("author = 'agent'"),
        ),
        Index(
            "ix_message_open",
            "conversation_id",
            sqlite_where=text("handled_at IS NULL"),
            postgresql_where=text("handled_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"))
    author: Mapped[Author]
    text: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list[dict[str, str]]] = mapped_column(default=list)
    buttons: Mapped[list[dict[str, str]]] = mapped_column(default=list)
    pressed: Mapped[str | None] = mapped_column(String(24))
    reply_no: Mapped[int | None]
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    account: Mapped[str] = mapped_column(String(80))
    external_id: Mapped[str | None] = mapped_column(String(255))  # the channel's id of it
    client_id: Mapped[str | None] = mapped_column(String(80))  # the desk's or web chat's own
    at: Mapped[datetime]
    handled_at: Mapped[datetime | None]  # a customer's message: when its turn was decided
    tone: Mapped[str | None] = mapped_column(String(8))  # a customer's: `calm` or `upset`, as it was read

    status: Mapped[Status] = mapped_column(default=Status.SENT)
    attempts: Mapped[int] = mapped_column(default=0)  # tries of this part that count
    send_no: Mapped[int] = mapped_column(default=0, server_default="0")  # a fencing token: one more a claim
    next_try_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(400))
    parts_sent: Mapped[int] = mapped_column(default=0, server_default="0")  # of a long text's parts

    edited_at: Mapped[datetime | None]  # by its customer; the channel's time of it
    unsent_at: Mapped[datetime | None]  # taken back by its customer: the text is gone
    reaction: Mapped[str | None] = mapped_column(String(40))  # the customer's: an emoji or its name
    reacted_at: Mapped[datetime | None]  # the channel's time of it

    conversation: Mapped[Conversation] = relationship()
    agent: Mapped[Agent | None] = relationship(lazy="joined")


class Part(Table):
    """A part of a long message that the channel took as a message of its own; not the last one."""

    __tablename__ = "part"
    __table_args__ = (UniqueConstraint("account", "external_id"),)

    message_id: Mapped[int] = mapped_column(ForeignKey("message.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # from 1
    account: Mapped[str] = mapped_column(String(80))
    external_id: Mapped[str] = mapped_column(String(255))


class HandOff(Table):
    """Why and when a conversation went to a person, and when that ended."""

    __tablename__ = "hand_off"
    __table_args__ = (
        one_of("reason", Reason, "reason"),
        Index("ix_hand_off_at", "at"),
        Index(
            "uq_hand_off_open",
            "conversation_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_hand_off_open_at",
            "at",
            "conversation_id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), index=True)
    reason: Mapped[Reason]
    topic: Mapped[Topic | None]  # what the customer wants, as far as the bot understood
    words: Mapped[str | None] = mapped_column(String(400))  # of the customer's, that it came from
    message_id: Mapped[int | None] = mapped_column(ForeignKey("message.id"))  # which they are in
    at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class InboxItem(Table):
    """What a channel delivered, stored before it is acknowledged, filed into messages after."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("account", "external_id"),
        one_of("channel", Channel, "channel"),
        Index(
            "ix_inbox_unfiled",
            "id",
            sqlite_where=text("filed_at IS NULL"),
            postgresql_where=text("filed_at IS NULL"),
        ),
        Index(
            "ix_inbox_unfiled_thread",
            "account",
            "thread",
            sqlite_where=text("filed_at IS NULL"),
            postgresql_where=text("filed_at IS NULL"),
        ),
        Index(
            "ix_inbox_about",
            "account",
            "about",
            sqlite_where=text("about IS NOT NULL"),
            postgresql_where=text("about IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    channel: Mapped[Channel]
    account: Mapped[str] = mapped_column(String(80))
    external_id: Mapped[str] = mapped_column(String(255))
    about: Mapped[str | None] = mapped_column(String(255))  # the external id of the message it changes
    thread: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(24))  # bot.filing.Kind
    payload: Mapped[dict[str, Any]]
    at: Mapped[datetime]  # the channel's time of it
    received_at: Mapped[datetime]
    filed_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(400))


class Event(Table):
    """What changed, for live pages. Written in the transaction that changed it."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_stream_id", "stream", "id"),
        {"sqlite_autoincrement": True},  # a cursor must never see an id twice
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    stream: Mapped[str] = mapped_column(String(210))  # whose page may see it: bot.live.stream_of
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"))
    kind: Mapped[str] = mapped_column(String(24))  # bot.live.Kind
    payload: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Order(Table):
    """An order of the shop's, as imported."""

    __tablename__ = "orders"

    number: Mapped[str] = mapped_column(String(40), primary_key=True)
    email: Mapped[str] = mapped_column(String(320), index=True)  # lower case
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(40))
    carrier: Mapped[str | None] = mapped_column(String(80))
    tracking: Mapped[str | None] = mapped_column(String(120))
    placed_at: Mapped[date]
    eta: Mapped[date | None]
    items: Mapped[str] = mapped_column(Text)
