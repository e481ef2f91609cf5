"""`kill -9` between every two steps of a message's path, in a real process on a real database."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.domain.words import Author, Status
from bot.store.tables import InboxItem
from tests.meta import GraphServer
from tests.mortal import CUSTOMER, STEPS, Walk, die, processes

COURIERS = ("settle", "send", "record")
# Marked `sending`, and Graph was never asked; with the courier the turn itself does so.
NEVER_SENT = {("parcel", "after", False), ("settle", "after", True), ("send", "before", False)}
NEVER_SENT |= {("send", "before", True)}


@pytest.fixture
def graph() -> Iterator[GraphServer]:
    graph = GraphServer()
    yield graph
    graph.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("step", "courier"), [*((step, False) for step in STEPS), *((step, True) for step in COURIERS)]
)
def test_a_kill_loses_nothing_and_doubles_nothing(
    migrated_url: str, tmp_path: Path, graph: GraphServer, step: str, courier: bool, when: str
):
    walk = Walk(migrated_url, tmp_path, graph.url)
    ours, theirs = processes.Pipe()
    dying = processes.Process(
        target=die, args=(migrated_url, tmp_path, graph.url, step, when, theirs, courier)
    )
    dying.start()
    theirs.close()
    if step in ("echo", "file_echo"):
        while not graph.sent:
            assert dying.is_alive()
        ours.send(graph.sent)
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL

    walk.restarts()
    walk.webhook_comes()  # Meta sends again whatever was not acknowledged, and now and then the rest
    for _ in range(2):
        walk.filed()
        walk.decided()
        walk.delivered()
        walk.echoes_come(graph)
    walk.filed()

    shop = walk.shop
    asked, *replied = shop.messages(CUSTOMER)
    assert asked.author is Author.CUSTOMER
    assert asked.handled_at
    assert [(m.author, m.reply_no, m.text) for m in replied] == [(Author.BOT, 1, "answer return_policy")]
    if (step, when, courier) in NEVER_SENT:
        assert graph.sent == []
        assert replied[0].status is Status.UNKNOWN  # nobody can know; it is said so, and not sent blindly
    else:
        assert [sent.metadata for sent in graph.sent] == [replied[0].public_id]
        assert replied[0].status is Status.SENT
    with shop.store.read() as session:
        kinds = session.scalars(sa.select(InboxItem.kind).order_by(InboxItem.id)).all()
    assert kinds == (["message", "echo"] if graph.sent else ["message"])
    shop.store.close()
