"""Tables of how a team works: tags, rules, teams, presence, promises, ratings, settings, the audit trail.

Apart from `tables`, which hold the path of a message: nothing here keeps a message from getting through.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bot.domain.words import Channel
from bot.store.tables import Table, one_of

NAME_LENGTH = 60  # characters of a tag's, team's or rule's name
PRIORITIES = (0, 1, 2, 3)  # low, normal, high, urgent


class Tag(Table):
    """A word that sorts conversations. What is no longer used is retired, not deleted: reports keep it."""

    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(2 * NAME_LENGTH), unique=True)  # the name, whatever its case
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class ConversationTag(Table):
    """A tag at a conversation. Taken off by hand it stays off: a rule doesn't put it back."""

    __tablename__ = "conversation_tag"
    __table_args__ = (Index("ix_conversation_tag_tag_id_at", "tag_id", "at"),)

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id"), primary_key=True)
    at: Mapped[datetime]
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))  # None: a rule did it
    removed_at: Mapped[datetime | None]


class Team(Table):
    """Agents who answer the same kind of conversation."""

    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    key: Mapped[str] = mapped_column(String(2 * NAME_LENGTH), unique=True)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class TeamMember(Table):
    """An agent of a team."""

    __tablename__ = "team_member"

    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"), primary_key=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), primary_key=True)


class Rule(Table):
    """What is done when a customer's message mentions something. A draft until somebody puts it live."""

    __tablename__ = "rule"
    __table_args__ = (
        one_of("channel", Channel, "channel"),
        CheckConstraint("priority IS NULL OR priority IN (0, 1, 2, 3)", name="priority"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    phrases: Mapped[dict[str, Any]]  # {"any": [phrase, …]}: one of them is enough
    topics: Mapped[dict[str, Any]]  # {"any": [topic, …]}: as the bot read it
    channel: Mapped[Channel | None]  # None: on each
    tag_id: Mapped[int | None] = mapped_column(ForeignKey("tag.id"))
    priority: Mapped[int | None]
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))
    live_since: Mapped[datetime | None]  # None: a draft
    changed_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class RuleMatch(Table):
    """A rule that was carried out at a conversation: once, so that what an agent changes after it stays."""

    __tablename__ = "rule_match"

    rule_id: Mapped[int] = mapped_column(ForeignKey("rule.id"), primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True, index=True)
    at: Mapped[datetime]


class Handling(Table):
    """How urgent a conversation is, and whose team's. No row: normal, anybody's."""

    __tablename__ = "handling"
    __table_args__ = (
        CheckConstraint("priority IN (0, 1, 2, 3)", name="priority"),
        Index("ix_handling_team_id", "team_id"),
    )

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    priority: Mapped[int] = mapped_column(default=1)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))


class Presence(Table):
    """Whether an agent is there to be given conversations, and how many they hold at once."""

    __tablename__ = "presence"
    __table_args__ = (CheckConstraint("capacity IS NULL OR capacity BETWEEN 0 AND 200", name="capacity"),)

    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"), primary_key=True)
    available: Mapped[bool] = mapped_column(default=False)
    since: Mapped[datetime]  # when `available` changed
    seen_at: Mapped[datetime]  # when a page or program of theirs last called
    capacity: Mapped[int | None]  # None: the shop's default
    given_at: Mapped[datetime | None]  # when routing last gave them one: the round robin's order


class Assignment(Table):
    """Who was given a conversation, or had it taken off them, by routing. Never changed."""

    __tablename__ = "assignment"
    __table_args__ = (CheckConstraint("kind IN ('given', 'returned')", name="kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), index=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    kind: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(24))  # bot.desk.routing: round_robin, team, left, …
    at: Mapped[datetime]


class Target(Table):
    """How soon a person answers, and how soon it is settled, in opening hours. The narrowest one holds."""

    __tablename__ = "target"
    __table_args__ = (
        one_of("channel", Channel, "channel"),
        CheckConstraint("priority IS NULL OR priority IN (0, 1, 2, 3)", name="priority"),
        CheckConstraint("first_minutes > 0 AND solve_minutes > 0", name="minutes"),
    )

    place: Mapped[str] = mapped_column(String(40), primary_key=True)  # channel and priority: one target each
    channel: Mapped[Channel | None]
    priority: Mapped[int | None]
    first_minutes: Mapped[int]
    solve_minutes: Mapped[int]


class Promise(Table):
    """What a customer who was handed to a person was promised. It stays when targets change later."""

    __tablename__ = "promise"
    hand_off_id: Mapped[int] = mapped_column(ForeignKey("hand_off.id"), primary_key=True)
    first_due_at: Mapped[datetime]
    solve_due_at: Mapped[datetime]
    raise_at: Mapped[datetime]  # if nobody has answered by then, the chat is raised
    escalated_at: Mapped[datetime | None]


class Holiday(Table):
    """A day on which nobody is at the desk."""

    __tablename__ = "holiday"

    day: Mapped[date] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))


class Rating(Table):
    """What a customer thinks of a conversation that is over. One each; it may be changed for a day."""

    __tablename__ = "rating"
    __table_args__ = (
        CheckConstraint("score BETWEEN 1 AND 5", name="score"),
        Index("ix_rating_at", "at"),
    )

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    score: Mapped[int]
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
    changed_at: Mapped[datetime]


class RatingRequest(Table):
    """That a customer was asked, or shall be: by the rule, or because an agent asked for it."""

    __tablename__ = "rating_request"

    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"), primary_key=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))  # who asked for it
    at: Mapped[datetime]  # when it was asked for; on Messenger: not to be sent before
    sent_at: Mapped[datetime | None]  # on Messenger: when Meta was asked to show it
    error: Mapped[str | None] = mapped_column(String(200))


class RunSetting(Table):
    """A setting that supervisors change at the desk; it overrides the environment's."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(1000))


class AuditEntry(Table):
    """Who did what when. Triggers refuse to change or remove one."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 (SQLAlchemy's own form)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    agent: Mapped[str] = mapped_column(String(200))  # the name as it was
    what: Mapped[str] = mapped_column(String(40))  # a word that bot/desk/words/shift explains
    subject: Mapped[str] = mapped_column(String(200))
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
