"""A shop's history, filled in at once: closed conversations of Messenger customers, years of them.

Each customer has 999 conversations of a question and an answer, so that the next is their 1,000th.
Plain SQL for SQLite, since three million rows should take less than a minute.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path

from bench.ours import PAGES
from bot.store.search import TABLES, terms

EACH = 999  # conversations of one customer
AT_ONCE = 50  # customers a transaction: what else writes waits for it
FIRST_CUSTOMER = 700_000_000
_AT = "strftime('%Y-%m-%d %H:%M:%S', 1600000000 + i * 60, 'unixepoch') || '.000000'"
_PAGE = f"CAST({int(PAGES[0])} + (({FIRST_CUSTOMER} + i / {EACH}) % {len(PAGES)}) AS TEXT)"
_THREAD = f"CAST({FIRST_CUSTOMER} + i / {EACH} AS TEXT)"
_ROWS = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :end)"
_CUSTOMER, _IDENTITY = f":contact + i / {EACH}", f":identity + i / {EACH}"
_CONVERSATION = ":conversation + i"
_SAID = "'Hello, what are your opening hours please? I would like to come by.'"
_ANSWER = (
    "'Our customer service answers Monday to Friday from 9:00 to 18:00 and Saturday from 10:00 to 14:00.'"
)
_STATEMENTS = (
    "INSERT INTO contact (id, name, created_at) "
    f"SELECT {_CUSTOMER}, 'Kim', {_AT} FROM n WHERE i % {EACH} = 0",
    "INSERT INTO identity "
    "(id, contact_id, channel, account, thread, created_at, wrote_at, noticed_at, named_at) "
    f"SELECT {_IDENTITY}, {_CUSTOMER}, 'messenger', {_PAGE}, {_THREAD}, {_AT}, {_AT}, {_AT}, {_AT} "
    f"FROM n WHERE i % {EACH} = 0",
    "INSERT INTO conversation (id, contact_id, identity_id, channel, state, opened_at, last_message_at, "
    "closed_at, answered, misses, language, lease_no, tries) "
    f"SELECT {_CONVERSATION}, {_CUSTOMER}, {_IDENTITY}, 'messenger', 'closed', {_AT}, {_AT}, {_AT}, "
    "'store_hours', 0, 'en', 1, 0 FROM n",
    "INSERT INTO inbox "
    "(public_id, channel, account, external_id, thread, kind, payload, at, received_at, filed_at) "
    f"SELECT printf('a%023x', i), 'messenger', {_PAGE}, 'grown-' || i, {_THREAD}, 'message', "
    f"json_object('text', {_SAID}), {_AT}, {_AT}, {_AT} FROM n",
    "INSERT INTO message (public_id, conversation_id, author, text, attachments, buttons, account, "
    "external_id, at, handled_at, status, attempts) "
    f"SELECT printf('a%023x', i), {_CONVERSATION}, 'customer', {_SAID}, '[]', '[]', {_PAGE}, 'grown-' || i, "
    f"{_AT}, {_AT}, 'sent', 0 FROM n",
    "INSERT INTO message (public_id, conversation_id, author, text, attachments, buttons, reply_no, account, "
    "external_id, at, handled_at, status, attempts, sent_at) "
    f"SELECT printf('b%023x', i), {_CONVERSATION}, 'bot', {_ANSWER}, '[]', '[]', 1, {_PAGE}, "
    f"'grown-out-' || i, {_AT}, {_AT}, 'sent', 1, {_AT} FROM n",
    *(
        "INSERT INTO event (stream, conversation_id, kind, payload, at) "
        f"SELECT {_PAGE} || '/' || {_THREAD}, {_CONVERSATION}, '{kind}', "
        f"json_object('text', {text}), {_AT} FROM n"
        for kind, text in (("message", _SAID), ("message", _ANSWER), ("status", "'closed'"))
    ),
)


@lru_cache(maxsize=64)  # the same few texts a million times
def _terms(text: str) -> str:
    return " ".join(terms(text))


def _index(connection: sqlite3.Connection) -> None:
    """Messages and contacts can be searched for, as those that the product writes can."""
    for table, words in (
        ("message", "text"),
        ("contact", "coalesce(name, '') || ' ' || coalesce(email, '')"),
    ):
        index = TABLES[table]
        newer = f"SELECT id, {words} FROM {table} WHERE id > (SELECT coalesce(max(rowid), 0) FROM {index})"
        found = [(row_id, _terms(text)) for row_id, text in connection.execute(newer)]
        connection.executemany(f"INSERT INTO {index} (rowid, terms) VALUES (?, ?)", found)


def fill(database: Path, customers: int, more: int) -> list[str]:
    """Adds the history of `more` customers to those filled in before; returns the added ones."""
    with sqlite3.connect(database, timeout=60, isolation_level=None) as connection:
        for first in range(customers, customers + more, AT_ONCE):
            last = min(first + AT_ONCE, customers + more)
            connection.execute("BEGIN IMMEDIATE")
            values = {"first": first * EACH, "end": last * EACH}
            # The product goes on with ids above the greatest, and so do we: what i counts from is taken off.
            for table, start in (("contact", first), ("identity", first), ("conversation", first * EACH)):
                (greatest,) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
                values[table] = greatest + 1 - start
            for statement in _STATEMENTS:
                insert, select, rows = statement.partition("SELECT")
                connection.execute(f"{insert} {_ROWS} {select}{rows}", values)
            _index(connection)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [str(FIRST_CUSTOMER + number) for number in range(customers, customers + more)]
