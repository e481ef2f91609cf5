"""Alembic's entry: runs on the connection that `Store.migrate` hands over."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

import bot.store.care
import bot.store.desk_tables  # noqa: F401 (their tables are part of the schema)
from bot.store.tables import Table, UTCDateTime, Word


def plain_type(kind: str, obj: object, _context: AutogenContext) -> str | Literal[False]:
    """Writes our own types as the plain ones below them: a migration must not change with the code."""
    if kind == "type" and isinstance(obj, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(obj, Word):
        return "sa.String(24)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    render_item=plain_type,
)
with context.begin_transaction():
    context.run_migrations()
