"""What the parts of the bot process share, made in one place: `bot.app.build`."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from bot.brain import Brain, Vector
from bot.filing import Times
from bot.guests import Guests
from bot.inbox import Intake
from bot.live import Hub
from bot.runtime import Care, Runtime
from bot.settings import Settings
from bot.store.engine import Store

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, aware and in UTC. Tests wire another clock in."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """One of each. `base` is what the environment says; `settings` what holds now."""

    base: Settings
    store: Store
    brain: Brain
    hub: Hub
    clock: Clock = utc_now
    runtime: Runtime = field(init=False)
    # What texts mean, as the brain said it, the newest used last: `bot.desk.assistant` fills and limits it.
    vectors: OrderedDict[str, Vector] = field(init=False, default_factory=OrderedDict)

    guests: Guests = field(init=False, default_factory=Guests)

    def __post_init__(self) -> None:
        object.__setattr__(self, "runtime", Runtime(self.store, self.base))
        self.store.on_news(self.guests.hear)

    @property
    def settings(self) -> Settings:
        """The settings in force; supervisors may change some while the product runs."""
        return self.runtime.settings

    @property
    def care(self) -> Care:
        """How the team works, in force."""
        return self.runtime.care

    @cached_property
    def intake(self) -> Intake:
        """The one entrance for what channels deliver."""
        return Intake(self.store, self._times)

    def _times(self) -> Times:
        return Times(self.clock(), self.settings.burst, self.settings.idle)
