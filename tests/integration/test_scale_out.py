"""Two bots and two Rasas on PostgreSQL and Redis, by settings alone; one of each is killed under load."""

import asyncio
from pathlib import Path

from tests.chaos import Chaos, table
from tests.conftest import new_database
from tests.redis_server import Redis


def test_one_of_two_bots_and_one_of_two_rasas_are_killed_and_nothing_is_lost_or_said_twice(
    postgres: str, redis: Redis, tmp_path: Path
):
    with new_database(postgres) as url:
        chaos = Chaos(
            url, tmp_path, "rasa", conversations=16, kills=2, seed=11,
            rasas=2, redis_url=redis.url, victims=("rasa 1", "bot 1"),
        )  # fmt: skip
        figures = asyncio.run(chaos.run())
    assert figures.kills == {"rasa 1": 1, "bot 1": 1}
    assert not figures.broken, table({"scaled out": figures})
    assert figures.bot_replies
    assert figures.handed_over_for_an_outage == 0  # the other Rasa took the turns


def test_redis_is_killed_too_and_wake_ups_are_merely_later(postgres: str, redis: Redis, tmp_path: Path):
    with new_database(postgres) as url:
        chaos = Chaos(
            url, tmp_path, "plain", 12, 2, 12, rasas=2, redis_url=redis.url, victims=("brain 2", "bot 2")
        )
        chaos.on_kill = redis.kill
        figures = asyncio.run(chaos.run())
    assert not figures.broken, table({"without redis": figures})
    assert figures.bot_replies
