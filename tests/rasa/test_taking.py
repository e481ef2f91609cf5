import asyncio
import unittest
from typing import Any
from unittest import mock

from bot.components import taking
from bot.components.taking import AT_ONCE, Together


class WaitTogether(unittest.IsolatedAsyncioTestCase):
    """What waits at the same time is read in one go."""

    async def asyncSetUp(self) -> None:
        self.runs: list[list[str]] = []

        def read(texts: list[str], _processor: Any) -> list[dict[str, Any]]:
            self.runs.append(list(texts))
            if "poison" in texts:
                raise ValueError("can't be read")
            return [{"text": text} for text in texts]

        patch = mock.patch.object(taking, "read_texts", read)
        patch.start()
        self.addCleanup(patch.stop)

    async def test_each_gets_its_own_reading(self) -> None:
        together = Together()
        texts = [str(number) for number in range(AT_ONCE + 3)]
        read = await asyncio.gather(*(together.read(text, None) for text in texts))
        assert [one["text"] for one in read] == texts
        assert self.runs == [texts[:AT_ONCE], texts[AT_ONCE:]]

    async def test_one_that_comes_alone_is_read_alone(self) -> None:
        assert await Together().read("hello", None) == {"text": "hello"}
        assert self.runs == [["hello"]]

    async def test_one_that_cannot_be_read_costs_the_others_nothing(self) -> None:
        together = Together()
        texts = ["one", "poison", "three"]
        read = await asyncio.gather(*(together.read(t, None) for t in texts), return_exceptions=True)
        assert read[0] == {"text": "one"}
        assert isinstance(read[1], ValueError)
        assert read[2] == {"text": "three"}

    async def test_one_that_hung_up_is_not_waited_for(self) -> None:
        together = Together()
        gone = asyncio.create_task(together.read("gone", None))
        await asyncio.sleep(0)
        gone.cancel()
        assert await together.read("here", None) == {"text": "here"}
