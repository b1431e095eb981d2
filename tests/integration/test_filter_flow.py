"""Filters in flows that mine: workers as processes, real Triton, what they share, damage, forgetting and kill -9."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.demo.shapes import Film, Scene, Thing
from lodestream.forget.plan import plan
from lodestream.forget.work import forget
from lodestream.inference import EMBED
from lodestream.models import standins
from lodestream.process import MODELS, TRITON
from proto import keys
from proto.messages import Kept, Rejected
from tests.integration.test_repair import audit, repair
from tests.support.mining import Mining, mining
from tests.support.triton import TritonServer

pytestmark = pytest.mark.timeout(300)
MODEL = "standin-siglip2"
RED, BLUE = "a red ball", "a blue square"
SCENES = {
    RED: Scene("grey", (Thing("red", "ball"),), seconds=2),
    BLUE: Scene("grey", (Thing("blue", "square"),), seconds=2),
}
FILMS = {"/both.mp4": (RED, BLUE), "/red.mp4": (RED, RED), "/blue.mp4": (BLUE, BLUE)}
PATHS = list(FILMS)


@pytest.fixture
async def at(triton: TritonServer, tmp_path: Path) -> AsyncIterator[Mining]:
    """An instance with a filter worker; four frames come of each film, the first two of its first scene."""
    if not (triton.models / f"{MODEL}-image").exists():
        standins.install(MODEL, triton.models)
    async with mining(tmp_path, f"file://{tmp_path}/objects") as made:
        made.files |= {
            path: Film.of(path[1:-4], *map(SCENES.__getitem__, names), fps=10).encode() for path, names in FILMS.items()
        }
        made.start("filter", **places(triton))
        yield made


def places(triton: TritonServer) -> dict[str, str]:
    """What a worker is told of Triton."""
    return {TRITON: triton.address, MODELS: str(triton.models)}


def good(prompt: str) -> str:
    return f"  good: {{type: filter, from: frames, model: {MODEL}, keep: [{prompt}]}}\n"


async def kept(at: Mining, flow: str) -> dict[str, list[int]]:
    """Which frames of each video are kept, by what it shows."""
    made = {each.media_id: each.kept for each in await at.outputs(flow, Kept)}  # type: ignore[attr-defined]
    names = {each.url.rpartition("/")[2]: made[each.id] for each in await at.media(flow) if each.id in made}
    return dict(sorted(names.items()))


ALL_RED = {"blue.mp4": [], "both.mp4": [0, 1], "red.mp4": [0, 1, 2, 3]}


async def test_another_prompt_computes_nothing_anew_and_what_is_damaged_or_forgotten_is_seen_to(at: Mining) -> None:
    await at.deploy("one", more=good(RED))
    await at.mine("one", *PATHS)
    assert await kept(at, "one") == ALL_RED
    said = [each for each in await at.outputs("one", Rejected) if each.reason == "empty after filter"]  # type: ignore[attr-defined]
    assert [each.detail for each in said] == ["4 no prompt over 0.5"]  # type: ignore[attr-defined]
    known = [key for key in await at.keys(keys.VECTORS) if "/texts/" not in key]
    assert len(known) == 2 * len(FILMS), "measures and vectors of each"

    await at.deploy("two", more=good(BLUE))
    await at.mine("two", *PATHS)
    assert await kept(at, "two") == {"blue.mp4": [0, 1, 2, 3], "both.mp4": [2, 3], "red.mp4": []}
    assert [key for key in await at.keys(keys.VECTORS) if "/texts/" not in key] == known
    assert await audit(at, deep=True) == []

    for key, how in zip(known, ["deleted", "truncated", "swapped at the same size"], strict=False):
        await at.damage(key, how)
    assert sorted(found.key for found in await audit(at)) == sorted(known[:3])
    assert all(done.healed for done in await repair(at))
    assert await audit(at, deep=True) == []
    await at.deploy("three", more=good(f"{RED}, {BLUE}"))
    await at.mine("three", *PATHS)
    assert await kept(at, "three") == {name: [0, 1, 2, 3] for name in ALL_RED}
    assert [key for key in await at.keys(keys.VECTORS) if "/texts/" not in key] == known, "made again, the same"

    [video] = [each.id for each in await at.media("one") if each.url.endswith("red.mp4")]
    assert any(video in key for key in await at.keys(keys.VECTORS))
    await forget(at.bus, at.objects, await plan(at.bus, at.objects, video))
    assert [key for root in (keys.VECTORS, keys.memos(EMBED)) for key in await at.keys(root) if video in key] == []
    assert await at.letters() == []


async def test_kill_9_at_any_time_changes_nothing(at: Mining, triton: TritonServer) -> None:
    await at.deploy("one", more=good(RED))
    mined = asyncio.create_task(at.mine("one", *PATHS))
    worker = at.workers[-1]
    for pause in random.Random(6).sample(range(2, 15), 3):
        await asyncio.sleep(pause / 10)
        worker.kill()
        worker.wait()
        worker = at.start_one("filter", **places(triton))
    await mined
    assert await kept(at, "one") == ALL_RED
    assert await at.letters() == []
    assert await audit(at, deep=True) == []
