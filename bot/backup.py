"""Copies of the embedded database, made while it is written to, and put back.

SQLite's own backup reads page by page under its locks, so a copy is the database at one moment, whatever
is written meanwhile (https://www.sqlite.org/backup.html). A copy appears under its name only once it is
whole and has been checked.

A copy also holds the key that signs web chats, where the data folder has it (SECRET_KEY isn't set):
without that key every open chat would begin anew. So one file is all that a restore needs.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from bot.domain.errors import BadInput, Conflict
from bot.settings import KEY_FILE, SQLITE, Settings

LOCK = "serving.lock"
KEY_TABLE = "kept_secret_key"
PUT_KEY, GET_KEY = f"INSERT INTO {KEY_TABLE} VALUES (?)", f"SELECT key FROM {KEY_TABLE}"  # noqa: S608 (ours)


def database_file(settings: Settings) -> Path:
    """The embedded database's file. Raises BadInput on PostgreSQL."""
    if not settings.database_url.startswith(SQLITE):
        raise BadInput("This is for the embedded database; use pg_dump and pg_restore for PostgreSQL.")
    return Path(settings.database_url.removeprefix(SQLITE))


def backup(settings: Settings, target: Path) -> int:
    """Writes a copy; returns its size in bytes. Raises BadInput if the file exists or can't be written."""
    source = database_file(settings)
    if not source.exists():
        raise BadInput(f"There is no database at {source} yet.")
    if target.exists():
        raise BadInput(f"{target} exists already; choose another name.")
    _copy(source, target, _own_key(settings))
    return target.stat().st_size


def restore(settings: Settings, source: Path, now: datetime) -> Path | None:
    """Puts a copy in the database's place; returns where the database before it was put, if there was one.

    That one holds the key before, too. Raises BadInput for a file that isn't a whole copy, and Conflict
    while a bot process serves.
    """
    target = database_file(settings)
    if not source.is_file():
        raise BadInput(f"There is no file {source}.")
    with alone(settings):
        fresh = target.with_name(f"{target.name}.restoring")
        fresh.unlink(missing_ok=True)
        _copy(source, fresh)
        before = None
        if target.exists():
            before = target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%S}")
            _copy(target, before, _own_key(settings))  # with what its log still holds
        key = _take_key(fresh)
        for suffix in ("-wal", "-shm"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)
        fresh.replace(target)
        if key and _own_key(settings):
            _write_key(settings, key)
        _sync(target.parent)
    return before


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """Held by a bot process while it serves, so that nobody swaps its database below it."""
    with _lock(settings, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Raises Conflict while a bot process serves."""
    with _lock(settings, fcntl.LOCK_EX):
        yield


@contextmanager
def _lock(settings: Settings, kind: int) -> Iterator[None]:
    with (settings.data / LOCK).open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                "The bot is running on this data folder, or a restore is; stop it first."
            ) from None
        yield


def _own_key(settings: Settings) -> str:
    """The key that the data folder keeps; empty where SECRET_KEY gives another."""
    file = settings.data / KEY_FILE
    kept = file.read_text().strip() if file.is_file() else ""
    return kept if kept == settings.secret_key else ""


def _take_key(copy: Path) -> str:
    """Takes the key out of a copy: it has no place in a database that serves."""
    with closing(sqlite3.connect(copy)) as database:
        if (KEY_TABLE,) not in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            return ""
        (key,) = database.execute(GET_KEY).fetchone()
        database.execute(f"DROP TABLE {KEY_TABLE}")
        database.execute("VACUUM")
    return str(key)


def _write_key(settings: Settings, key: str) -> None:
    fresh = settings.data / f"{KEY_FILE}.restoring"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(key)
    _sync(fresh)
    fresh.replace(settings.data / KEY_FILE)


def _copy(source: Path, target: Path, key: str = "") -> None:
    """A whole, checked copy under `target`, with the key if one is given; else nothing. Raises BadInput."""
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
            closing(sqlite3.connect(part)) as there,
        ):
            here.backup(there)
            there.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
            _check(there, source)
            if key:
                there.execute(f"CREATE TABLE {KEY_TABLE} (key TEXT NOT NULL)")
                there.execute(PUT_KEY, (key,))
                there.commit()
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        raise BadInput(f"Can't copy {source} to {target} ({error}).") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _check(copy: sqlite3.Connection, source: Path) -> None:
    """Raises BadInput for what isn't a whole database of ours."""
    (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if found != "ok" or not {"alembic_version", "message", "inbox"} <= tables:
        raise BadInput(f"{source} isn't a whole database of Reply Twice.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
