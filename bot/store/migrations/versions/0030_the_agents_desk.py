"""What an agent's day needs: unread marks, snoozing, notes, saved replies, and an index to search by."""

import sqlalchemy as sa
from alembic import op

from bot.store import search

revision = "0030"
down_revision = "0040"

TIME = sa.DateTime(timezone=True)
DEEDS = "'taken', 'taken_over', 'handed', 'given_back', 'snoozed', 'woken', 'resolved', 'reopened'"


def upgrade() -> None:
    """Columns first, then tables, then what finds things."""
    op.add_column("agent", sa.Column("language", sa.String(8)))
    op.add_column("conversation", sa.Column("snoozed_until", TIME))
    op.add_column("message", sa.Column("tone", sa.String(8)))
    op.add_column("hand_off", sa.Column("words", sa.String(400)))
    # A foreign key can't be added to a table of SQLite's later on, but with its column it can.
    for table, column, other in (
        ("conversation", "handler_id", "agent"),
        ("hand_off", "message_id", "message"),
    ):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} INTEGER"
            f" CONSTRAINT fk_{table}_{column}_{other} REFERENCES {other} (id)"
        )
    op.execute("UPDATE conversation SET handler_id = agent_id WHERE agent_id IS NOT NULL")
    _tables()
    _indexes()
    search.create(op.get_bind())


def _tables() -> None:
    op.create_table(
        "act",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("conversation_id", sa.Integer(), sa.ForeignKey("conversation.id"), nullable=False),
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("other_id", sa.Integer(), sa.ForeignKey("agent.id")),
        sa.Column("deed", sa.String(24), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint(f"deed IN ({DEEDS})", name="ck_act_deed"),
    )
    op.create_table(
        "seen",
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), primary_key=True),
        sa.Column("conversation_id", sa.Integer(), sa.ForeignKey("conversation.id"), primary_key=True),
        sa.Column("message_id", sa.Integer(), nullable=False),
    )
    op.create_table(
        "mention",
        sa.Column("message_id", sa.Integer(), sa.ForeignKey("message.id"), primary_key=True),
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), primary_key=True),
        sa.Column("seen_at", TIME),
    )
    op.create_table(
        "looking",
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), primary_key=True),
        sa.Column("conversation_id", sa.Integer(), sa.ForeignKey("conversation.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("typing_at", TIME),
    )
    op.create_table(
        "contact_note",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("contact_id", sa.Integer(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_table(
        "joining",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("contact_id", sa.Integer(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("other_id", sa.Integer(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("undone_at", TIME),
        sa.Column("undone_by", sa.Integer(), sa.ForeignKey("agent.id")),
        sa.CheckConstraint("kind IN ('merge', 'split')", name="ck_joining_kind"),
    )
    op.create_table(
        "saved_reply",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("agent_id", sa.Integer(), sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )


def _indexes() -> None:
    op.drop_index("ix_conversation_state_last_message_at", "conversation")
    for table, columns in (
        ("act", ["conversation_id"]),
        ("seen", ["conversation_id"]),
        ("mention", ["agent_id"]),
        ("looking", ["conversation_id"]),
        ("contact_note", ["contact_id"]),
        ("joining", ["contact_id"]),
        ("joining", ["other_id"]),
        ("conversation", ["state", "last_message_at", "id"]),
        ("conversation", ["last_message_at", "id"]),
        ("conversation", ["handler_id", "last_message_at", "id"]),
    ):
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    for name, table, columns, condition in (
        ("ix_mention_unseen", "mention", ["agent_id"], "seen_at IS NULL"),
        ("ix_conversation_held", "conversation", ["agent_id"], "agent_id IS NOT NULL"),
        ("ix_hand_off_open_at", "hand_off", ["at", "conversation_id"], "ended_at IS NULL"),
    ):
        found = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=found, postgresql_where=found)
