"""A start goes once through the path of a message, and nothing of it stays."""

import pytest
import sqlalchemy as sa

from bot import rehearsal
from bot.domain.errors import StoreDown
from bot.store.engine import Store
from bot.store.tables import Table
from tests.support import Shop


def rows_of(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as session:
        return {
            table.name: sorted(map(tuple, session.execute(sa.select(table))), key=str)
            for table in Table.metadata.sorted_tables
        }


def test_nothing_of_it_stays(shop: Shop):
    shop.hears("return_policy")
    shop.writes("invoice")  # due, and nobody's yet
    shop.now += shop.settings.burst
    before, told = rows_of(shop.store), []
    shop.store.on_news(told.append)
    rehearsal.rehearse(shop.services)
    assert rows_of(shop.store) == before
    assert told == []
    shop.work()
    assert shop.replies() == ["answer return_policy", "answer invoice"]


def test_it_goes_all_the_way(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    sent = []
    monkeypatch.setattr(rehearsal, "write_down", lambda *args: sent.append(args))
    rehearsal.rehearse(shop.services)
    assert len(sent) == 2  # in what is durable, and in what isn't


def test_one_that_fails_is_no_reason_not_to_start(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def down(*_: object) -> None:
        raise StoreDown("full")

    monkeypatch.setattr(rehearsal.inbox, "take_in", down)
    rehearsal.rehearse(shop.services)
    assert shop.hears("return_policy") == "answer return_policy"
