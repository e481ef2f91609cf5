"""Indexes for what was looked for row by row, however many rows there were."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0011"


def upgrade() -> None:
    """Five indexes; four that they make superfluous go."""
    unfiled, known = sa.text("filed_at IS NULL"), sa.text("email IS NOT NULL")
    op.create_index(
        "ix_inbox_unfiled_thread", "inbox", ["account", "thread"],
        sqlite_where=unfiled, postgresql_where=unfiled,
    )  # fmt: skip
    op.drop_index("ix_inbox_account_thread", table_name="inbox")
    op.create_index("ix_message_conversation_id_id", "message", ["conversation_id", "id"])
    op.drop_index("ix_message_conversation_id", table_name="message")
    op.create_index("ix_conversation_contact_id_id", "conversation", ["contact_id", "id"])
    op.create_index("ix_contact_email", "contact", ["email"], sqlite_where=known, postgresql_where=known)
    # SQLite uses an index on some rows only for the very condition that it was made with.
    op.create_index("ix_message_status_id", "message", ["status", "id"])
    op.drop_index("ix_message_outbox", table_name="message")
    op.drop_index("ix_message_failed", table_name="message")
