"""Every setting, read once from the environment and `.env` into one frozen object.

`.env.example` says what each is for.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values

from bot.domain.errors import SettingError
from bot.domain.hours import Hours
from bot.domain.texts import is_text

ROOT = Path(__file__).resolve().parent.parent
SQLITE = "sqlite:///"
KEY_FILE = "secret_key"  # in the data folder
SHORTEST_KEY = 32  # characters


@dataclass(frozen=True)
class Messenger:
    """Facebook Pages and Instagram accounts of one app at Meta. Empty strings: not connected."""

    verify_token: str = field(repr=False)
    app_secret: str = field(repr=False)
    page_token: str = field(repr=False)  # of every account that has none of its own
    app_id: str
    graph_url: str
    tokens: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # account and its own token

    def token(self, account: str) -> str:
        """What an account is sent to with; empty if nothing is."""
        return dict(self.tokens).get(account) or self.page_token


@dataclass(frozen=True)
class Settings:
    """Times are timedeltas; `data` is the folder that holds what the shop may not lose."""

    port: int
    host: str
    proxies: tuple[str, ...]  # whose word is taken for where a request came from: addresses, networks
    data: Path
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    log_level: str
    log_format: str
    metrics_token: str = field(repr=False)
    secret_key: str = field(repr=False)
    chat_identity_secret: str = field(repr=False)
    chat_origins: tuple[str, ...]
    secure_cookies: bool
    shop_name: str
    opening_hours: Hours
    time_zone: ZoneInfo
    burst: timedelta
    greeting_wait: timedelta
    idle: timedelta
    brain_patience: timedelta
    brain_start: timedelta
    new_topic_closes: bool
    workers: int
    lease: timedelta
    rasa_urls: tuple[str, ...]
    rasa_host: str
    rasa_port: int
    actions_port: int
    demo: bool
    voice_guide: Path | None
    messenger: Messenger


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this machine.

    `environ` stands in for the environment and `.env` (tests). Creates the data folder and, on the
    first start, `secret_key` in it. Raises SettingError with one line that names the setting.
    """
    values = _environment() if environ is None else dict(environ)
    read = _Reader(values)
    data = Path(read.text("DATA_DIR", str(ROOT / "var"))).expanduser().resolve()
    rasa_port = read.number("RASA_PORT", 5005, 1, 65535)
    zone = read.text("TIME_ZONE", "UTC")
    try:
        time_zone = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingError(
            f"TIME_ZONE: there is no time zone {zone!r}; write one like 'Europe/Berlin'."
        ) from None
    _writable(data)
    settings = Settings(
        port=read.number("PORT", 8000, 1, 65535),
        host=read.text("HOST", "127.0.0.1"),
        proxies=read.networks("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
        data=data,
        database_url=_database_url(read.text("DATABASE_URL", f"{SQLITE}{data / 'reply_twice.db'}")),
        redis_url=_redis_url(read.text("REDIS_URL", "")),
        log_level=read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=read.choice("LOG_FORMAT", "TEXT", ("TEXT", "JSON")).lower(),
        metrics_token=read.text("METRICS_TOKEN", ""),
        secret_key=_long_enough(read.text("SECRET_KEY", "")) or _secret_key(data),
        chat_identity_secret=read.text("CHAT_IDENTITY_SECRET", ""),
        chat_origins=tuple(
            o.strip().rstrip("/") for o in read.text("CHAT_ORIGINS", "").split(",") if o.strip()
        ),
        secure_cookies=read.flag("SECURE_COOKIES", False),
        shop_name=read.text("SHOP_NAME", "Linden & Loom"),
        opening_hours=Hours.parse(read.text("OPENING_HOURS", "Mon-Fri 09:00-18:00, Sat 10:00-14:00")),
        time_zone=time_zone,
        burst=read.seconds("BURST_SECONDS", 1.5, 0, 60),
        greeting_wait=read.seconds("GREETING_SECONDS", 15, 0, 600),
        idle=timedelta(hours=read.decimal("IDLE_HOURS", 24, 0.0001, 24 * 365)),
        brain_patience=read.seconds("BRAIN_SECONDS", 20, 0.1, 3600),
        brain_start=read.seconds("BRAIN_START_SECONDS", 600, 0, 3600),
        new_topic_closes=read.flag("NEW_TOPIC_CLOSES", False),
        workers=read.number("WORKERS", 4, 1, 64),
        lease=read.seconds("LEASE_SECONDS", 60, 1, 3600),
        rasa_urls=read.urls("RASA_URL", f"http://127.0.0.1:{rasa_port}"),
        rasa_host=read.text("RASA_HOST", "127.0.0.1"),
        rasa_port=rasa_port,
        actions_port=read.number("ACTIONS_PORT", 5055, 1, 65535),
        demo=read.flag("DEMO", True),
        voice_guide=_readable(read.text("VOICE_GUIDE", str(ROOT / "voice.md"))),
        messenger=Messenger(
            verify_token=read.text("MESSENGER_VERIFY_TOKEN", ""),
            app_secret=read.text("MESSENGER_APP_SECRET", ""),
            page_token=read.text("MESSENGER_PAGE_TOKEN", ""),
            app_id=read.text("MESSENGER_APP_ID", ""),
            graph_url=read.url("MESSENGER_GRAPH_URL", "https://graph.facebook.com/v26.0"),
            tokens=(
                *read.tokens("MESSENGER_PAGES", ""),
                *read.tokens("INSTAGRAM_ACCOUNTS", "instagram:"),
            ),
        ),
    )
    if settings.lease <= settings.brain_patience:
        raise SettingError("LEASE_SECONDS must be more than BRAIN_SECONDS, or a slow answer loses its lease.")
    return settings


def opens_at(settings: Settings, now: datetime) -> str | None:
    """When people are back, as an ISO local time; None while they are there."""
    opens = settings.opening_hours.opens_at(now.astimezone(settings.time_zone))
    return opens.isoformat(timespec="minutes") if opens else None


def _environment() -> dict[str, str]:
    found = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value is not None}
    return found | dict(os.environ)


def _database_url(url: str) -> str:
    """Plain `postgresql://` and `postgres://` get the driver that we ship."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    if not url.startswith((SQLITE, "postgresql+psycopg://")):
        raise SettingError("DATABASE_URL: use sqlite:///path or postgresql://user@host/name.")
    return url


def _redis_url(url: str) -> str:
    if url and not url.startswith(("redis://", "rediss://")):
        raise SettingError("REDIS_URL: use redis://host:6379/0, or rediss:// for TLS.")
    return url


def _readable(file: str) -> Path | None:
    """A text file, else None if the default isn't there."""
    path = Path(file).expanduser()
    try:
        path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path == ROOT / "voice.md":
            return None
        raise SettingError(f"VOICE_GUIDE: there is no file {path}.") from None
    except (OSError, UnicodeDecodeError):
        raise SettingError(f"VOICE_GUIDE: can't read {path}; it must be a text file in UTF-8.") from None
    return path


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(f"DATA_DIR: can't write to {folder} ({error.strerror}).") from None


def _secret_key(folder: Path) -> str:
    """The key that signs sessions, made once. Two processes starting at once agree on one."""
    path = folder / KEY_FILE
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    except FileExistsError:
        pass
    key = path.read_text().strip()
    if len(key) < SHORTEST_KEY:
        raise SettingError(f"{path} is damaged; delete it to make a new one (open chats start anew).")
    return key


def _long_enough(key: str) -> str:
    if key and len(key) < SHORTEST_KEY:
        raise SettingError(f"SECRET_KEY must have at least {SHORTEST_KEY} characters.")
    return key


def _address(name: str, value: str, example: str) -> str:
    value = value.rstrip("/")
    try:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
    except ValueError:
        raise SettingError(f"{name} must be an address like {example}, not {value!r}.") from None
    return value


class _Reader:
    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str) -> str:
        value = self._values.get(name, "").strip() or default
        if not is_text(value):
            raise SettingError(f"{name} has a character that is no text; write it in UTF-8.")
        return value

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default).upper()
        if value not in allowed:
            raise SettingError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        return value

    def url(self, name: str, default: str) -> str:
        return _address(name, self.text(name, default), default)

    def urls(self, name: str, default: str) -> tuple[str, ...]:
        """Addresses, comma-separated; the same one twice counts once."""
        found = filter(None, map(str.strip, self.text(name, default).split(",")))
        return tuple(dict.fromkeys(_address(name, value, default) for value in found)) or (default,)

    def networks(self, name: str, default: str) -> tuple[str, ...]:
        """Addresses and networks, comma-separated. No `*`: whoever calls could say any address then."""
        found = tuple(filter(None, map(str.strip, self.text(name, default).split(","))))
        for value in found:
            try:
                ip_network(value)
            except ValueError:
                raise SettingError(
                    f"{name} must be addresses or networks like 10.0.0.2 or 10.0.0.0/24, not {value!r}."
                ) from None
        return found

    def tokens(self, name: str, prefix: str) -> list[tuple[str, str]]:
        """Pairs of "id:token", comma-separated; an account's name is its id after `prefix`."""
        found: dict[str, str] = {}
        for number, part in enumerate(filter(None, map(str.strip, self.text(name, "").split(","))), start=1):
            account, _, token = (side.strip() for side in part.partition(":"))
            if not account.isdigit() or not token or account in found:
                raise SettingError(f"{name}: entry {number} isn't a new id, a colon and its token.")
            found[account] = token
        return [(prefix + account, token) for account, token in found.items()]

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise SettingError(f"{name} must be true or false, not {value!r}.")
        return value in ("1", "true", "yes", "on")

    def decimal(self, name: str, default: float, low: float, high: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
            if not low <= number <= high:
                raise ValueError
        except ValueError:
            raise SettingError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}.") from None
        return number

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.decimal(name, default, low, high)
        if value != int(value):
            raise SettingError(f"{name} must be a whole number, not {value:g}.")
        return int(value)

    def seconds(self, name: str, default: float, low: float, high: float) -> timedelta:
        return timedelta(seconds=self.decimal(name, default, low, high))
