"""Features of frames: computed once for everybody, kept, found again, and made again where they were damaged."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lodestream.errors import Malformed, Outage
from lodestream.forget.tombs import Forgotten, Tombstone
from lodestream.inference import EMBED
from lodestream.inference.features import MEASURES, Feature, Features, normalised
from lodestream.inference.frames import Pictures
from lodestream.inference.measures import NAMES, measure
from lodestream.job import Parts
from proto import keys
from proto.messages import Shard
from tests.support.frames import Alone, job, jpeg, noise, parts, plain, put_shard


class Means:
    """A feature of three numbers that remembers which frames it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.feature = Feature("means", 3, np.float32, self.compute)

    async def compute(self, pictures: Pictures, indices: Sequence[int], triton: object) -> np.ndarray:
        self.asked.append(list(indices))
        pixels, broken = await pictures.at(indices, 8, 8)
        rows = pixels.mean((1, 2)).astype(np.float32)
        rows[np.isin(indices, broken)] = -np.inf
        return rows


def stored(on: Parts, prefix: str) -> list[str]:
    return sorted(key for key in on.objects.put_keys if key.startswith(prefix))  # type: ignore[attr-defined]


async def shard_of(on: Parts, count: int = 6, **more: str) -> Shard:
    return await put_shard(on.objects, [jpeg(plain((40 * n, 0, 0))) for n in range(count)], **more)  # type: ignore[arg-type]


async def test_a_second_flow_and_a_second_worker_compute_nothing(tmp_path: Path) -> None:
    on, means = parts(tmp_path), Means()
    shard, features = await shard_of(on), Features()
    first = await features.rows(job(on), shard, means.feature, range(6))
    for again in (features, Features()):
        assert (await again.rows(job(on, recipe="abcdef01"), shard, means.feature, [3]) == first).all()
    assert (means.asked, on.objects.read["frames"]) == ([[0, 1, 2, 3, 4, 5]], 1)
    assert np.abs(first[:, 0] - 40 * np.arange(6)).max() < 3


async def test_only_what_is_asked_is_computed_and_later_asks_add_to_it(tmp_path: Path) -> None:
    on, means, features = parts(tmp_path), Means(), Features()
    shard = await shard_of(on)
    rows = await features.rows(job(on), shard, means.feature, [4, 1])
    assert np.isnan(rows).all(1).tolist() == [True, False, True, True, False, True]
    rows = await features.rows(job(on), shard, means.feature, [1, 2])
    assert np.isnan(rows).all(1).tolist() == [True, False, False, True, False, True]
    assert means.asked == [[4, 1], [2]]
    assert len(stored(on, keys.VECTORS)) == 2
    assert len([stat async for stat in on.objects.list(keys.VECTORS)]) == 1, "what was replaced is removed"


async def test_a_broken_jpeg_is_nan_for_good_and_no_number_is_asked_again(tmp_path: Path) -> None:
    on, means, features = parts(tmp_path), Means(), Features()
    shard = await put_shard(on.objects, [jpeg(noise(1)), b"broken", jpeg(noise(2))])
    for _ in range(2):
        rows = await features.rows(job(on), shard, means.feature, [0, 1, 2])
        assert np.isnan(rows).all(1).tolist() == [False, True, False]
    assert means.asked == [[0, 1, 2]]
    silent = Means()

    async def nothing(pictures: Pictures, indices: Sequence[int], triton: object) -> np.ndarray:
        await silent.compute(pictures, indices, triton)
        return np.full((len(indices), 3), np.nan, np.float32)

    for _ in range(2):
        rows = await features.rows(job(on), shard, Feature("silent", 3, np.float32, nothing), [0])
    assert silent.asked == [[0], [0]], "a model may have another answer next time"


async def test_jobs_that_want_the_same_at_once_compute_it_once(tmp_path: Path) -> None:
    on, means, features = parts(tmp_path), Means(), Features()
    shard = await shard_of(on)
    all_of = await asyncio.gather(*(features.rows(job(on), shard, means.feature, range(6)) for _ in range(5)))
    assert len(means.asked) == 1
    assert all((rows == all_of[0]).all() for rows in all_of)


async def test_workers_take_turns_by_a_lease(tmp_path: Path) -> None:
    """The other worker has the lease first, and is done when it is free."""
    on, means = parts(tmp_path), Means()
    shard = await shard_of(on)

    class Late(Alone):
        def hold(self, kind: str, name: str, parked: object = None):  # type: ignore[no-untyped-def, override]
            return after_the_other(super().hold(kind, name))

    class after_the_other:
        def __init__(self, held: object) -> None:
            self.held = held

        async def __aenter__(self) -> object:
            await Features().rows(job(parts(tmp_path)), shard, means.feature, range(6))
            return await self.held.__aenter__()  # type: ignore[attr-defined]

        async def __aexit__(self, *failure: object) -> None:
            await self.held.__aexit__(*failure)  # type: ignore[attr-defined]

    rows = await Features().rows(job(parts(tmp_path, leases=Late())), shard, means.feature, range(6))
    assert len(means.asked) == 1
    assert not np.isnan(rows).any()


@pytest.mark.parametrize("damage", ["gone", "cut", "other", "no manifest", "manifest cut"])
async def test_what_a_hand_damaged_is_made_again(damage: str, tmp_path: Path) -> None:
    on, means, features = parts(tmp_path), Means(), Features()
    shard = await shard_of(on)
    first = await features.rows(job(on), shard, means.feature, range(6))
    [key], [manifest] = stored(on, keys.VECTORS), stored(on, keys.memos(EMBED))
    data = await on.objects.get(key)
    match damage:
        case "gone":
            await on.objects.delete(key)
        case "no manifest":
            await on.objects.delete(manifest)
        case "manifest cut":
            await on.objects.put(manifest, (await on.objects.get(manifest))[:-9])
        case _:
            await on.objects.put(key, data[:-5] if damage == "cut" else data[:-5] + b"other")
    assert (await features.rows(job(on), shard, means.feature, range(6)) == first).all()
    assert (await features.rows(job(on), shard, means.feature, range(6)) == first).all()
    assert len(means.asked) == 2


async def test_a_kill_between_object_and_manifest_costs_one_redo(tmp_path: Path) -> None:
    on, means = parts(tmp_path), Means()
    shard = await shard_of(on)

    class Killed(Exception):
        pass

    class Dying(type(on.objects)):  # type: ignore[misc]
        async def put(self, key: str, data: bytes) -> str:
            if key.startswith("memo/"):
                raise Killed
            return await super().put(key, data)

    with pytest.raises(Killed):
        await Features().rows(job(parts(tmp_path, Dying(on.objects))), shard, means.feature, [0, 1])
    assert len([stat async for stat in on.objects.list(keys.VECTORS)]) == 1
    await Features().rows(job(on), shard, means.feature, [2])
    assert means.asked == [[0, 1], [2]]
    assert len([stat async for stat in on.objects.list(keys.VECTORS)]) == 1, "what nobody names is gone"


async def test_two_tars_of_one_shard_id_are_two_things(tmp_path: Path) -> None:
    on, means, features = parts(tmp_path), Means(), Features()
    other = await put_shard(on.objects, [jpeg(noise(n)) for n in range(6)], recipe="other")
    rows = [await features.rows(job(on), shard, means.feature, range(6)) for shard in (await shard_of(on), other)]
    assert (rows[0] != rows[1]).any()
    assert len(stored(on, keys.VECTORS)) == 2


async def test_forgetting_finds_every_key_and_nothing_is_kept_of_what_is_forgotten(tmp_path: Path) -> None:
    from lodestream.forget.lineage import Lineage

    on, means, features = parts(tmp_path), Means(), Features()
    stone = Tombstone(kind="video", ident="web-1", at="2026-01-01T00:00:00+00:00")
    await features.rows(job(on), await shard_of(on), means.feature, [0])
    kept = [stat.key for root in keys.ABOUT_VIDEOS async for stat in on.objects.list(root)]
    assert len(kept) == 3
    assert all(Lineage(stone).about_key(key) for key in kept)
    later = Parts(on.objects, on.leases, on.work, on.log, Forgotten(stone))
    before = len(on.objects.put_keys)  # type: ignore[attr-defined]
    await features.rows(job(later), await shard_of(on, recipe="y"), means.feature, [1])
    assert len(on.objects.put_keys) == before + 1, "the shard of this test"  # type: ignore[attr-defined]


async def test_measures_are_a_feature_that_needs_no_model(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(noise(1)), b"", jpeg(plain((9, 9, 9)))])
    rows = await Features().rows(job(on), shard, MEASURES, range(3))
    assert (rows.shape, rows.dtype) == ((3, len(NAMES)), np.float32)
    assert np.isnan(rows[1]).all()
    async with Pictures(job(on), shard) as pictures:
        [found] = await pictures.each([0], measure)
    assert rows[0] == pytest.approx(found)


async def test_a_frame_that_is_not_there_is_malformed(tmp_path: Path) -> None:
    on = parts(tmp_path)
    for index in (6, -1):
        with pytest.raises(Malformed, match="of a shard of 6"):
            await Features().rows(job(on), await shard_of(on), MEASURES, [0, index])


async def test_an_outage_goes_through_as_it_is_and_nothing_is_kept(tmp_path: Path) -> None:
    on = parts(tmp_path)

    async def away(pictures: Pictures, indices: Sequence[int], triton: object) -> np.ndarray:
        raise Outage("triton: away")

    with pytest.raises(Outage, match="triton: away"):
        await Features().rows(job(on), await shard_of(on), Feature("away", 3, np.float32, away), [0])
    assert stored(on, keys.VECTORS) == []


def test_rows_have_length_one_and_what_has_no_direction_is_nan() -> None:
    given = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [6e30, 8e30]], np.float32)
    rows = normalised(given)
    assert rows.dtype == np.float16
    assert np.isnan(rows).all(1).tolist() == [False, True, True, True, False]
    assert rows[[0, 4]] == pytest.approx(np.array([[0.6, 0.8]] * 2), abs=1e-3)
