import re
import stat
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from bot.domain.errors import SettingError
from bot.settings import ROOT, load


def test_a_fresh_machine_needs_no_setting_but_a_folder(tmp_path: Path):
    settings = load({"DATA_DIR": str(tmp_path / "new" / "folder")})
    assert settings.database_url.startswith("sqlite:///")
    assert settings.burst.total_seconds() == 1.5
    assert settings.greeting_wait.total_seconds() == 15
    assert settings.idle.total_seconds() == 24 * 3600
    assert settings.brain_patience.total_seconds() == 20
    assert settings.new_topic_closes is False


def test_the_signing_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path):
    first = load({"DATA_DIR": str(tmp_path)})
    assert load({"DATA_DIR": str(tmp_path)}).secret_key == first.secret_key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert first.secret_key not in repr(first)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("PORT", "8000.5"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://localhost/shop"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("OPENING_HOURS", "whenever"),
        ("BURST_SECONDS", "-1"),
        ("BURST_SECONDS", "nan"),
        ("NEW_TOPIC_CLOSES", "perhaps"),
        ("LEASE_SECONDS", "5"),
        ("RASA_URL", "http://[::1"),
        ("RASA_URL", "foo"),
        ("MESSENGER_GRAPH_URL", "ftp://graph.invalid"),
        ("SECRET_KEY", "short"),
        ("SHOP_NAME", "Loom\0"),
        ("SHOP_NAME", "Loom \udcff"),  # as Python reads bytes of the environment that aren't UTF-8
        ("FORWARDED_ALLOW_IPS", "*"),
        ("FORWARDED_ALLOW_IPS", "127.0.0.1,proxy"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path: Path, name: str, value: str):
    with pytest.raises(SettingError, match=name) as caught:
        load({"DATA_DIR": str(tmp_path), name: value})
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="DATA_DIR"):
        load({"DATA_DIR": str(tmp_path / "file" / "below")})


def test_a_plain_postgresql_address_gets_our_driver(tmp_path: Path):
    for address in ("postgresql://u@h/shop", "postgres://u@h/shop"):
        settings = load({"DATA_DIR": str(tmp_path), "DATABASE_URL": address})
        assert settings.database_url == "postgresql+psycopg://u@h/shop"


def test_the_containers_trust_their_proxy_and_nobody_else():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    proxy, bot = compose["services"]["proxy"], compose["services"]["bot1"]
    addresses = [network["ipv4_address"] for network in proxy["networks"].values()]
    assert [bot["environment"]["FORWARDED_ALLOW_IPS"]] == addresses
    given_to_others = ip_network(compose["networks"]["outside"]["ipam"]["config"][0]["ip_range"])
    assert ip_address(addresses[0]) not in given_to_others


def test_every_setting_is_documented():
    source = (ROOT / "bot" / "settings.py").read_text()
    documented = (ROOT / ".env.example").read_text()
    names = set(re.findall(r'read\.\w+\(\s*"([A-Z_]+)"', source))
    assert len(names) > 20
    assert not {name for name in names if f"{name}=" not in documented}
