"""How long after a customer's last message they may be answered, by channel.

Meta's rule for Messenger and Instagram: 24 hours for anyone; then, for 7 days from that message, a
person, with the tag HUMAN_AGENT. The web chat takes answers at any time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from bot.domain.words import Author, Channel

FOR_ALL, FOR_PEOPLE = timedelta(hours=24), timedelta(days=7)


class Phase(str, Enum):
    """Who may answer now."""

    OPEN = "open"  # anyone
    PEOPLE = "people"  # a person, until the window closes
    CLOSED = "closed"  # nobody, until the customer writes again


@dataclass(frozen=True)
class Window:
    """A channel's reply window now. `until` is when this phase ends; None: it doesn't."""

    phase: Phase
    until: datetime | None = None

    def admits(self, author: Author) -> bool:
        """Whether the channel would take a message of this author."""
        return self.phase is Phase.OPEN or (self.phase is Phase.PEOPLE and author is Author.AGENT)


def window(channel: Channel, wrote_at: datetime | None, now: datetime) -> Window:
    """The reply window; `wrote_at` is when the customer wrote last, None if that isn't known."""
    if channel is Channel.WEB:
        return Window(Phase.OPEN)
    if wrote_at is None:
        return Window(Phase.OPEN)  # Meta knows
    if now < wrote_at + FOR_ALL:
        return Window(Phase.OPEN, wrote_at + FOR_ALL)
    if now < wrote_at + FOR_PEOPLE:
        return Window(Phase.PEOPLE, wrote_at + FOR_PEOPLE)
    return Window(Phase.CLOSED)
