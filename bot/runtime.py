"""Settings that supervisors change at the desk while the product runs.

They are rows of the table `setting` and win over the environment's. Each process reads them anew every
few seconds (`Runtime.reload`, a job of `bot.app`) and at once where one was changed. Everything else
(addresses, secrets, the time zone, how many workers) is the environment's alone: whoever runs the server
decides it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bot.domain.errors import BadInput, SettingError
from bot.domain.hours import Hours
from bot.domain.texts import is_text
from bot.settings import Settings
from bot.store.care import Holiday, RunSetting
from bot.store.engine import Store

ROUTING = ("off", "round_robin", "team")
log = structlog.get_logger()
_WEB = re.compile(r"https?://[^\s\"<>]{3,300}")


@dataclass(frozen=True)
class Care:
    """How the team works. These have no place in the environment: the desk alone sets them."""

    routing: str = "off"  # a small team picks by hand
    capacity: int = 6  # conversations that one agent is given at once
    return_minutes: int = 30  # how long an agent may be gone before their chats go to a colleague
    escalate_percent: int = 75  # of the time promised for a first answer, after which a chat is raised
    rating: bool = True
    privacy_url: str = ""  # Meta wants one with its rating template; without it Messenger isn't asked


def _text(value: str) -> str:
    if not 0 < len(value.strip()) <= 80:
        raise BadInput("Write 1 to 80 characters.")
    return value.strip()


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise BadInput("Write a number.") from None
        if not low <= number <= high:
            raise BadInput("The number is too small or too large.")
        return number

    return read


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.strip().isascii() or not value.strip().isdigit():
            raise BadInput("Write a number.")
        return int(_number(low, high)(value))

    return read


def _flag(value: str) -> bool:
    if value not in ("yes", "no"):
        raise BadInput("Choose yes or no.")
    return value == "yes"


def _routing(value: str) -> str:
    if value not in ROUTING:
        raise BadInput("Choose one of the ways.")
    return value


def _address(value: str) -> str:
    if value.strip() and not _WEB.fullmatch(value.strip()):
        raise BadInput("Write an address that begins with https://.")
    return value.strip()


def _hours(value: str) -> Hours:
    try:
        return Hours.parse(value)
    except SettingError:
        raise BadInput(
            "Write the hours like 'Mon-Fri 09:00-18:00, Sat 10:00-24:00'; beyond midnight as two."
        ) from None


@dataclass(frozen=True)
class Spec:
    """How a setting is read, and which field it is: of `Settings`, or of `Care`."""

    field: str
    read: Callable[[str], Any]


SPECS: dict[str, Spec] = {
    "shop_name": Spec("shop_name", _text),
    "opening_hours": Spec("opening_hours", _hours),
    "idle_hours": Spec("idle", lambda value: timedelta(hours=_number(0.01, 8760)(value))),
    "new_topic_closes": Spec("new_topic_closes", _flag),
    "routing": Spec("routing", _routing),
    "capacity": Spec("capacity", _whole(1, 200)),
    "return_minutes": Spec("return_minutes", _whole(0, 1440)),
    "escalate_percent": Spec("escalate_percent", _whole(10, 100)),
    "rating": Spec("rating", _flag),
    "privacy_url": Spec("privacy_url", _address),
}
_CARE = {field.name for field in fields(Care)}


class Runtime:
    """The settings in force. Reading them costs nothing; `reload` asks the database."""

    def __init__(self, store: Store, base: Settings) -> None:
        self._store, self._base = store, base
        self.settings, self.care = base, Care()

    def reload(self) -> None:
        """Takes over what is stored. Raises StoreDown; then everything stays as it was."""
        with self._store.read() as session:
            kept = stored(session)
            holidays = frozenset(session.scalars(sa.select(Holiday.day)))
        values = {}
        for name, value in kept.items():
            try:
                values[SPECS[name].field] = SPECS[name].read(value)
            except BadInput as error:  # of an older version: the environment's holds
                log.warning("setting.unreadable", name=name, error=str(error))
        settings = replace(self._base, **{k: v for k, v in values.items() if k not in _CARE})
        hours = replace(settings.opening_hours, holidays=holidays)
        self.care = Care(**{k: v for k, v in values.items() if k in _CARE})
        self.settings = replace(settings, opening_hours=hours)


def stored(session: Session) -> dict[str, str]:
    """What supervisors have set, as they wrote it."""
    found = session.execute(sa.select(RunSetting.name, RunSetting.value)).all()
    return {name: value for name, value in found if name in SPECS}


def change(session: Session, name: str, value: str | None) -> str | None:
    """Sets one (None: the environment's again); returns what it was. Raises BadInput, also for a name
    that isn't one of these."""
    if name not in SPECS:
        raise BadInput("There is no such setting.")
    if value is not None and not is_text(value):
        raise BadInput("It has a character that is no text.")
    found = session.get(RunSetting, name)
    before = found.value if found else None
    if value is None:
        if found:
            session.delete(found)
        return before
    SPECS[name].read(value)
    if found:
        found.value = value.strip()
    else:
        session.add(RunSetting(name=name, value=value.strip()))
    return before
