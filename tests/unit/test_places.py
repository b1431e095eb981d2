"""Jobs that share a place in their worker: who waits for another job must not keep the place that this one needs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

from lodestream.inference.features import _held
from lodestream.inference.prompts import Prompts

SOON = 0.05


class Leases:
    """Every lease is somebody else's for a moment."""

    @asynccontextmanager
    async def hold(
        self, kind: str, name: str, parked: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    ) -> AsyncIterator[None]:
        """See NatsLeases."""
        async with parked():
            await asyncio.sleep(SOON)
        yield


class Place:
    """The only place of a worker."""

    def __init__(self) -> None:
        self.free = asyncio.Lock()
        self.parts = SimpleNamespace(leases=Leases())

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        """See Job."""
        self.free.release()
        try:
            yield
        finally:
            await self.free.acquire()


async def test_who_asks_for_the_same_texts_waits_for_nobody_for_ever() -> None:
    place, prompts = Place(), Prompts(None)  # type: ignore[arg-type]
    model: Any = SimpleNamespace(text="text-1")

    async def unknown(job: Any, model: Any, texts: list[str]) -> list[str]:
        return [text for text in texts if (model.text, text) not in prompts._known]

    async def learn(job: Any, model: Any, texts: list[str]) -> None:
        prompts._known |= {(model.text, text): np.ones(2) for text in texts}

    prompts._read, prompts._learn = unknown, learn  # type: ignore[method-assign,assignment]

    async def one() -> np.ndarray:
        async with place.free:
            return await prompts.vectors(place, model, ["a ball"])  # type: ignore[arg-type]

    made = await asyncio.wait_for(asyncio.gather(*(one() for _ in range(3))), 20)
    assert [rows.shape for rows in made] == [(1, 2)] * 3


async def test_who_waits_for_the_same_frames_gives_its_place_away() -> None:
    place, turn, order = Place(), asyncio.Lock(), list[int]()

    async def one(number: int) -> None:
        async with place.free, _held(turn, place), place.parts.leases.hold("", "", place.parked):  # type: ignore[arg-type]
            order.append(number)

    await asyncio.wait_for(asyncio.gather(*map(one, range(4))), 20)
    assert sorted(order) == [0, 1, 2, 3]
    assert not turn.locked()


async def test_who_is_cancelled_while_it_wants_its_place_back_lets_go() -> None:
    place, turn = Place(), asyncio.Lock()
    await turn.acquire()
    await place.free.acquire()

    async def one() -> None:
        async with _held(turn, place):  # type: ignore[arg-type]
            raise AssertionError

    waits = asyncio.create_task(one())
    await asyncio.sleep(SOON)
    await place.free.acquire()
    turn.release()
    await asyncio.sleep(SOON)
    assert turn.locked()
    waits.cancel()
    place.free.release()
    await asyncio.wait([waits])
    assert not turn.locked()
