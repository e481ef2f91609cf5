"""What the parts of the bot process share, made in one place: `bot.app.build`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from bot.brain import Brain
from bot.inbox import Intake
from bot.live import Hub
from bot.settings import Settings
from bot.store.engine import Store

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, aware and in UTC. Tests wire another clock in."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """One of each."""

    settings: Settings
    store: Store
    brain: Brain
    hub: Hub
    clock: Clock = utc_now

    @cached_property
    def intake(self) -> Intake:
        """The one entrance for what channels deliver."""
        return Intake(self.store, self.settings.burst, self.settings.idle, self.clock)
