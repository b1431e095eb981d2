"""Turns a video into shards of chosen frames, in a child that may be killed."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from msgspec.structs import force_setattr

from lodestream.blobs import given
from lodestream.children import ChildDied, ChildFailed, Children, ChildTimeout, Limits
from lodestream.errors import Outage, Reject, Retry
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings, setting
from lodestream.units import Duration
from proto import ids, keys
from proto.messages import Media, Shard

SAMPLERS = ("every", "fps", "keyframes", "count", "scene")
STALL_S = 60.0
"""Seconds without a single packet read or decoded, after which a decoder counts as hung."""
MEMORY = 2 << 30
"""Bytes of one child: 8K pictures fit."""
SHARD_FILE = 8 << 30
TRIES = 2
"""A crash or a hang may be the machine's fault once, not twice."""


class Extract(Settings, kw_only=True, frozen=True):
    """What a node that extracts can be told: one sampler, the stretch of the video, and how frames are kept."""

    every: Annotated[Duration, setting("the first frame of each step of this length; 1s if nothing is said")] | None = (
        None
    )
    fps: Annotated[float, setting("as `every`, in frames per second", gt=0, le=1000)] | None = None
    keyframes: Annotated[bool, setting("every keyframe: by far the cheapest")] = False
    count: Annotated[int, setting("this many frames, spread evenly", ge=1, le=1_000_000)] | None = None
    scene: (
        Annotated[
            float,
            setting(
                "the first frame of each scene: a change of more than this, measured as FFmpeg's `select` does",
                gt=0,
                lt=1,
                examples=[0.3],
            ),
        ]
        | None
    ) = None
    start: Annotated[Duration, setting("from this time on; steps count from here")] = Duration(0)
    end: Annotated[Duration, setting("up to this time, itself not included")] | None = None
    max_side: Annotated[int, setting("scales frames down to this many pixels at most", ge=16, le=16_384)] | None = None
    quality: Annotated[int, setting("of the JPEGs", ge=1, le=100)] = 90
    max_frames: Annotated[int, setting("a video that would give more is rejected", ge=1, le=1_000_000)] = 100_000
    time_limit: Annotated[Duration, setting("for one video", recipe=False)] = Duration(1800)
    keep_media: Annotated[
        bool,
        setting(
            "false: a video is removed once its shards are stored and no node of any flow waits for it", recipe=False
        ),
    ] = True

    def __post_init__(self) -> None:
        """Raises ValueError where the settings do not agree with each other."""
        given = [name for name in SAMPLERS if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"one sampler at a time, not {' and '.join(given)}")
        if not given:
            force_setattr(self, "every", Duration(1))
        if self.every is not None and self.every < 0.001:
            raise ValueError("every: a millisecond at least")
        if self.end is not None and self.end <= self.start:
            raise ValueError("end: must be later than start")

    def sampler(self) -> dict[str, Any]:
        """As the child takes it."""
        every = self.every if self.fps is None else 1 / self.fps
        chosen = {"every": every, "keyframes": self.keyframes, "count": self.count, "scene": self.scene}
        return {**chosen, "start": float(self.start), "end": self.end}

    def words(self) -> str:
        """The sampler as a person would say it: `every 1s`, `count 10 from 5s to 20s`."""
        name = next(name for name in SAMPLERS if getattr(self, name))
        value = "" if name == "keyframes" else f"{getattr(self, name):g}" + "s" * (name == "every")
        from_to = (f"from {self.start:g}s" if self.start else "", f"to {self.end:g}s" if self.end else "")
        return " ".join(filter(None, (name, value, *from_to)))


async def handle(media: Media, job: Job) -> AsyncIterator[Output]:
    """The shards, once all are stored. Raises Reject where there is no frame, and Retry."""
    shards: list[Shard] = []
    damage = await _extract(media, job, shards)
    for shard in shards:
        shard.damage = damage
        yield "shards", shard


async def _extract(media: Media, job: Job, shards: list[Shard]) -> str:
    """Fills `shards` with what is stored; says what of the video was lost."""
    try:
        return await _run(media, job, shards) or media.damage
    except (ChildDied, ChildTimeout) as error:
        if job.attempt < TRIES or _was_killed(error):
            raise Retry("decoder failed", str(error)) from None
        if not shards:
            raise Reject("undecodable", f"decoder failed: {error}", lasting=False) from None
        job.lasting = False
        return f"decoder failed after {shards[-1].time_ms[-1] / 1000:g} s: {error}"
    except ChildFailed as error:
        if error.kind == "OSError":
            raise Outage(f"extract cannot write its shards: {error.text}") from None
        if error.kind == "MemoryError":
            raise Reject("too large", f"decoding takes more than {MEMORY >> 30} GiB of memory") from None
        raise


def _was_killed(error: Exception) -> bool:
    """Whether somebody did it, or the kernel for want of memory: that says nothing of the video."""
    return isinstance(error, ChildDied) and error.signal == signal.SIGKILL


async def _run(media: Media, job: Job, shards: list[Shard]) -> str:
    children: Children = job.state
    seconds = float(job.settings.time_limit)
    limits = Limits(seconds, ceil(seconds), MEMORY, SHARD_FILE, STALL_S)
    damage = ""
    async with (
        given(job.objects, media.object_key, media.bytes, media.sha256) as path,
        aclosing(children.run(_task(media, job, path), limits=limits)) as events,
    ):
        async for event in events:
            if "shard" in event:
                shards.append(await _store(media, job, event["shard"]))
            elif "unusable" in event:
                raise Reject(*event["unusable"])
            elif "damage" in event:
                damage = event["damage"]
            else:
                job.report(event["progress"])
    return damage


def _task(media: Media, job: Job, path: Path) -> dict[str, Any]:
    settings: Extract = job.settings
    about = {"path": str(path), "media_id": media.id, "url": media.url, "source": media.source}
    how = {"quality": settings.quality, "max_side": settings.max_side, "max_frames": settings.max_frames}
    return {**about, **how, "sampler": settings.sampler()}


async def _store(media: Media, job: Job, made: dict[str, Any]) -> Shard:
    """Moves a finished tar into the object store."""
    ident = ids.shard_id(media.id, made["index"])
    key = keys.shard(job.recipe, media.id, ident, made["sha256"])
    await job.objects.put_file(key, Path(made.pop("path")), made["sha256"])
    words = job.settings.words()
    return Shard(id=ident, media_id=media.id, source=media.source, object_key=key, sampler=words, **made)


@asynccontextmanager
async def open_children(parts: Parts) -> AsyncIterator[Children]:
    """A warm zygote with the decoders, for as long as the worker lives."""
    async with Children("services.extract.child", parts.work / "extract") as children:
        yield children


NODE = Node(
    type="extract",
    summary="Decodes the frames that a sampler chooses and keeps them as JPEGs in shards",
    takes=(Media,),
    gives={"shards": Shard},
    settings=Extract,
    handler=handle,
    concurrency=os.cpu_count() or 1,
    reads=(keys.MEDIA,),
    writes=(keys.FRAMES,),
    open=open_children,
)
