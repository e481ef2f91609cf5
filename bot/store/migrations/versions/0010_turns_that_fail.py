"""How often a turn was tried, and what kept it from being settled."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0003"


def upgrade() -> None:
    """Two columns, and what finds those that failed."""
    op.add_column("conversation", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("conversation", sa.Column("turn_error", sa.String(length=400)))
    for table, condition in (("message", "status = 'failed'"), ("conversation", "turn_error IS NOT NULL")):
        found = sa.text(condition)
        op.create_index(f"ix_{table}_failed", table, ["id"], sqlite_where=found, postgresql_where=found)
