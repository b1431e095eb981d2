"""Calls of a store in threads: each has its own outcome, short ones share a thread, and none waits for a slow one."""

import asyncio
import threading
import time

import pytest

from lodestream.errors import Outage
from lodestream.objects.threads import Threads


def threads(count: int = 8) -> Threads:
    return Threads((OSError,), lambda error: Outage(f"away: {error}"), count)


def fail(error: Exception) -> None:
    raise error


async def test_each_short_call_has_its_own_outcome() -> None:
    pool = threads()
    calls = [pool.run_short(divmod, n, 7) for n in range(1000)]
    assert await asyncio.gather(*calls) == [divmod(n, 7) for n in range(1000)]


async def test_faults_of_the_store_are_outages_and_others_stay_what_they_are() -> None:
    pool = threads()
    for run in (pool.run, pool.run_short):
        with pytest.raises(Outage, match="away: gone"):
            await run(fail, OSError("gone"))
        with pytest.raises(KeyError):
            await run(fail, KeyError("a"))
        assert await run(int, "1") == 1


async def test_short_calls_that_come_together_share_a_thread() -> None:
    pool = threads()
    await pool.run_short(time.sleep, 0)
    used = set(await asyncio.gather(*(pool.run_short(threading.get_ident) for _ in range(50))))
    assert len(used) == 1


async def test_a_call_that_turns_out_slow_holds_up_nobody() -> None:
    pool, over = threads(), threading.Event()
    slow = asyncio.create_task(pool.run_short(over.wait, 30))
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await asyncio.gather(*(pool.run_short(int, str(n)) for n in range(100))) == list(range(100))
        assert not slow.done()
    finally:
        over.set()
    assert await slow


async def test_who_was_cancelled_does_not_disturb_the_rest() -> None:
    pool, over = threads(), threading.Event()
    first = asyncio.create_task(pool.run_short(over.wait, 30))
    rest = [asyncio.create_task(pool.run_short(int, str(n))) for n in range(10)]
    await asyncio.sleep(0)
    rest[3].cancel()
    over.set()
    assert await asyncio.gather(first, *(task for n, task in enumerate(rest) if n != 3))
    assert rest[3].cancelled()


async def test_calls_are_taken_up_again_after_a_rest() -> None:
    pool = threads(2)
    for turn in range(50):
        assert await pool.run_short(int, str(turn)) == turn
        await asyncio.sleep(0.002 * (turn % 5))
