"""A shard's frames as pixels: its tar is read once, and JPEGs are decoded in threads, scaled as they are decoded."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import NamedTuple, TypeVar

import numpy as np
import simplejpeg
from PIL import Image

from lodestream.blobs import given
from lodestream.errors import Malformed
from lodestream.job import Job
from proto.messages import Shard

SIDE = 256
"""Pixels that each side of a decoded frame has at least, where the frame has them: less is decoded of a larger one."""
MOST = 256
"""Frames of a shard."""
AT_ONCE = 8
"""Frames that a thread decodes in one go."""
RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

Picture = Image.Image
Result = TypeVar("Result")
_threads = ThreadPoolExecutor(os.cpu_count() or 1, "frames")  # decoding and resizing free the GIL


class Size(NamedTuple):
    """What a model wants to see: pixels, and how they are resampled (`bilinear`, `bicubic`)."""

    height: int
    width: int
    resample: str = "bilinear"


class Pictures:
    """The frames of one shard; a context manager. The tar is opened, and compared, when the first frame is wanted."""

    def __init__(self, job: Job, shard: Shard, keep: Size | None = None):
        """`keep` is a size that is going to be asked for: frames that `each` decodes are kept in memory at that size.

        Raises Malformed where the shard's lists do not agree.
        """
        counts = {len(shard.time_ms), len(shard.offset), len(shard.length)}
        if len(counts) > 1 or len(shard.time_ms) > MOST:
            raise Malformed("malformed message", f"a shard of {MOST} frames at most, with one offset and length each")
        self._objects, self._shard, self._stack = job.objects, shard, AsyncExitStack()
        self._opening, self._file = asyncio.Lock(), -1
        self._keep = keep if keep and max(keep.height, keep.width) <= SIDE else None
        self._kept: dict[int, np.ndarray] = {}

    async def __aenter__(self) -> "Pictures":
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._kept.clear()
        await self._stack.aclose()

    async def each(self, indices: Sequence[int], look: Callable[[Picture], Result]) -> list[Result | None]:
        """What `look` makes, in a thread, of each frame (RGBX: a fourth byte says nothing); None for a broken JPEG.

        A large frame comes scaled down, by a factor that JPEG has, to `SIDE` pixels or more. Raises Missing.
        """
        return await self._each(indices, SIDE, SIDE, lambda index, frame: self._looked(index, frame, look))

    async def at(
        self, indices: Sequence[int], height: int, width: int, resample: str = "bilinear"
    ) -> tuple[np.ndarray, list[int]]:
        """Pixels (n, height, width, 3), uint8, of the frames at these indices, and those of them that are broken.

        A broken one's pixels are 0. Raises Missing.
        """
        size = Size(height, width, resample)
        pixels = np.zeros((len(indices), height, width, 3), np.uint8)
        there = {index: self._kept.pop(index) for index in indices if size == self._keep and index in self._kept}
        todo = [index for index in indices if index not in there]
        made = await self._each(todo, max(height, SIDE), max(width, SIDE), lambda _, frame: resized(frame, size))
        there |= {index: picture for index, picture in zip(todo, made, strict=True) if picture is not None}
        for row, index in enumerate(indices):
            if index in there:
                pixels[row] = there[index]
        return pixels, [index for index in indices if index not in there]

    def _looked(self, index: int, frame: Picture, look: Callable[[Picture], Result]) -> Result:
        if self._keep:
            self._kept[index] = resized(frame, self._keep)
        return look(frame)

    async def _each(
        self, indices: Sequence[int], height: int, width: int, look: Callable[[int, Picture], Result]
    ) -> list[Result | None]:
        if not indices:
            return []
        await self._open()

        def some(part: Sequence[int]) -> list[Result | None]:
            frames = ((index, self._decoded(index, height, width)) for index in part)
            return [None if frame is None else look(index, frame) for index, frame in frames]

        parts = [indices[start : start + AT_ONCE] for start in range(0, len(indices), AT_ONCE)]
        loop = asyncio.get_running_loop()
        done = await asyncio.gather(*(loop.run_in_executor(_threads, some, part) for part in parts))
        return [result for part in done for result in part]

    async def _open(self) -> None:
        """Raises Missing where the tar is not what the shard says."""
        async with self._opening:
            if self._file < 0:
                shard = self._shard
                path = await self._stack.enter_async_context(
                    given(self._objects, shard.object_key, shard.bytes, shard.sha256)
                )
                self._file = os.open(path, os.O_RDONLY)
                self._stack.callback(os.close, self._file)

    def _decoded(self, index: int, height: int, width: int) -> Picture | None:
        """One frame, with at least so many pixels; None where it is no whole JPEG of the shard's size."""
        shard = self._shard
        if shard.offset[index] + shard.length[index] > shard.bytes:
            return None
        jpeg = os.pread(self._file, shard.length[index], shard.offset[index])
        try:
            if simplejpeg.decode_jpeg_header(jpeg)[:2] != (shard.height, shard.width):
                return None
            # scaling by less than a half costs more than it saves; Pillow takes four bytes a pixel as they are
            pixels = simplejpeg.decode_jpeg(jpeg, "RGBX", min_height=height, min_width=width, min_factor=2)
        except ValueError:
            return None
        return Image.frombuffer("RGBX", (pixels.shape[1], pixels.shape[0]), pixels, "raw", "RGBX", 0, 1)


def resized(frame: Picture, size: Size) -> np.ndarray:
    """Pixels (height, width, RGB) of a picture stretched to a size, as the makers of models do: whatever its shape."""
    return np.asarray(frame.resize((size.width, size.height), RESAMPLE[size.resample]).convert("RGB"))
