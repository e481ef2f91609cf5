"""What Messenger tells beside messages, parts of long ones, troubled accounts, and Instagram."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)
ON_IDENTITY = ("wrote_at", "delivered_until", "read_until", "routed_at", "noticed_at", "named_at")
BEFORE, AFTER = "channel IN ('web', 'messenger')", "channel IN ('web', 'messenger', 'instagram')"


def upgrade() -> None:
    """New columns and tables, and one more channel."""
    for column in ON_IDENTITY:
        op.add_column("identity", sa.Column(column, TIME, nullable=True))
    op.add_column("identity", sa.Column("referral", sa.JSON(), nullable=True))
    op.add_column("message", sa.Column("parts_sent", sa.Integer(), nullable=False, server_default="0"))
    for column in ("edited_at", "unsent_at", "reacted_at"):
        op.add_column("message", sa.Column(column, TIME, nullable=True))
    op.add_column("message", sa.Column("reaction", sa.String(40), nullable=True))
    op.add_column("inbox", sa.Column("about", sa.String(255), nullable=True))
    known = sa.text("about IS NOT NULL")
    op.create_index(
        "ix_inbox_about", "inbox", ["account", "about"], sqlite_where=known, postgresql_where=known
    )
    nameless = sa.text("named_at IS NULL AND channel <> 'web'")
    op.create_index(
        "ix_identity_nameless", "identity", ["id"], sqlite_where=nameless, postgresql_where=nameless
    )
    op.create_table(
        "account",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("trouble", sa.String(24), nullable=True),
        sa.Column("detail", sa.String(400), nullable=True),
        sa.Column("since", TIME, nullable=True),
        sa.Column("paused_until", TIME, nullable=True),
        sa.Column("throttled", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "part",
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("external_id", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_part_message_id")),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_part")),
        sa.UniqueConstraint("account", "external_id", name=op.f("uq_part_account_external_id")),
    )
    op.execute(
        "UPDATE identity SET wrote_at = (SELECT max(received_at) FROM inbox WHERE inbox.account ="
        " identity.account AND inbox.thread = identity.thread AND inbox.kind IN ('message', 'standby'))"
        " WHERE channel = 'messenger'"
    )
    for table in ("identity", "conversation", "inbox"):
        _widen(table)


def _widen(table: str) -> None:
    """One more word in a CHECK. SQLite would have to copy the table, and lose its triggers and the
    rows that refer to it; for a change that leaves the stored rows as they are, its documentation
    (lang_altertable.html, section 7) has the schema's text edited in place."""
    name = f"ck_{table}_channel"
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f(name), table, type_="check")
        op.create_check_constraint(op.f(name), table, AFTER)
        return
    version = op.get_bind().execute(sa.text("PRAGMA schema_version")).scalar_one()
    op.execute("PRAGMA writable_schema = ON")
    old, new = BEFORE.replace("'", "''"), AFTER.replace("'", "''")
    op.execute(
        f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}')"  # noqa: S608 (our own words)
        f" WHERE type = 'table' AND name = '{table}'"
    )
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = OFF")
