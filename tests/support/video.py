"""What tests of video need: the kinds that there are, everything decoded the plain way, and frames out of shards."""

import contextlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
from PIL import Image

from lodestream.demo.clips import Clip, read_number
from services.extract.child import run
from services.extract.jpeg import JpegEncoder

_X265 = "log-level=none:pools=none:frame-threads=1:bframes=3:keyint=25"
_ALT_REF = (("deadline", "good"), ("cpu-used", "5"), ("lag-in-frames", "16"), ("auto-alt-ref", "1"))

KINDS = [
    Clip("plain"),
    Clip("bframes", bframes=3),
    Clip("pyramid", bframes=4, gop=60, options=(("x264-params", "b-pyramid=normal:ref=4:weightp=2:keyint=60"),)),
    Clip("open-gop", bframes=3, options=(("x264-params", "open-gop=1"),)),
    Clip("refresh", container="mpegts", options=(("x264-params", "intra-refresh=1"),)),
    Clip("interlaced", bframes=2, options=(("x264-params", "interlaced=1"),)),
    Clip("hevc-open", codec="libx265", options=(("x265-params", f"{_X265}:open-gop=1"),)),
    Clip("hevc-closed", codec="libx265", options=(("x265-params", f"{_X265}:open-gop=0"),)),
    Clip("vp9", codec="libvpx-vp9", container="webm", sound=True),
    Clip("vp9-hidden", codec="libvpx-vp9", container="webm", options=_ALT_REF),
    Clip("vp8-hidden", codec="libvpx", container="webm", options=(*_ALT_REF, ("b", "500k"))),
    Clip("av1", codec="libsvtav1"),
    Clip("mpeg2", codec="mpeg2video", container="mpegts", options=(("bf", "2"),)),
    Clip("mpeg4", codec="mpeg4", options=(("bf", "2"),)),
    Clip("transport", container="mpegts", bframes=2, sound=True),
    Clip("avi", container="avi", bframes=2),
    Clip("bare", container="h264", bframes=2),
    Clip("matroska", container="matroska", bframes=2, sound=True),
    Clip("flash", container="flv", bframes=2),
    Clip("fragments", fragmented=True, bframes=2, sound=True),
    Clip("variable", gaps_ms=(20, 40, 120, 1700, 33), seconds=12, bframes=2),
    Clip("turned", rotation=90),
    Clip("ten-bit", pixels="yuv420p10le", bframes=2),
    Clip("full-chroma", pixels="yuv444p"),
]


@dataclass
class Result:
    """What one run of the child gave."""

    damage: str = ""
    unusable: tuple[str, str] | None = None
    shards: list[dict[str, Any]] = field(default_factory=list)

    @property
    def times(self) -> list[int]:
        """Milliseconds of every frame."""
        return [time for shard in self.shards for time in shard["time_ms"]]

    @property
    def jpegs(self) -> list[bytes]:
        """Every JPEG, by its byte range."""
        ranges = ((s["path"], at, size) for s in self.shards for at, size in zip(s["offset"], s["length"], strict=True))
        return [Path(path).read_bytes()[at : at + size] for path, at, size in ranges]

    @property
    def numbers(self) -> list[int | None]:
        """The frame number that each picture carries."""
        return [read_number(pixels(jpeg)) for jpeg in self.jpegs]


def extract(data: bytes | Path, folder: Path, *, max_frames: int = 10_000, **asked: Any) -> Result:
    """Run the child's work in this process; `asked` are fields of `Sampler`, and `quality` and `max_side`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = data if isinstance(data, Path) else folder / "video"
    if isinstance(data, bytes):
        path.write_bytes(data)
    how = {"quality": asked.pop("quality", 90), "max_side": asked.pop("max_side", None), "max_frames": max_frames}
    about = {"path": str(path), "media_id": "web-1", "url": "https://example.org/1", "source": "example.org"}
    result = Result()

    def emit(event: dict[str, Any], lossy: bool = False) -> None:
        event = msgspec.json.decode(msgspec.json.encode(event))
        if "shard" in event:
            result.shards.append(event["shard"])
        result.damage = event.get("damage", result.damage)
        result.unusable = tuple(event["unusable"]) if "unusable" in event else result.unusable

    run({**about, **how, "sampler": asked or {"every": 1.0}}, str(folder), emit)
    return result


@cache
def encoded(clip: Clip) -> bytes:
    """The clip's file; encoded once."""
    return clip.encode()


@cache
def decoded(clip: Clip) -> list[bytes]:
    """Every frame of a clip, decoded one after the other, as the JPEG that a shard would hold."""
    encoder = JpegEncoder(90)
    with av.open(io.BytesIO(encoded(clip))) as container:
        return [encoder.encode(frame)[0] for frame in container.decode(container.streams.video[0])]


def filtered(video: bytes | Path, name: str, arguments: str) -> Iterator[Any]:
    """The frames that one of FFmpeg's filters lets through; `frame.time` counts from the first picture."""
    graph = av.filter.Graph()
    graph.threads = 1
    with av.open(io.BytesIO(video) if isinstance(video, bytes) else str(video)) as container:
        stream, zero = container.streams.video[0], None
        stream.codec_context.thread_count = 1
        source, chosen, sink = graph.add_buffer(template=stream), graph.add(name, arguments), graph.add("buffersink")
        source.link_to(chosen)
        chosen.link_to(sink)
        graph.configure()
        for frame in chain(container.decode(stream), [None]):
            if frame:
                zero = frame.pts if zero is None else zero
                frame.pts -= zero
            graph.push(frame)
            with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
                while True:
                    yield graph.pull()


def pixels(jpeg: bytes) -> np.ndarray:
    """A JPEG's RGB, shape (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def members(path: Path) -> dict[str, bytes]:
    """A tar's files by name."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
