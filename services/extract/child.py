"""One video, in a child that may be killed: read it, choose, decode, write shards. See `lodestream.children`."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from av.error import FFmpegError

from proto import ids
from services.extract.decode import decode
from services.extract.jpeg import JpegEncoder
from services.extract.packets import Look
from services.extract.sampler import Sampler
from services.extract.scan import Scan, scan
from services.extract.scene import SceneChange
from services.extract.source import Unusable
from services.extract.tar import ShardFile

SHARD_FRAMES = 256
BEAT_S = 0.25
Emit = Callable[..., None]


class Task(msgspec.Struct, frozen=True):
    """What is asked of the child."""

    path: str
    media_id: str
    url: str
    source: str
    sampler: Sampler
    quality: int
    max_side: int | None
    max_frames: int


def run(job: dict[str, Any], folder: str, emit: Emit) -> None:
    """Emits `shard` for each finished tar in `folder`, at the end `damage`; or `unusable`: reason and detail."""
    try:
        emit({"damage": extract(msgspec.convert(job, Task), Path(folder), emit)})
    except Unusable as error:
        emit({"unusable": [error.reason, error.detail]})
    except FFmpegError as error:
        emit({"unusable": ["undecodable", str(error)]})


def extract(task: Task, folder: Path, emit: Emit) -> str:
    """Writes the shards; what of the video was lost, in words, or nothing. Raises Unusable where there is no frame."""
    path, beat = Path(task.path), Beat(emit)
    found = scan(path, beat)
    wanted = _wanted(task, found)
    missing, shards = set(wanted), Shards(task, found, folder, emit)
    beat.total = len(wanted)
    for sparse in (True, False):  # if what the codec says of itself was not true, nothing is spared
        for index, frame in _picked(task, decode(path, found, missing.copy(), beat, sparse)):
            missing.discard(index)
            beat.done += 1
            if frame is not None:
                shards.add(index, frame)
        if not missing or task.sampler.scene is not None:
            break
    shards.close()
    lost = f"{len(missing)} of {len(wanted)} frames could not be decoded" if missing else ""
    damage = "; ".join(filter(None, (found.loss, lost)))
    if not shards.frames:
        raise Unusable("undecodable", damage)
    return damage


def _wanted(task: Task, found: Scan) -> list[int]:
    """The packets whose pictures are to be decoded, in the order of showing."""
    shown = found.shown()
    if not shown:
        raise Unusable("undecodable", "no picture that decoding could begin at")
    times = [found.seconds(index) for index in shown]
    ends = times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)
    keys = [bool(found.looks[index] & Look.KEY) for index in shown]
    chosen = task.sampler.choose(times, keys, ends, float(found.tick))
    if not chosen:
        raise Unusable("empty", f"no frame between start and end; the video has {times[0]:g} to {ends:g} s")
    if task.sampler.scene is None:
        _check_count(task, len(chosen))
    return [shown[position] for position in chosen]


def _picked(task: Task, pictures: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The pictures themselves, or, of all pictures, None in place of those that no scene begins with."""
    if task.sampler.scene is None:
        yield from pictures
        return
    change, kept = SceneChange(), 0
    for index, frame in pictures:
        begins = change.score(frame) > task.sampler.scene
        kept += begins
        _check_count(task, kept)
        yield index, frame if begins else None


def _check_count(task: Task, count: int) -> None:
    if count > task.max_frames:
        raise Unusable("too many frames", f"{count} are asked for, and max_frames is {task.max_frames}")


class Shards:
    """Sorts frames into tars of one size and at most 256 frames."""

    def __init__(self, task: Task, found: Scan, folder: Path, emit: Emit):
        self.task, self.found, self.folder, self.emit = task, found, folder, emit
        self.jpeg = JpegEncoder(task.quality, found.aspect, task.max_side)
        self.open: ShardFile | None = None
        self.index = self.frames = 0

    def add(self, index: int, frame: Any) -> None:
        """One picture; `index` is its packet's."""
        data, width, height = self.jpeg.encode(frame)
        shard = self.open
        if shard is None or (shard.width, shard.height) != (width, height) or len(shard.length) >= SHARD_FRAMES:
            shard = self._next(width, height)
        time_ms = round(self.found.seconds(index) * 1000)
        frame_id = ids.frame_id(self.task.media_id, time_ms)
        about = {
            "frame_id": frame_id,
            "media_id": self.task.media_id,
            "time_ms": time_ms,
            "source": self.task.source,
            "url": self.task.url,
            "shard": ids.shard_id(self.task.media_id, self.index),
            "width": width,
            "height": height,
        }
        shard.add(frame_id, data, about)
        self.frames += 1

    def close(self) -> None:
        """Hands over the last shard."""
        if self.open:
            self.emit({"shard": {"index": self.index, **self.open.close()}})
            self.open, self.index = None, self.index + 1

    def _next(self, width: int, height: int) -> ShardFile:
        self.close()
        self.open = ShardFile(self.folder / f"{self.index}.tar", width, height)
        return self.open


class Beat:
    """Says now and then that the child is alive, and how far."""

    def __init__(self, emit: Emit):
        self.emit, self.last = emit, time.monotonic()
        self.done = self.total = 0

    def __call__(self) -> None:
        """To be called for every packet."""
        if (now := time.monotonic()) - self.last > BEAT_S:
            self.last = now
            self.emit({"progress": {"frames": self.done, "total": self.total}}, lossy=True)
