"""The full-text index over messages and contacts: FTS5 on SQLite, a tsvector on PostgreSQL.

Neither splits Korean or Japanese into words, and PostgreSQL's trigram extension isn't everywhere and
knows only letters of the database's locale. So text is cut into terms here, the same for both: words of
other scripts as they are, and Chinese, Japanese and Korean ones into overlapping pairs of characters. A
query's pairs must stand in a row, so that it finds just what contains it, from one character on.

Objects are indexed by the mapper's events below, single rows by `bot.store.rows`. Whoever writes many
without either calls `index_all`.
"""

import re
import unicodedata
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import get_history

from bot.store.tables import Contact, Message

_WORD = re.compile(r"[^\W_]+")
_PAIRED = re.compile(
    r"[\u1100-\u11ff\u3005-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)
LONGEST = 60  # characters of a term: a longer one is no word
MOST = 12  # terms of a query
TABLES = {"message": "found_message", "contact": "found_contact"}


def terms(text: str) -> list[str]:
    """A text as it is indexed: "환불 in 3 days" becomes 환불 불 in 3 days."""
    return [term for run in _runs(text) for term in _terms_of(run)]


def _runs(text: str) -> list[str]:
    """Words, cut where the script changes between paired and other characters."""
    if text.isascii():  # nothing to normalize, to pair or to bare
        return [word[:LONGEST] for word in _WORD.findall(text.lower())]
    plain = unicodedata.normalize("NFKC", text).lower()
    runs = []
    for word in _WORD.findall(plain):
        for paired, group in groupby(word, key=lambda char: bool(_PAIRED.match(char))):
            run = "".join(group)
            runs.append(run if paired else _bare(run)[:LONGEST])
    return [run for run in runs if run]


def _bare(word: str) -> str:
    """Without accents: café is found by cafe."""
    return "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))


def _terms_of(run: str) -> list[str]:
    if not _PAIRED.match(run):
        return [run]
    return [run[i : i + 2] for i in range(len(run))]  # the last is a single character


def _query(text: str, join: str, phrase: str, prefix: str) -> str | None:
    """A query in a database's own syntax; None if there is nothing to look for."""
    found = []
    for run in _runs(text)[:MOST]:
        if _PAIRED.match(run) and len(run) > 1:
            found.append(phrase.join(f'"{run[i : i + 2]}"' for i in range(min(len(run) - 1, MOST))))
        else:
            found.append(f'"{run}"{prefix}')
    return join.join(found) or None


def matching(session: Session, table: str, text: str) -> sa.Select[Any] | None:
    """Selects the ids of a table's rows that hold every word of `text`, words by their beginning.

    `table` is a key of `TABLES`. None if `text` holds no word.
    """
    index = sa.table(TABLES[table], sa.column("rowid"), sa.column("id"), sa.column("terms"))
    if session.get_bind().dialect.name == "sqlite":
        wanted = _query(text, " AND ", " + ", "*")
        of: sa.ColumnElement[Any] = sa.literal_column(TABLES[table])
        return None if wanted is None else sa.select(index.c.rowid.label("id")).where(of.op("MATCH")(wanted))
    wanted = _query(text, " & ", " <-> ", ":*")
    if wanted is None:
        return None
    quoted = wanted.replace('"', "'")  # runs hold letters and digits only
    asked = sa.func.to_tsquery(sa.literal_column("'simple'"), quoted)
    return sa.select(index.c.id).where(index.c.terms.op("@@")(asked))


def create(connection: sa.Connection) -> None:
    """Creates both indexes and fills them from what is there."""
    for table, index in TABLES.items():
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                f"CREATE VIRTUAL TABLE {index} USING fts5"
                "(terms, tokenize='unicode61 remove_diacritics 0', prefix='2 3')"
            )
        else:
            connection.exec_driver_sql(
                f"CREATE TABLE {index} (id integer PRIMARY KEY REFERENCES {table}(id) ON DELETE CASCADE,"
                " terms tsvector NOT NULL)"
            )
            connection.exec_driver_sql(f"CREATE INDEX ix_{index} ON {index} USING gin (terms)")
    index_all(connection)


def index_all(connection: sa.Connection, batch: int = 5_000) -> None:
    """Indexes what isn't yet, in the order of its ids."""
    for table, columns in (
        ("message", "text"),
        ("contact", "coalesce(name, '') || ' ' || coalesce(email, '')"),
    ):
        key = "rowid" if connection.dialect.name == "sqlite" else "id"
        last = connection.scalar(sa.text(f"SELECT coalesce(max({key}), 0) FROM {TABLES[table]}"))  # noqa: S608
        select = sa.text(f"SELECT id, {columns} FROM {table} WHERE id > :last ORDER BY id LIMIT :batch")  # noqa: S608
        while rows := connection.execute(select, {"last": last, "batch": batch}).all():
            found = [_entry(row_id, text) for row_id, text in rows]
            connection.execute(_INSERT[connection.dialect.name, table], found)
            last = rows[-1][0]


_KEYS = {"sqlite": ("rowid", ":terms"), "postgresql": ("id", "to_tsvector('simple', :terms)")}
_INSERT = {
    (dialect, table): sa.text(f"INSERT INTO {index} ({key}, terms) VALUES (:id, {words})")  # noqa: S608
    for dialect, (key, words) in _KEYS.items()
    for table, index in TABLES.items()
}
_UPDATE = {
    (dialect, table): sa.text(f"UPDATE {index} SET terms = {words} WHERE {key} = :id")  # noqa: S608
    for dialect, (key, words) in _KEYS.items()
    for table, index in TABLES.items()
}


def _words_of(row: Message | Contact) -> str:
    return row.text if isinstance(row, Message) else who(row.name, row.email)


def who(name: str | None, email: str | None) -> str:
    """What a contact is found by."""
    return f"{name or ''} {email or ''}"


def index(connection: sa.Connection, table: str, row_id: int, text: str) -> None:
    """Indexes a new row of a table of `TABLES`."""
    connection.execute(_INSERT[connection.dialect.name, table], _entry(row_id, text))


def renew(connection: sa.Connection, table: str, row_id: int, text: str) -> None:
    """Indexes a row anew."""
    connection.execute(_UPDATE[connection.dialect.name, table], _entry(row_id, text))


def _entry(row_id: int, text: str) -> dict[str, Any]:
    return {"id": row_id, "terms": " ".join(terms(text))}


@event.listens_for(Message, "after_insert")
@event.listens_for(Contact, "after_insert")
def _on_insert(mapper: Mapper[Any], connection: sa.Connection, row: Message | Contact) -> None:
    index(connection, str(mapper.local_table), row.id, _words_of(row))


@event.listens_for(Message, "after_update")
@event.listens_for(Contact, "after_update")
def _on_update(mapper: Mapper[Any], connection: sa.Connection, row: Message | Contact) -> None:
    names = ("text",) if isinstance(row, Message) else ("name", "email")
    if any(get_history(row, name).has_changes() for name in names):
        renew(connection, str(mapper.local_table), row.id, _words_of(row))
