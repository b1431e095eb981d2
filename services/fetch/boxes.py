"""The boxes of an MP4, as far as they say what a demuxer keeps to itself. Written from ISO/IEC 14496-12."""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MOST_MOOV = 64 << 20
"""Bytes of an index that is looked into."""
MOST_BOXES = 100_000
MOST_INSIDE = 1000
"""Boxes of one box: no player opens more tracks than that."""


class Box(NamedTuple):
    """One box; `end` may lie past the end of the file."""

    kind: bytes
    body: int
    end: int


class Boxes(NamedTuple):
    """What the boxes of a file say."""

    damage: str
    """How much is missing, empty where nothing is."""
    rotation: int
    """Degrees clockwise that the first picture track is turned for showing: 0, 90, 180 or 270."""
    fragmented: bool


def read(file: BinaryIO, size: int) -> Boxes:
    """The boxes of an MP4 file of `size` bytes."""
    damage, rotation, fragmented = "", 0, False
    for box in _top(file, size):
        if box.end > size:
            damage = f"cut short: {size} of at least {box.end} bytes"
        elif box.kind == b"moov" and box.end - box.body <= MOST_MOOV:
            file.seek(box.body)
            moov = memoryview(file.read(box.end - box.body))
            rotation = _rotation(moov)
            fragmented = any(inner.kind == b"mvex" for inner in _inside(moov))
    return Boxes(damage, rotation, fragmented)


def _top(file: BinaryIO, size: int) -> Iterator[Box]:
    at = 0
    for _ in range(MOST_BOXES):
        if at >= size:
            return
        file.seek(at)
        box = _box(file.read(16), at, size)
        if box is None:
            return
        yield box
        at = box.end


def _inside(data: memoryview) -> Iterator[Box]:
    at = 0
    for _ in range(MOST_INSIDE):
        box = _box(data[at : at + 16], at, len(data))
        if box is None or box.end > len(data):
            return
        yield box
        at = box.end


def _box(head: bytes | memoryview, at: int, size: int) -> Box | None:
    """The box that begins at `at`, or None where none can."""
    if len(head) < 8:
        return None
    length, kind = struct.unpack(">I4s", head[:8])
    body = at + 8
    if length == 1 and len(head) == 16:
        length, body = struct.unpack(">Q", head[8:16])[0], at + 16
    elif length == 0:
        length = size - at
    plausible = at + length >= body and all(0x20 <= letter < 0x7F or letter == 0xA9 for letter in kind)
    return Box(kind, body, at + length) if plausible else None


def _rotation(moov: memoryview) -> int:
    for track in _inside(moov):
        if track.kind == b"trak":
            body = moov[track.body : track.end]
            parts = {box.kind: body[box.body : box.end] for box in _inside(body)}
            handlers = {box.kind: (box.body, box.end) for box in _inside(parts.get(b"mdia", moov[:0]))}
            begin, end = handlers.get(b"hdlr", (0, 0))
            if bytes(parts.get(b"mdia", moov[:0])[begin:end][8:12]) == b"vide":
                return _turn(parts.get(b"tkhd", moov[:0]))
    return 0


def _turn(header: memoryview) -> int:
    """From the matrix of a track header, whose times are 32 or 64 bits wide."""
    at = 52 if header[:1] == b"\x01" else 40
    if len(header) < at + 36:
        return 0
    cos, sin = struct.unpack(">ii", header[at : at + 8])
    return round(math.degrees(math.atan2(sin, cos)) / 90) * 90 % 360
