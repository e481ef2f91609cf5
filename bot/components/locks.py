"""Rasa's locks in Redis, shared by several Rasa processes, and in memory while Redis is away.

A turn's tries never share a lock (their ids differ), and the database has the last word on what a try
may say: a lost Redis must not cost a customer their answer.
"""

from __future__ import annotations

import logging
from typing import Any

import redis
from rasa.core.lock import TicketLock
from rasa.core.lock_store import InMemoryLockStore, RedisLockStore

KEPT_SECONDS = 120  # a lock whose Rasa was killed is gone by then
PATIENCE_SECONDS = 0.5
logger = logging.getLogger(__name__)


class SharedLocks(RedisLockStore):
    """Registered by `bot.processes` when REDIS_URL is set."""

    def __init__(self, endpoint_config: Any) -> None:
        self.red = redis.StrictRedis.from_url(
            endpoint_config.url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
        )
        self.key_prefix = "reply-twice:lock:"
        self._here = InMemoryLockStore()

    def get_lock(self, conversation_id: str) -> TicketLock | None:
        """As Rasa's."""
        try:
            return super().get_lock(conversation_id) or self._here.get_lock(conversation_id)
        except redis.RedisError as error:
            return self._alone(error, self._here.get_lock(conversation_id))

    def save_lock(self, lock: TicketLock) -> None:
        """As Rasa's."""
        self._here.save_lock(lock)
        try:
            self.red.set(self.key_prefix + lock.conversation_id, lock.dumps(), ex=KEPT_SECONDS)
        except redis.RedisError as error:
            self._alone(error, None)

    def delete_lock(self, conversation_id: str) -> None:
        """As Rasa's."""
        self._here.delete_lock(conversation_id)
        try:
            self.red.delete(self.key_prefix + conversation_id)
        except redis.RedisError as error:
            self._alone(error, None)

    @staticmethod
    def _alone(error: Exception, answer: TicketLock | None) -> TicketLock | None:
        logger.warning(f"Redis is away ({type(error).__name__}); this process keeps its own locks.")
        return answer
