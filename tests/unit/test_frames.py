"""Frames of a shard as pixels: one read of its tar, scaled decoding, and what is broken."""

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from lodestream.errors import Malformed, Missing
from lodestream.inference.frames import Pictures, Size, resized
from tests.support.frames import job, jpeg, noise, parts, plain, put_shard

RED, GREEN, BLUE = (220, 20, 30), (20, 200, 30), (10, 20, 210)


def smooth(width: int, height: int) -> np.ndarray:
    """A picture without detail, that no scaling changes much."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack([255 * across / width, 255 * down / height, 128 + 0 * across], -1).astype(np.uint8)


def sum_of(frame: Image.Image) -> int:
    return int(np.asarray(frame).sum())


async def test_frames_come_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(plain(colour)) for colour in (RED, GREEN, BLUE)])
    async with Pictures(job(on), shard) as pictures:
        pixels, broken = await pictures.at([2, 0], 32, 24)
    assert (pixels.shape, pixels.dtype, broken) == ((2, 32, 24, 3), np.uint8, [])
    assert np.abs(pixels.mean((1, 2)) - [BLUE, RED]).max() < 4


async def test_a_large_frame_is_decoded_scaled_and_looks_the_same(tmp_path: Path) -> None:
    on, wide = parts(tmp_path), smooth(1280, 720)
    shard = await put_shard(on.objects, [jpeg(wide)], width=1280, height=720)
    async with Pictures(job(on), shard) as pictures:
        assert await pictures.each([0], lambda frame: (frame.mode, frame.size)) == [("RGBX", (480, 270))]
        small, _ = await pictures.at([0], 224, 224)
        large, _ = await pictures.at([0], 400, 600, "bicubic")
    whole = Image.fromarray(simplejpeg.decode_jpeg(jpeg(wide)))
    assert np.abs(small[0] - resized(whole, Size(224, 224)).astype(int)).mean() < 1.5
    assert np.abs(large[0] - resized(whole, Size(400, 600, "bicubic")).astype(int)).mean() < 1.5


async def test_the_tar_is_read_once_and_not_at_all_where_nothing_is_asked(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(noise(n)) for n in range(20)])
    async with Pictures(job(on), shard) as pictures:
        assert (await pictures.at([], 8, 8))[0].shape == (0, 8, 8, 3)
        assert on.objects.read["frames"] == 0
        await pictures.at(range(20), 8, 8)
        await pictures.each(range(20), sum_of)
    assert on.objects.read["frames"] == 1


async def test_what_was_seen_once_is_kept_at_the_size_that_comes_next(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(noise(n, 640, 360)) for n in range(3)], width=640, height=360)
    async with Pictures(job(on), shard) as plainly, Pictures(job(on), shard, Size(32, 32)) as keeping:
        await keeping.each([0, 1], sum_of)
        Path(tmp_path / "objects" / shard.object_key).write_bytes(bytes(shard.bytes))
        kept, broken = await keeping.at([0, 1, 2], 32, 32)
        assert broken == [2], "0 and 1 were seen before"
        await put_shard(on.objects, [jpeg(noise(n, 640, 360)) for n in range(3)], width=640, height=360)
        assert (kept[:2] == (await plainly.at([0, 1], 32, 32))[0]).all()


@pytest.mark.parametrize("damage", ["cut", "empty", "no JPEG", "another size", "scrambled"])
async def test_a_broken_jpeg_breaks_that_frame_only(damage: str, tmp_path: Path) -> None:
    whole = jpeg(noise(1))
    scrambled = whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :]
    bad = {"cut": whole[:-200], "empty": b"", "no JPEG": b"\0" * 900, "another size": jpeg(noise(1, 4000, 4000))}
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [whole, bad.get(damage, scrambled[:-2]), whole])
    async with Pictures(job(on), shard) as pictures:
        pixels, broken = await pictures.at([0, 1, 2], 16, 16)
        assert [number is None for number in await pictures.each([0, 1, 2], sum_of)] == [False, True, False]
    assert broken == [1]
    assert not pixels[1].any()
    assert pixels[0].any()
    assert (pixels[0] == pixels[2]).all()


async def test_a_tar_that_is_gone_or_another_is_missing(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(noise(1))])
    await on.objects.put(shard.object_key, bytes(shard.bytes))
    for _ in range(2):
        async with Pictures(job(on), shard) as pictures:
            with pytest.raises(Missing, match=shard.object_key):
                await pictures.at([0], 8, 8)
        await on.objects.delete(shard.object_key)


async def test_a_shard_whose_lists_do_not_agree_is_malformed(tmp_path: Path) -> None:
    on = parts(tmp_path)
    shard = await put_shard(on.objects, [jpeg(noise(1))])
    shard.offset.append(7)
    with pytest.raises(Malformed, match="one offset and length each"):
        Pictures(job(on), shard)
    shard.offset, shard.length, shard.time_ms = [0] * 257, [0] * 257, [0] * 257
    with pytest.raises(Malformed, match="256 frames at most"):
        Pictures(job(on), shard)
