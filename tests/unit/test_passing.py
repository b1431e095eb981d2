"""Duties that outlast every outage: said once when they wait, and once when they go on."""

import asyncio

import pytest

from lodestream import passing
from lodestream.errors import LodeError, Outage
from lodestream.passing import again_and_again, ended


async def test_an_outage_is_said_once_and_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "PAUSE", 0.0)
    said: list[str] = []
    turns = [None, LodeError("no answer"), TimeoutError(), OSError("away"), None, None, Outage("full")]
    script, over = iter(turns), asyncio.Event()

    async def turn() -> None:
        try:
            if error := next(script):
                raise error
        except StopIteration:
            over.set()
            await asyncio.sleep(60)

    duty = asyncio.create_task(again_and_again("tidying", turn, 0.0, said.append))
    await asyncio.wait_for(over.wait(), 30)
    duty.cancel()
    assert said == ["tidying waits: no answer", "tidying goes on", "tidying waits: full"]


async def test_a_failure_without_words_is_named() -> None:
    said: list[str] = []

    async def turn() -> None:
        raise TimeoutError

    duty = asyncio.create_task(again_and_again("tidying", turn, 0.0, said.append))
    await asyncio.sleep(0.01)
    duty.cancel()
    assert said == ["tidying waits: TimeoutError"]


async def test_a_mistake_of_ours_is_not_waited_out() -> None:
    async def turn() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await again_and_again("tidying", turn, 0.0, print)


async def test_a_duty_that_misses_its_end_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "PATIENCE", 0.01)
    deaf = 3

    async def duty() -> None:
        nonlocal deaf
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                deaf -= 1
                if not deaf:
                    raise

    task = asyncio.create_task(duty())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await ended(task)
    assert task.cancelled()
