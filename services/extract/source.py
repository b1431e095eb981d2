"""Opening a stranger's file, and reading it packet by packet for as long as it gives any."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

LARGEST_SIDE, LARGEST_AREA = 16_384, 36_000_000
"""Pixels of a picture that is decoded at all: 8K passes, a 30,000-pixel side does not."""
_FORMATS = "mov,matroska,webm,mpegts,mpeg,avi,flv,asf,ogg,mxf,gif,ivf,obu,h264,hevc,m4v,mpegvideo,dv,nut,yuv4mpegpipe"
_SOUNDS = "mp3,wav,flac,aac,ac3"
_OPTIONS = {
    "protocol_whitelist": "file",  # a playlist or a reference in the file leads nowhere
    "format_whitelist": f"{_FORMATS},{_SOUNDS},png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,image2",
}
_READ_ERRORS = 100
"""Reading errors in a row after which the rest of a file is given up."""
logging.getLogger("libav").setLevel(logging.CRITICAL + 1)  # what FFmpeg says is counted, not shown


class Unusable(Exception):
    """Nothing can be had from this file: `reason` in a few words, and what was seen."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream, ready to decode with one thread. Raises Unusable."""
    if not path.stat().st_size:
        raise Unusable("empty", "the file has no bytes")
    av.logging.set_level(av.logging.ERROR)  # for `complaints`
    try:
        container = av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        raise Unusable("undecodable", f"no video format: {getattr(error, 'strerror', error)}") from None
    with container:
        stream = _video_stream(container)
        context = stream.codec_context
        context.thread_count = 1
        context.options = {"err_detect": "explode", "max_pixels": str(LARGEST_AREA)}
        yield container, stream


def check_size(width: int, height: int) -> None:
    """Raises Unusable where a picture is larger than is decoded."""
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_AREA:
        raise Unusable("too large a picture", f"{width}x{height} pixels")


def packets(container: Any, streams: Any) -> Iterator[Any]:
    """Every packet that can be read; after a reading error the next ones are tried."""
    errors = 0
    while errors < _READ_ERRORS:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except (FFmpegError, IndexError):  # IndexError: PyAV does not know of streams that turn up late
            errors += 1


def complaints() -> int:
    """How often FFmpeg has said that something is broken, in this process so far."""
    return int(av.logging.get_last_error()[0])


def _video_stream(container: Any) -> Any:
    if "_pipe" in container.format.name or "image2" in container.format.name:
        raise Unusable("fake", "a still picture, not a video")
    moving = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not moving:
        raise Unusable("no video stream", f"{container.format.name} with {_kinds(container)}")
    stream = max(moving, key=lambda s: bool(s.disposition & s.disposition.default))
    if stream.codec_context is None:
        raise Unusable("undecodable", "no decoder for its codec")
    check_size(stream.codec_context.width, stream.codec_context.height)
    return stream


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type or "data" for stream in container.streams})) or "no stream at all"
