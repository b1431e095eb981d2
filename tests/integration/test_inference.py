"""The client on a real Triton server: batches, many callers, models that are loaded when they are asked for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from lodestream.inference.client import Triton, open_triton
from tests.support.triton import BATCH, DIM, SIZE, TritonServer, add_toy, pictures, wanted


@pytest.fixture
def toy(triton: TritonServer) -> str:
    """The name of a model that adds up pictures."""
    if not (triton.models / "toy").exists():
        add_toy(triton.models)
    return "toy"


@pytest.fixture
async def client(triton: TritonServer, tmp_path: Path) -> AsyncIterator[Triton]:
    """A client of the server, which has asked nothing yet."""
    async with open_triton(triton.parts(tmp_path)) as client:
        yield client


async def test_any_number_of_rows_in_their_order(client: Triton, toy: str) -> None:
    for count in (1, BATCH, 5 * BATCH + 3):
        images = pictures(count, seed=count)
        made = await client.infer(toy, {"image": images}, ["embedding", "sums"])
        assert made["embedding"].dtype == made["sums"].dtype == np.float32
        assert np.array_equal(made["embedding"], wanted(images))
        assert np.array_equal(made["sums"], wanted(images)[:, 1:])


async def test_no_rows_give_none_of_the_right_shape(client: Triton, toy: str) -> None:
    made = await client.infer(toy, {"image": pictures(0)}, ["embedding"])
    assert (made["embedding"].shape, made["embedding"].dtype) == ((0, DIM), np.float32)


async def test_many_callers_at_once_get_each_its_own(client: Triton, toy: str) -> None:
    asked = [pictures(count, seed=count) for count in range(1, 30)]
    made = await asyncio.gather(*(client.infer(toy, {"image": images}, ["embedding"]) for images in asked))
    for images, each in zip(asked, made, strict=True):
        assert np.array_equal(each["embedding"], wanted(images))


async def test_a_view_that_is_not_contiguous(client: Triton, toy: str) -> None:
    images = pictures(6)[::2, ::-1].repeat(2, axis=3)[..., ::2]
    made = await client.infer(toy, {"image": images}, ["embedding"])
    assert images.shape == (3, SIZE, SIZE, 3)
    assert np.array_equal(made["embedding"], wanted(images))
