"""Rows that every message reads and writes, without objects of the ORM.

To make, to track and to flush an object costs ten times what the database takes for its row. The desk can
afford that, the path of a message can't: it asks for the columns it needs and writes rows as they are.
"""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot.store import search
from bot.store.tables import Contact, Conversation, Identity, Message, Table

type Columns = sa.Row[*tuple[Any, ...]]  # those that a statement asked for, by name


def table(kind: type[Table]) -> sa.Table:
    """The table itself: statements on it give columns, not objects."""
    return cast(sa.Table, kind.__table__)


def update(kind: type[Table], *names: str) -> sa.Update:
    """Sets columns of one row: parameters are their names, and `row`, its id."""
    its = table(kind)
    return (
        sa.update(its)
        .where(its.c.id == sa.bindparam("row"))
        .values({name: sa.bindparam(name) for name in names})
    )


_INSERTS: dict[type[Table], sa.Insert] = {
    kind: sa.insert(table(kind)) for kind in (Contact, Identity, Conversation, Message)
}


def insert(connection: sa.Connection, statement: sa.Insert, values: dict[str, Any]) -> int:
    """Writes a row and returns its id."""
    key = connection.execute(statement, values).inserted_primary_key
    return int(key[0]) if key else 0


def add(session: Session, kind: type[Table], values: dict[str, Any]) -> int:
    """Writes a row and returns its id; what can be searched for is indexed.

    What it leaves to do isn't noticed: the caller tells it (`bot.store.news.tell`). Raises IntegrityError
    where a constraint forbids the row: then the transaction is lost.
    """
    connection = session.connection()
    row_id = insert(connection, _INSERTS[kind], values)
    if kind is Message:
        search.index(connection, "message", row_id, values["text"])
    elif kind is Contact:
        search.index(connection, "contact", row_id, search.who(values["name"], values["email"]))
    return row_id
