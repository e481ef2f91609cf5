"""What Rasa remembers: next to nothing, since each turn brings all that a decision needs."""

from __future__ import annotations

from typing import Any

from rasa.core.tracker_store import InMemoryTrackerStore
from rasa.shared.core.trackers import DialogueStateTracker


class RecentTrackers(InMemoryTrackerStore):
    """Rasa's own store in memory, bounded: the tracker saved longest ago makes room for a new one.

    `keep` (endpoints.yml) only has to exceed the turns read at once; the rest serves debugging.
    """

    def __init__(self, domain: Any, event_broker: Any = None, keep: int = 1000, **kwargs: Any) -> None:
        super().__init__(domain, event_broker, **kwargs)
        self._keep = keep

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Saves, and drops what is beyond the bound."""
        self.store.pop(tracker.sender_id, None)
        await super().save(tracker)
        while len(self.store) > self._keep:
            self.store.pop(next(iter(self.store)))
