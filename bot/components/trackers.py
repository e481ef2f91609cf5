"""What Rasa remembers: next to nothing, since each turn brings all that a decision needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rasa.core.tracker_store import TrackerStore
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.events import ActionExecuted
from rasa.shared.core.trackers import DialogueStateTracker


class RecentTrackers(TrackerStore):
    """Keeps trackers as they are, in memory: Rasa's own store there writes each out and reads it back.

    Of more than `keep` (endpoints.yml) the one saved longest ago makes room. That only has to exceed
    the turns read at once; the rest serves debugging, and is more for the garbage collector to look through.
    """

    def __init__(self, domain: Any, event_broker: Any = None, keep: int = 100, **kwargs: Any) -> None:
        super().__init__(domain, event_broker, **kwargs)
        self._keep = keep
        self._trackers: dict[str, DialogueStateTracker] = {}

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Saves, and drops what is beyond the bound."""
        await self.stream_events(tracker)
        self._trackers.pop(tracker.sender_id, None)
        self._trackers[tracker.sender_id] = tracker
        while len(self._trackers) > self._keep:
            self._trackers.pop(next(iter(self._trackers)))

    async def retrieve(self, sender_id: str) -> DialogueStateTracker:
        """A copy: what a turn does to it counts once it is saved.

        For a sender not saved, or dropped, a new one that listens already: Rasa has no session to start.
        """
        if found := self._trackers.get(sender_id):
            return found.copy()
        tracker = self.init_tracker(sender_id)
        tracker.update(ActionExecuted(ACTION_LISTEN_NAME))
        return tracker

    async def keys(self) -> Iterable[str]:
        """The sender of each."""
        return list(self._trackers)
