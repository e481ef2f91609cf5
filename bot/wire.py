"""Wake-ups between bot processes, through Redis: what a commit in one leaves to do, the others hear at once.

Redis carries no work and holds nothing: the tables say what there is to do, and every process looks there
by itself several times a second. While Redis is away, that look is all there is.
"""

import asyncio
import json
import secrets
from contextlib import suppress
from datetime import datetime

import redis.asyncio as aioredis
import structlog
from redis.exceptions import RedisError

from bot.bell import call_on
from bot.domain.errors import SettingError
from bot.store.news import Listener, News, Work

CHANNEL = "reply-twice:news"
AGAIN_SECONDS = 1.0  # before a lost Redis is tried again
PATIENCE_SECONDS = 2.0  # for one of its answers
CROWD = 1_000  # wake-ups that may wait to be told; more say nothing new
log = structlog.get_logger()


class Wire:
    """Tells other processes what this one's commits leave to do, and this one what theirs do."""

    def __init__(self, url: str, hear: Listener) -> None:
        """`hear` is called for the others' news. Raises SettingError for what is no address."""
        self._hear, self._us = hear, secrets.token_hex(8)
        self._waiting: asyncio.Queue[News] = asyncio.Queue(CROWD)
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._redis = aioredis.Redis.from_url(
                url, socket_connect_timeout=PATIENCE_SECONDS, socket_keepalive=True, health_check_interval=10
            )
        except ValueError as error:
            raise SettingError(f"REDIS_URL: use redis://host:6379/0 ({error}).") from None

    def tell(self, told: frozenset[News]) -> None:
        """To be called after a commit. Safe from any thread; never waits."""
        call_on(self._loop, self._put, told)

    def _put(self, told: frozenset[News]) -> None:
        with suppress(asyncio.QueueFull):
            for news in told:
                if news.guest is None:
                    self._waiting.put_nowait(news)

    async def run(self) -> None:
        """Runs until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.gather(self._keep("listen"), self._keep("speak"))
        finally:
            with suppress(RedisError, OSError):
                await self._redis.aclose()

    async def _keep(self, what: str) -> None:
        while True:
            try:
                await (self._listen() if what == "listen" else self._speak())
            except (RedisError, OSError) as error:
                log.warning("redis.away", what=what, error=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _speak(self) -> None:
        while True:
            told = {await self._waiting.get()}
            while not self._waiting.empty():
                told.add(self._waiting.get_nowait())
            body = [[news.work.value, news.at.isoformat() if news.at else None] for news in told]
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._redis.publish(CHANNEL, json.dumps({"from": self._us, "news": body}))

    async def _listen(self) -> None:
        async with self._redis.pubsub() as heard:
            await heard.subscribe(CHANNEL)
            self._hear(frozenset(News(work) for work in Work))  # what was missed until now
            async for message in heard.listen():
                if message["type"] == "message":
                    self._hear(_read(message["data"], self._us))


def _read(data: bytes, us: str) -> frozenset[News]:
    """Another's news; nothing for our own and for what isn't ours to read."""
    try:
        body = json.loads(data)
        if body["from"] == us:
            return frozenset()
        return frozenset(
            News(Work(work), datetime.fromisoformat(at) if at else None) for work, at in body["news"]
        )
    except (ValueError, KeyError, TypeError):
        log.warning("redis.nonsense")
        return frozenset()
