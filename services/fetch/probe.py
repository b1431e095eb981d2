"""What a video file is. For children only: demuxers and decoders of strangers' files may crash, hang and grow."""

import os
import struct
from fractions import Fraction
from itertools import islice
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from services.fetch import boxes

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf"
"""No other is tried: some open further files and URLs."""
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
FAST = {**OPTIONS, "skip_frame": "all", "analyzeduration": "1", "probesize": "32"}
"""From the header alone: a twentieth of the time that looking at frames takes."""
EXTENSIONS = {"mov": "mp4", "mpegts": "ts", "mpeg": "mpg", "mpegvideo": "mpg", "asf": "wmv", "ogg": "ogv"}
LONGEST_SIDE, MOST_PIXELS = 16_384, 1 << 26
MOST_PACKETS = 2_000_000
MOST_TRIED = 1000
"""Packets within which a picture must be decoded."""
UNREADABLE = (av.FFmpegError, MemoryError, IndexError, ArithmeticError, ValueError)
"""What PyAV raises about broken files: of streams that turn up late, clocks of no rate, and its own errors."""


class Unusable(Exception):
    """No video that anybody could use: the reason, and what is wrong."""


def probe(path: str) -> dict[str, Any]:
    """Container, codec, size as shown, rate, duration and damage of a file, as `Facts` has them. Raises Unusable."""
    found = None
    with open(path, "rb") as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        is_mp4 = file.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"uuid", b"pnot")
        if is_mp4:
            found = boxes.read(file, size)
        damage = found.damage if found else _missing(file, size)
    try:
        facts = _from_header(path, found) if found and not found.fragmented else None
        facts = facts or _from_frames(path)
    except UNREADABLE as error:
        if damage:
            raise Unusable("damaged", f"{damage}; nothing of it can be read") from None
        raise Unusable("fake", f"cannot be read as video: {_words(error)}") from None
    return {**facts, "damage": "; ".join(filter(None, (damage, facts["damage"])))}


def _from_header(path: str, found: boxes.Boxes) -> dict[str, Any] | None:
    """None where the header does not say all."""
    with av.open(path, format="mov", options=FAST, metadata_errors="replace") as container:
        stream = _picture(container)
        if not (stream.frames and stream.duration and stream.average_rate and stream.width):
            return None
        return _facts(container, stream, found.rotation, _seconds(stream), float(stream.average_rate))


def _from_frames(path: str) -> dict[str, Any]:
    """By decoding one picture and, where the header gives no duration, reading the whole file."""
    with av.open(path, options=OPTIONS, metadata_errors="replace") as container:
        stream = _picture(container)
        stream.thread_type = "NONE"
        frame = _first_frame(container, stream)
        rate = stream.average_rate or stream.guessed_rate
        seconds = _seconds(stream)
        if seconds is None and container.duration and container.format.name != "mov,mp4,m4a,3gp,3g2,mj2":
            seconds = container.duration / av.time_base
        facts = _facts(container, stream, -frame.rotation % 360, seconds, float(rate) if rate else None)
    if facts["duration_s"] is None:
        facts |= _by_reading(path)
    return facts


def _first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    """The first picture that can be decoded. Raises Unusable where there is none in the first MOST_TRIED packets."""
    error: Exception | None = None
    for packet in islice(container.demux(stream), MOST_TRIED):
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError as failure:
            error = failure
    raise Unusable("fake", f"no picture in it can be decoded: {_words(error)}" if error else "no picture in it")


def _picture(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures. Raises Unusable."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise Unusable("audio" if container.streams.audio else "fake", "no moving pictures in it")
    stream = streams[0]
    if stream.codec_context is None:
        raise Unusable("unsupported", "no decoder for its codec")
    if max(stream.width, stream.height) > LONGEST_SIDE or stream.width * stream.height > MOST_PIXELS:
        raise Unusable("too big", f"pictures of {stream.width}x{stream.height} pixels")
    return stream


def _facts(
    container: InputContainer, stream: VideoStream, rotation: int, seconds: float | None, rate: float | None
) -> dict[str, Any]:
    name = container.format.name.partition(",")[0]
    codec = stream.codec.canonical_name
    webm = name == "matroska" and codec in ("vp8", "vp9", "av1")
    turned = rotation % 180 == 90
    return {
        "container": "mp4" if name == "mov" else "webm" if webm else name,
        "extension": "webm" if webm else "mkv" if name == "matroska" else EXTENSIONS.get(name, name),
        "codec": codec,
        "width": stream.height if turned else stream.width,
        "height": stream.width if turned else stream.height,
        "fps": round(rate, 3) if rate else None,
        "duration_s": round(seconds, 3) if seconds else None,
        "rotation": rotation,
        "damage": "",
    }


def _seconds(stream: VideoStream) -> float | None:
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None


def _by_reading(path: str) -> dict[str, Any]:
    """Duration and rate from the packets themselves, and where they end too soon."""
    first: Fraction | None = None
    last, count, damage = Fraction(0), 0, ""
    with av.open(path, options=OPTIONS, metadata_errors="replace") as container:
        try:
            for packet in container.demux(_picture(container)):
                if packet.pts is not None and packet.time_base:
                    at = packet.pts * packet.time_base
                    first = at if first is None else min(first, at)
                    last, count = max(last, at + (packet.duration or 0) * packet.time_base), count + 1
                if count >= MOST_PACKETS:
                    break
        except (av.FFmpegError, IndexError) as error:
            damage = f"cannot be read past {float(last):.1f} s: {_words(error)}"
    seconds = float(last - first) if first is not None else 0.0
    if not seconds:
        return {"damage": damage}
    return {"duration_s": round(seconds, 3), "fps": round(count / seconds, 3), "damage": damage}


def _missing(file: Any, size: int) -> str:
    """How much of a Matroska or AVI file is missing, by the length that its first element claims."""
    file.seek(0)
    head = file.read(4096)
    if head[:4] == b"RIFF":
        claimed = struct.unpack("<I", head[4:8])[0] + 8
    elif (at := head.find(b"\x18\x53\x80\x67")) >= 0 and head[:4] == b"\x1aE\xdf\xa3":
        width = 9 - head[at + 4].bit_length()
        length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
        claimed = 0 if length == (1 << 7 * width) - 1 else at + 4 + width + length
    else:
        return ""
    return f"cut short: {size} of {claimed} bytes" if claimed > size else ""


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
