"""A copy of the embedded database is whole, whatever is written meanwhile, and goes back as it was."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import backup
from bot.domain.errors import BadInput, Conflict
from bot.settings import KEY_FILE, ROOT, Settings, load
from bot.store.engine import Store
from bot.store.tables import InboxItem, Message
from tests.support import MONDAY_NOON, Server, Shop, Visitor, settings_for, wait_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    store = Store(settings.database_url)
    store.migrate()
    yield Shop(store, settings)
    store.close()


def test_a_copy_made_while_customers_write_is_whole(shop: Shop, settings: Settings, tmp_path: Path):
    stop, written = threading.Event(), threading.Event()

    def customers_write() -> None:
        number = 0
        while not stop.is_set():
            shop.writes(f"message {number} " + "x" * 2_000, who=f"customer-{number % 7}")
            number += 1
            if number == 20:
                written.set()

    writing = threading.Thread(target=customers_write)
    writing.start()
    written.wait(60)
    for number in range(3):
        backup.backup(settings, tmp_path / f"copy-{number}.db")
    stop.set()
    writing.join()
    counts = []
    for number in range(3):
        copy = Store(f"sqlite:///{tmp_path / f'copy-{number}.db'}")
        with copy.read() as session:
            filed = session.scalar(sa.select(sa.func.count()).where(InboxItem.filed_at.isnot(None)))
            assert filed == session.scalar(sa.select(sa.func.count(Message.id)))  # each whole, or not at all
            counts.append(filed)
        copy.close()
    assert 20 <= counts[0] <= counts[1] <= counts[2]


def test_what_is_restored_is_what_was_copied_and_the_former_is_kept(
    shop: Shop, settings: Settings, tmp_path: Path
):
    shop.hears("return_policy")
    backup.backup(settings, tmp_path / "copy.db")
    shop.hears("invoice")
    shop.store.close()
    former = backup.restore(settings, tmp_path / "copy.db", MONDAY_NOON)
    assert shop.replies() == ["answer return_policy"]
    shop.store.close()
    assert former
    kept = Shop(Store(f"sqlite:///{former}"), settings)
    assert kept.replies() == ["answer return_policy", "answer invoice"]
    kept.store.close()


def test_one_file_is_all_that_a_new_machine_needs_to_go_on_with_open_chats(tmp_path: Path):
    here, there = load({"DATA_DIR": str(tmp_path / "a")}), load({"DATA_DIR": str(tmp_path / "b")})
    with Server(here) as server:
        visitor = server.visitor()
        visitor.posts("return_policy")
        wait_for(lambda: visitor.texts("bot"))
        anna = server.agent("Anna")
        backup.backup(here, tmp_path / "copy.db")
    backup.restore(there, tmp_path / "copy.db", MONDAY_NOON)
    with Server(load({"DATA_DIR": str(tmp_path / "b")})) as server:
        assert Visitor(server.http, visitor.token).texts("bot") == ["answer return_policy"]
        assert server.http.get("/api/desk/conversations?state=bot", headers=anna.headers).status_code == 200
        with server.services.store.read() as session:  # the key is where it belongs, and nowhere else
            assert backup.KEY_TABLE not in sa.inspect(session.connection()).get_table_names()
    assert (tmp_path / "b" / KEY_FILE).stat().st_mode & 0o077 == 0
    assert here.secret_key.encode() not in (tmp_path / "b" / "reply_twice.db").read_bytes()


def test_the_key_before_comes_back_with_the_database_before(tmp_path: Path):
    values = {"DATA_DIR": str(tmp_path / "a")}
    before = load(values)
    Store(before.database_url).migrate()
    other = load({"DATA_DIR": str(tmp_path / "b")})
    Store(other.database_url).migrate()
    backup.backup(other, tmp_path / "copy.db")
    former = backup.restore(before, tmp_path / "copy.db", MONDAY_NOON)
    assert load(values).secret_key == other.secret_key
    assert former
    backup.restore(load(values), former, MONDAY_NOON)
    assert load(values).secret_key == before.secret_key


def test_a_key_from_the_environment_is_neither_copied_nor_replaced(
    shop: Shop, settings: Settings, tmp_path: Path
):
    other = load({"DATA_DIR": str(tmp_path / "b")})
    Store(other.database_url).migrate()
    backup.backup(settings, tmp_path / "mine.db")
    assert settings.secret_key.encode() not in (tmp_path / "mine.db").read_bytes()
    backup.backup(other, tmp_path / "copy.db")
    shop.store.close()
    backup.restore(settings, tmp_path / "copy.db", MONDAY_NOON)
    assert not (settings.data / KEY_FILE).exists()


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, None])
def test_a_file_that_is_no_copy_changes_nothing(
    shop: Shop, settings: Settings, tmp_path: Path, content: bytes | None
):
    shop.hears("return_policy")
    bad = tmp_path / "bad.db"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(BadInput):
        backup.restore(settings, bad, MONDAY_NOON)
    assert shop.replies() == ["answer return_policy"]


def test_a_copy_cut_short_is_refused(shop: Shop, settings: Settings, tmp_path: Path):
    for number in range(30):
        shop.writes("x" * 2_000, who=f"customer-{number}")
    backup.backup(settings, tmp_path / "copy.db")
    whole = (tmp_path / "copy.db").read_bytes()
    (tmp_path / "copy.db").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput):
        backup.restore(settings, tmp_path / "copy.db", MONDAY_NOON)


def test_nothing_is_overwritten_and_nothing_half_is_left(shop: Shop, settings: Settings, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        backup.backup(settings, tmp_path / "mine.txt")
    with pytest.raises(BadInput):
        backup.backup(settings, tmp_path / "nowhere" / "copy.db")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


def test_nobody_swaps_the_database_below_a_running_bot(shop: Shop, settings: Settings, tmp_path: Path):
    backup.backup(settings, tmp_path / "copy.db")
    with backup.serving(settings), pytest.raises(Conflict, match="running"):
        backup.restore(settings, tmp_path / "copy.db", MONDAY_NOON)


def test_it_is_for_the_embedded_database(tmp_path: Path):
    settings = settings_for(tmp_path, DATABASE_URL="postgresql://localhost/shop")
    with pytest.raises(BadInput, match="pg_dump"):
        backup.backup(settings, tmp_path / "copy.db")


def test_both_work_from_the_command_line(shop: Shop, tmp_path: Path):
    shop.hears("return_policy")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bot", *arguments], cwd=ROOT, env=os.environ | {"DATA_DIR": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    copy = str(tmp_path / "copy.db")
    assert "bytes written" in run("backup", copy)
    shop.hears("invoice")
    shop.store.close()
    assert "Restored" in run("restore", copy)
    assert shop.replies() == ["answer return_policy"]
