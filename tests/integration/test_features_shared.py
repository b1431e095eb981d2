"""Features among workers: with the rights that they have, what two want at once one of them computes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from lodestream.bus import connect
from lodestream.inference.features import MEASURES, Feature, Features
from lodestream.inference.frames import Pictures
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.rights import accounts, users
from lodestream.streams import ensure_streams
from tests.support.frames import job, jpeg, noise, parts, put_shard
from tests.support.node_types import TYPES
from tests.support.servers import start_nats

WORKERS = 3


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Parts]]:
    """The parts of some filter workers on one store and one server."""
    passwords = {name: f"the-password-of-{name}" for name in users(TYPES)}
    with start_nats(tmp_path, accounts(TYPES, passwords)) as server:
        async with AsyncExitStack() as stack:
            made = []
            for user in ("operator", *["filter"] * WORKERS):
                bus = await connect(server.url, user, passwords[user], patience=20)
                stack.push_async_callback(bus.close)
                if user == "operator":
                    await ensure_streams(bus.nc)
                else:
                    leases = NatsLeases(bus)
                    stack.push_async_callback(leases.close)
                    made.append(parts(tmp_path, leases=leases))
            yield made


async def test_one_of_them_computes(workers: list[Parts]) -> None:
    asked: list[Sequence[int]] = []

    async def slowly(pictures: Pictures, indices: Sequence[int], triton: object) -> np.ndarray:
        asked.append(indices)
        await asyncio.sleep(0.3)
        pixels, _ = await pictures.at(indices, 8, 8)
        return pixels.mean((1, 2)).astype(np.float32)

    shard = await put_shard(workers[0].objects, [jpeg(noise(n)) for n in range(5)])
    feature = Feature("means", 3, np.float32, slowly)
    all_of = await asyncio.gather(
        *(Features().rows(job(on), shard, feature, some) for on, some in zip(workers, ([0, 1], [1], [0]), strict=True))
    )
    assert sorted(index for some in asked for index in some) == [0, 1], "each frame once"
    assert all((~np.isnan(rows[some])).all() for rows, some in zip(all_of, ([0, 1], [1], [0]), strict=True))


async def test_one_that_dies_holds_nobody_up_for_long(workers: list[Parts]) -> None:
    shard = await put_shard(workers[0].objects, [jpeg(noise(n)) for n in range(3)])
    begun = asyncio.Event()

    async def forever(pictures: Pictures, indices: Sequence[int], triton: object) -> np.ndarray:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    stuck = Feature(MEASURES.name, MEASURES.dim, MEASURES.dtype, forever)
    hung = asyncio.create_task(Features().rows(job(workers[0]), shard, stuck, [0]))
    await begun.wait()
    waiting = asyncio.create_task(Features().rows(job(workers[1]), shard, MEASURES, [0, 1, 2]))
    done, _ = await asyncio.wait([waiting], timeout=1)
    assert not done, "somebody is at it"
    hung.cancel()
    async with asyncio.timeout(60):
        assert not np.isnan(await waiting).any()
