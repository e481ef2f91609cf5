"""Customers who have just written and wait for an answer: to be shown that it is being made."""

import threading
from dataclasses import replace
from datetime import datetime

from bot.store.news import PATIENT, Guest, News

MOST = 200


class Guests:
    """The first is greeted first; of too many the first are left. Safe from any thread."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], Guest] = {}
        self._lock = threading.Lock()

    def hear(self, told: frozenset[News]) -> None:
        """Takes in whom a commit tells of."""
        with self._lock:
            for guest in (news.guest for news in told if news.guest):
                place = (guest.account, guest.thread)
                before = self._waiting.pop(place, None)
                is_nameless = guest.is_nameless or (before is not None and before.is_nameless)
                self._waiting[place] = replace(guest, is_nameless=is_nameless)
            while len(self._waiting) > MOST:
                del self._waiting[next(iter(self._waiting))]

    def answered(self, account: str, thread: str) -> None:
        """The answer goes now: there is nothing to show any more."""
        with self._lock:
            guest = self._waiting.pop((account, thread), None)
            if guest and guest.is_nameless:
                self._waiting[account, thread] = replace(guest, is_answered=True)

    def next(self, now: datetime) -> Guest | None:
        """The first who has waited for a moment, and waits no longer then."""
        with self._lock:
            for place, guest in self._waiting.items():
                if now - guest.wrote_at >= PATIENT:
                    return self._waiting.pop(place)
        return None
