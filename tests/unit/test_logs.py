"""What is logged: ids, never a customer's words."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from bot import logs
from bot.store.engine import Store
from tests.support import Shop, settings_for

WORDS = "my secret sorrow"


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.set_up("DEBUG", "json")
    yield capsys
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    store = Store(f"sqlite:///{tmp_path / 'shop.db'}")
    store.migrate()
    yield Shop(store, settings_for(tmp_path))
    store.close()


def test_a_turn_is_told_by_its_conversation_and_its_try(logged: pytest.CaptureFixture[str], shop: Shop):
    shop.hears(f"return_policy {WORDS}")
    lines = [json.loads(line) for line in logged.readouterr().err.splitlines()]
    (settled,) = [line for line in lines if line["event"] == "turn.settled"]
    assert (settled["conversation_id"], settled["turn"]) == (1, "1-1")
    assert WORDS not in str(lines)


def test_a_failure_is_told_without_what_it_quotes(logged: pytest.CaptureFixture[str], shop: Shop):
    def fail() -> None:
        with shop.store.unit_of_work() as session:
            session.execute(sa.text(f"INSERT INTO message (text) VALUES ('{WORDS}')"))

    shop.brain.before_answer = fail
    shop.hears("return_policy")
    error = logged.readouterr().err
    (line,) = [line for line in map(json.loads, error.splitlines()) if line["event"] == "turn.failed"]
    assert line["exception"] == "IntegrityError <- IntegrityError"
    assert "test_logs.py" in line["where"]
    assert line["conversation_id"] == 1
    assert WORDS not in error


def test_a_library_says_it_in_the_same_shape(logged: pytest.CaptureFixture[str]):
    logs.set_up("DEBUG", "json")  # now: pytest has another standard error while it prepares
    try:
        raise ValueError(WORDS)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    logging.getLogger("httpcore.http11").debug("Authorization: Bearer token")
    error = logged.readouterr().err
    assert json.loads(error)["exception"] == "ValueError"
    assert WORDS not in error


def test_plain_text_is_one_line_per_event(capsys: pytest.CaptureFixture[str], logged: object):
    logs.set_up("INFO", "text")
    structlog.get_logger().info("turn.settled", conversation_id=7)
    assert "event=turn.settled" in capsys.readouterr().err
