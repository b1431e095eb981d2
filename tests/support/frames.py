"""Shards of frames made on the spot, and a job to work on them with."""

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import structlog

from lodestream.job import Job, Parts
from lodestream.leases import Hold, Parked
from lodestream.memo import Noted
from lodestream.node import Settings
from lodestream.objects import Objects, open_objects
from proto import ids, keys
from proto.messages import Shard


class Alone:
    """Leases of a worker that has nobody beside it."""

    held: Counter[str]

    def __init__(self) -> None:
        self.held = Counter()

    @asynccontextmanager
    async def hold(self, kind: str, name: str, parked: Parked = nullcontext) -> AsyncIterator[Hold]:
        """See Leases."""

        async def ours() -> bool:
            return True

        self.held[f"{kind} {name}"] += 1
        yield Hold(False, ours)


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """A JPEG as extract makes them."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorsubsampling="420")


def plain(colour: Sequence[int], width: int = 64, height: int = 48) -> np.ndarray:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def noise(seed: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture with something everywhere; another for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


async def put_shard(
    objects: Objects,
    jpegs: Sequence[bytes],
    *,
    media: str = "web-1",
    index: int = 0,
    recipe: str = "0badcafe",
    width: int = 64,
    height: int = 48,
) -> Shard:
    """Stores a tar of frames, one a second, and gives the message that says so."""
    file, offset, times = io.BytesIO(), [], [1000 * (256 * index + n) for n in range(len(jpegs))]
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for time, data in zip(times, jpegs, strict=True):
            member = tarfile.TarInfo(f"{ids.frame_id(media, time)}.jpg")
            member.size = len(data)
            offset.append(file.tell() + tarfile.BLOCKSIZE)
            tar.addfile(member, io.BytesIO(data))
    data, ident = file.getvalue(), ids.shard_id(media, index)
    sha256 = hashlib.sha256(data).hexdigest()
    key = keys.shard(recipe, media, ident, sha256)
    await objects.put(key, data)
    return Shard(
        id=ident,
        recipe=recipe,
        media_id=media,
        source="example.org",
        object_key=key,
        index=index,
        width=width,
        height=height,
        time_ms=times,
        offset=offset,
        length=[len(jpeg) for jpeg in jpegs],
        sampler="every 1s",
        sha256=sha256,
        bytes=len(data),
    )


class Counted:
    """An object store that counts what is read and written, by the beginning of the key."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self.read: Counter[str] = Counter()
        self.put_keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects."""
        self.read[key.partition("/")[0]] += 1
        return await self._objects.get(key, offset, length)

    def local(self, key: str) -> Any:
        """See Objects."""
        self.read[key.partition("/")[0]] += 1
        return self._objects.local(key)

    async def put(self, key: str, data: bytes) -> str:
        """See Objects."""
        self.put_keys.append(key)
        return await self._objects.put(key, data)


def parts(folder: Path, objects: Any = None, leases: Any = None) -> Parts:
    """The parts of a worker on a folder; its store counts, and its leases are free."""
    store = objects or Counted(open_objects(f"file://{folder}/objects"))
    (folder / "work").mkdir(exist_ok=True)
    return Parts(store, leases or Alone(), folder / "work", structlog.get_logger())


def job(of: Parts, settings: Any = None, state: Any = None, recipe: str = "12345678", entity: str = "web-1") -> Job:
    """A job of a node that is called `mine`."""
    given = settings or Settings()
    return Job("flow", "mine", "filter", given, recipe, entity, "", 1, Noted(of.objects), of, state)
