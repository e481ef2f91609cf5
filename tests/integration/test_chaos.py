"""Real processes under `kill -9`, counted from outside. `make chaos` runs the long one, with Rasa.

A plain brain stands in for Rasa here: loading the model anew after each kill would take longer than all
of the rest.
"""

import asyncio
from pathlib import Path

from tests.chaos import Chaos, table


def test_a_few_kills_lose_nothing_double_nothing_and_never_speak_over_a_person(
    database_url: str, tmp_path: Path
):
    chaos = Chaos(database_url, tmp_path, "plain", conversations=12, kills=3, seed=7)
    figures = asyncio.run(chaos.run())
    print(table({"short": figures}))
    assert not figures.broken, table({"short": figures})
    assert sum(figures.kills.values()) == 3
    assert figures.bot_replies
