"""Live pages: each gets what it may see, in order, and a slow one holds nobody up and misses nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from random import Random
from typing import Any

import pytest

from bot import live
from bot.live import Happened, Hub
from bot.store.news import News, Work
from tests.support import Shop


@pytest.fixture(params=["ours", "another process's"], autouse=True)
def whose(request: pytest.FixtureRequest, shop: Shop) -> str:
    """Whose commits there are to tell of: ours are handed over, those of others are looked for."""
    shop.whose = request.param
    return str(request.param)


@contextlib.asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[Hub]:
    hub = Hub(shop.store)
    if shop.whose == "ours":
        shop.store.on_events(hub.hand)
    else:
        shop.store.on_news(lambda told: hub.wake() if News(Work.LIVE) in told else None)
    task = asyncio.create_task(hub.run())
    yield hub
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def take(events: AsyncIterator[Happened], count: int) -> list[Happened]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def one_by_one(batches: AsyncGenerator[list[Happened]]) -> AsyncGenerator[Happened]:
    async with contextlib.aclosing(batches):
        async for batch in batches:
            for happened in batch:
                yield happened


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_page_gets_its_own_stream_and_a_desk_gets_all(shop: Shop):
    async def test() -> None:
        async with running(shop) as hub:
            mina, desk = one_by_one(hub.follow(0, "web/mina")), one_by_one(hub.follow(0))
            await asyncio.to_thread(shop.writes, "hello", "mina")
            first = await take(mina, 1), await take(desk, 1)
            await asyncio.to_thread(shop.writes, "hello", "jonas")
            await asyncio.to_thread(shop.writes, "again", "mina")
            assert [h.stream for h in first[0] + await take(mina, 1)] == ["web/mina"] * 2
            assert [h.stream for h in await take(desk, 2)] == ["web/jonas", "web/mina"]
            await mina.aclose()
            await desk.aclose()
            assert not hub._followers

    run(test)


@pytest.mark.parametrize("seed", range(4))
def test_in_whatever_order_commits_are_told_of_a_page_gets_each_event_once_in_order(shop: Shop, seed: int):
    async def test() -> None:
        told: list[Any] = []
        hub = Hub(shop.store)
        shop.store.on_events(told.append)
        task = asyncio.create_task(hub.run())
        mina = one_by_one(hub.follow(0, "web/mina"))
        shop.writes("0")
        first = await take(mina, 1)
        for number in range(1, 9):
            shop.writes(str(number))
        Random(seed).shuffle(told)
        for happened in told:
            hub.hand(happened)
            if seed % 2:
                await asyncio.sleep(0)
        texts = [h.payload["text"] for h in first + await take(mina, 8)]
        assert texts == [str(number) for number in range(9)]
        shop.writes("9")
        hub.hand(told[-1])
        assert [h.payload["text"] for h in await take(mina, 1)] == ["9"]
        await mina.aclose()
        await asyncio.sleep(0.2)  # a look may be under way
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_a_page_that_reads_slowly_misses_nothing_and_keeps_little(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "BACKLOG", 3)

    async def test() -> None:
        async with running(shop) as hub:
            slow, quick = (one_by_one(hub.follow(0, "web/mina")) for _ in range(2))
            await asyncio.to_thread(shop.writes, "0")
            await take(slow, 1)
            await take(quick, 1)
            for number in range(1, 11):
                await asyncio.to_thread(shop.writes, str(number))
                (event,) = await take(quick, 1)
                assert event.payload["text"] == str(number)
            (followers,) = hub._followers.values()
            assert max(len(f._waiting) for f in followers) == 3
            assert [h.payload["text"] for h in await take(slow, 10)] == [str(n) for n in range(1, 11)]
            await asyncio.to_thread(shop.writes, "11")
            assert [h.payload["text"] for h in await take(slow, 1)] == ["11"]

    run(test)


def test_a_page_that_fell_behind_twice_is_told_to_look_before_anything_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "BACKLOG", 2)

    async def test() -> None:
        page, told = live.Follower(), []
        for number in (1, 2, 3):
            page.take(Happened(number, "web/mina", 1, live.Kind.MESSAGE, "{}"))
        told.append(await page.next())
        page.take(Happened(4, "web/mina", 1, live.Kind.MESSAGE, "{}"))
        told.append(await page.next())
        assert [one and [each.id for each in one] for one in told] == [[1, 2], None], "4 would pass 3 over"

    run(test)


def looks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each look of a hub."""
    found: list[int] = []
    really = live.since
    monkeypatch.setattr(live, "since", lambda *given: (found.append(1), really(*given))[1])
    return found


def test_nobody_looks_while_nobody_follows_and_who_comes_then_is_told_everything(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    async def test() -> None:
        looked = looks(shop, monkeypatch)
        async with running(shop) as hub:
            for _ in range(3):
                await asyncio.to_thread(shop.writes, "before", "jonas")
                await asyncio.sleep(0.05)
            assert not looked
            pages = [one_by_one(hub.follow(0, "web/mina")) for _ in range(5)]
            firsts = [asyncio.create_task(take(page, 2)) for page in pages]
            for number in range(2):
                await asyncio.to_thread(shop.writes, str(number), "mina")
            for first in firsts:
                assert [h.payload["text"] for h in await first] == ["0", "1"]
            for page in pages:
                await page.aclose()
            assert not hub._followers

    run(test)


def test_what_happens_at_once_is_told_at_once(shop: Shop):
    async def test() -> None:
        async with running(shop) as hub:
            mina = hub.follow(0, "web/mina")
            for number in range(3):
                await asyncio.to_thread(shop.writes, str(number))
            assert [h.payload["text"] for h in await anext(mina)] == ["0", "1", "2"]
            await mina.aclose()

    run(test)


def test_a_quiet_page_is_told_so_and_every_page_ends_with_the_server(shop: Shop):
    async def test() -> None:
        async with running(shop) as hub, asyncio.timeout(20):
            quiet, waits = hub.follow(0, "web/mina", quiet=0.01), hub.follow(0)
            assert await anext(quiet) == []
            end = asyncio.create_task(anext(waits, "ended"))
            await asyncio.sleep(0.05)
            hub.close()
            assert await end == "ended"
            assert await anext(quiet, "ended") == "ended"
            assert await anext(hub.follow(0), "ended") == "ended", "who comes too late isn't kept, either"

    run(test)


def test_what_another_process_committed_is_told_once_somebody_has_seen_it(shop: Shop):
    async def test() -> None:
        hub = Hub(shop.store)  # nobody tells it of commits
        task = asyncio.create_task(hub.run())
        mina = one_by_one(hub.follow(0, "web/mina"))
        await asyncio.to_thread(shop.writes, "0")
        await take(mina, 1)
        await asyncio.to_thread(shop.writes, "1")
        hub.seen(shop.events()[-1].id)
        assert [h.payload["text"] for h in await take(mina, 1)] == ["1"]
        await mina.aclose()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(test)
