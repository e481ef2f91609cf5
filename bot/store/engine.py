"""The database behind one object: units of work to write, read-only sessions to read."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.orm import Session

from bot.domain.errors import SettingError, StoreDown
from bot.store import desk_tables, news, rows, search  # noqa: F401 (whoever writes rows has them indexed)
from bot.store.tables import Event

HERE = Path(__file__).resolve().parent
BUSY_MS = 10_000  # how long SQLite waits for another process's transaction
POOL_SECONDS = 5  # how long a caller waits for a connection: Meta gives a webhook no longer
LOCK_SECONDS = 10  # how long PostgreSQL waits for another's lock, as SQLite does
ASLEEP_SECONDS = 30  # a process that sleeps within a transaction holds everybody up: PostgreSQL ends it
DOWN = (  # what a database says that is locked, full, restarting, read-only or away
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.InternalError,
    sa.exc.TimeoutError,
)


Witness = Callable[[list[tuple[int, dict[str, Any]]]], None]  # ids and rows of live events


class _Turnstile:
    """Lets one in at a time, whoever is urgent first."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._lines = {urgent: threading.Condition(lock) for urgent in (True, False)}
        self._waiting = {True: 0, False: 0}
        self._taken = False

    def enter(self, urgent: bool) -> None:
        """Waits to be let in. Raises StoreDown after `BUSY_MS`."""
        with self._lines[urgent]:
            self._waiting[urgent] += 1
            may = self._lines[urgent].wait_for(lambda: self._is_free(urgent), timeout=BUSY_MS / 1000)
            self._waiting[urgent] -= 1
            if not may:
                raise StoreDown("The database can't be used (database is locked).")
            self._taken = True

    def _is_free(self, urgent: bool) -> bool:
        return not self._taken and (urgent or not self._waiting[True])

    def leave(self) -> None:
        """Lets the next one in."""
        with self._lines[True]:
            self._taken = False
            self._lines[self._waiting[True] > 0].notify()


class Store:
    """Opens sessions on one database and tells listeners when a commit held live events."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self._reader = self._engine.execution_options(sqlite_begin="BEGIN DEFERRED")
        self._hasty = _engine(url, synchronous="NORMAL") if self.is_sqlite else self._engine
        self._turnstile = _Turnstile()
        self._listeners: list[news.Listener] = []
        self._witnesses: list[Witness] = []

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def unit_of_work(self, durable: bool = True, urgent: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back by any exception.

        One that isn't `durable` is seen by everybody at once, but a power failure may undo it: for what
        would be done anew then. An `urgent` one is let in before the others that wait.

        Raises StoreDown if the database is locked, full or away: then nothing was
        stored.
        """
        engine = self._engine if durable else self._hasty
        with _down(), self._alone(urgent), news.Unit(engine, expire_on_commit=False) as session:
            with session.begin():
                if not durable and not self.is_sqlite:
                    session.execute(sa.text("SET LOCAL synchronous_commit = off"))
                yield session
                happened = _write_events(session)
                session.flush()
            told = news.told(session)
        if happened:
            for witness in self._witnesses:
                witness(happened)
        if told:
            for listener in self._listeners:
                listener(told)

    @contextmanager
    def rehearsal(self, durable: bool = True) -> Iterator[Session]:
        """As `unit_of_work`, up to the commit: then all is rolled back. Raises StoreDown."""
        engine = self._engine if durable else self._hasty
        with _down(), self._alone(False), news.Unit(engine) as session, session.begin() as transaction:
            yield session
            _write_events(session)
            session.flush()
            transaction.rollback()

    @contextmanager
    def _alone(self, urgent: bool) -> Iterator[None]:
        """The embedded database has one writer: the next is let in as soon as it is done.

        SQLite itself lets a second one sleep and look again, up to 100 ms at a time.
        """
        if not self.is_sqlite:
            yield
            return
        self._turnstile.enter(urgent)
        try:
            yield
        finally:
            self._turnstile.leave()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view that writes nothing. Raises StoreDown."""
        with _down(), Session(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    def on_events(self, witness: Witness) -> None:
        """Calls `witness` (from any thread) after each commit that held live events, with their ids.

        Two commits may be told of in another order than theirs.
        """
        self._witnesses.append(witness)

    def on_news(self, listener: news.Listener) -> None:
        """Calls `listener` (from any thread) after each commit that left something to do."""
        self._listeners.append(listener)

    def migrate(self) -> None:
        """Brings the database to the newest schema. Raises SettingError if it can't be opened."""
        config = Config()
        config.set_main_option("script_location", str(HERE / "migrations"))
        try:
            with self._engine.begin() as connection:
                if not self.is_sqlite:  # two processes starting at once: one migrates, one waits
                    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(7201)"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except sa.exc.DatabaseError as error:
            raise SettingError(f"DATABASE_URL: can't open the database ({_first_line(error)}).") from None

    def close(self) -> None:
        """Closes every pooled connection."""
        self._engine.dispose()
        self._hasty.dispose()


_EVENTS = sa.insert(rows.table(Event))


@contextmanager
def _down() -> Iterator[None]:
    try:
        yield
    except DOWN as error:
        raise StoreDown(f"The database can't be used ({_first_line(error)}).") from error


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    said = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else "no connection is free"
    return next(iter(said.strip().splitlines()), type(error).__name__)


def _write_events(session: Session) -> list[tuple[int, dict[str, Any]]]:
    """On PostgreSQL a lock is held from then until the commit, so that event ids become visible in their
    order and a page that resumes from an id misses none. It is the last lock that is taken: whoever
    holds it waits for nobody, and so nobody waits for each other.
    """
    late = news.late_events(session)
    if not late:
        return []
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SELECT pg_advisory_xact_lock(7202)"))
    # Row after row: ids grow in the order of what happened.
    return [(rows.insert(session.connection(), _EVENTS, values), values) for values in late]


def _engine(url: str, synchronous: str = "FULL") -> sa.Engine:
    """`synchronous` is SQLite's. FULL: a message is on the disk, not only in its cache, before it is
    acknowledged."""
    if not url.startswith("sqlite"):
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=10,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,
            connect_args={
                "options": f"-c lock_timeout={LOCK_SECONDS}s"
                f" -c idle_in_transaction_session_timeout={ASLEEP_SECONDS}s"
            },
        )
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_MS / 1000}, pool_timeout=POOL_SECONDS, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            *("journal_mode=WAL", f"synchronous={synchronous}"),
            *("foreign_keys=ON", f"busy_timeout={BUSY_MS}"),
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        # A write takes its lock at once: upgrading a read later could fail halfway.
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN IMMEDIATE"))

    return engine
