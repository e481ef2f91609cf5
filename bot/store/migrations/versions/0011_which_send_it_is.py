"""A fencing token for sends: a count of tries starts again, and so can't tell one send from another."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """One column."""
    op.add_column("message", sa.Column("send_no", sa.Integer(), nullable=False, server_default="0"))
