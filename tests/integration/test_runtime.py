"""Settings that supervisors change while the product runs."""

from datetime import timedelta

import pytest

from bot import runtime
from bot.domain.errors import BadInput
from bot.runtime import Care, Runtime
from bot.store.care import RunSetting
from tests.support import Shop


def change(shop: Shop, name: str, value: str | None) -> None:
    with shop.store.unit_of_work() as session:
        runtime.change(session, name, value)


def test_what_one_process_changes_another_reads(shop: Shop):
    other = Runtime(shop.store, shop.settings)
    change(shop, "idle_hours", "2")
    change(shop, "routing", "team")
    assert (other.settings.idle, other.care.routing) == (timedelta(hours=24), "off")
    other.reload()
    assert (other.settings.idle, other.care.routing) == (timedelta(hours=2), "team")
    change(shop, "idle_hours", None)
    other.reload()
    assert other.settings.idle == timedelta(hours=24)


def test_a_stored_setting_of_another_version_is_passed_over(shop: Shop):
    with shop.store.unit_of_work() as session:
        session.add(RunSetting(name="routing", value="by moonlight"))
        session.add(RunSetting(name="no_such_setting", value="x"))
    found = Runtime(shop.store, shop.settings)
    found.reload()
    assert (found.care, found.settings.shop_name) == (Care(), shop.settings.shop_name)


def test_a_changed_time_is_kept_to(shop: Shop):
    change(shop, "idle_hours", "1")
    shop.services.runtime.reload()
    shop.hears("return_policy")
    shop.now += timedelta(minutes=61)
    from bot import inbox

    assert inbox.close_idle(shop.store, shop.now, shop.services.settings.idle) == 1


@pytest.mark.parametrize("name", ["secret_key", "database_url", "__class__", ""])
def test_secrets_and_addresses_are_out_of_reach(shop: Shop, name: str):
    with pytest.raises(BadInput):
        change(shop, name, "x")
