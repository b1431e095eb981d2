"""Seeded damage to real files: where a file's header, index and payload lie, and what can happen to each."""

import random
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from lodestream.demo.clips import Clip
from tests.support.video import encoded

CLIPS = [
    Clip("mp4", seconds=3),
    Clip("mp4-late", seconds=3, bframes=2, faststart=False),
    Clip("mp4-sound", seconds=3, bframes=3, sound=True),
    Clip("fragments", seconds=3, bframes=2, fragmented=True, sound=True),
    Clip("rotated", seconds=3, bframes=2, rotation=90),
    Clip("variable", seconds=3, bframes=2, gaps_ms=(20, 40, 120, 33)),
    Clip("webm", seconds=3, codec="libvpx-vp9", container="webm", sound=True),
    Clip("mkv", seconds=3, bframes=2, container="matroska", sound=True),
    Clip("ts", seconds=3, bframes=2, container="mpegts", sound=True),
    Clip("avi", seconds=3, codec="mpeg4", container="avi"),
    Clip("hevc", seconds=3, codec="libx265"),
]
_CONTAINERS = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts", b"dinf", b"mfra")
)
_TABLES = frozenset(
    (b"stts", b"stss", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"trun", b"tfhd", b"tfdt", b"sidx", b"tfra")
)
_SEGMENT, _CLUSTER, _CUES = 0x18538067, 0x1F43B675, 0x1C53BB6B
_EXTREMES = (0, 1, 7, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Span = tuple[int, int]


class Layout(NamedTuple):
    """Where the parts of a file lie, as spans of bytes."""

    header: list[Span]
    index: list[Span]
    payload: list[Span]
    pieces: list[Span]
    """What the file is made of at its top: boxes, elements, chunks, packets."""


class Mutation(NamedTuple):
    """One damaged file."""

    clip: Clip
    how: str
    """`bits in the payload`, `cut` ..."""
    data: bytes


def mutations(seed: int, count: int, clips: list[Clip] | None = None) -> Iterator[Mutation]:
    """`count` damaged files: each clip in turn, and with each kind of damage in the end."""
    whole, kinds = clips or CLIPS, list(KINDS)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        clip, how = whole[number % len(whole)], kinds[(number + number // len(whole)) % len(kinds)]
        yield Mutation(clip, how, KINDS[how](rng, encoded(clip), layout(clip)))


@cache
def layout(clip: Clip) -> Layout:
    """The layout of a clip's file."""
    data = encoded(clip)
    if data[:4] == b"\x1aE\xdf\xa3":
        return _ebml(data)
    if data[:4] == b"RIFF":
        return _riff(data)
    return _transport(data) if data[:1] == b"G" else _mp4(data)


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each box of a whole MP4."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        size = struct.unpack_from(">Q", data, start + 8)[0] if size == 1 else size or end - start
        yield kind, start, start + size
        start += size


def _mp4(data: bytes) -> Layout:
    found = Layout([], [], [], [])

    def walk(start: int, end: int, top: bool = False) -> None:
        for kind, begin, stop in boxes(data, start, end):
            if top:
                found.pieces.append((begin, stop))
            if kind in _CONTAINERS:
                found.header.append((begin, begin + 8))
                walk(begin + 8, stop)
            else:
                part = found.payload if kind == b"mdat" else found.index if kind in _TABLES else found.header
                part.append((begin, stop))

    walk(0, len(data), top=True)
    return found


def _ebml(data: bytes) -> Layout:
    found, at = Layout([], [], [], []), 0
    while at < len(data):
        ident, body, end = _element(data, at)
        if ident == _SEGMENT:
            found.header.append((at, body))
            at = body
            continue
        part = found.payload if ident == _CLUSTER else found.index if ident == _CUES else found.header
        part.append((at, end))
        found.pieces.append((at, end))
        at = end
    return found


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """The id of an EBML element, where its body begins, and where it ends."""
    wide = 9 - data[at].bit_length()
    ident, at = int.from_bytes(data[at : at + wide], "big"), at + wide
    wide = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    return ident, at + wide, min(at + wide + size, len(data))


def _riff(data: bytes) -> Layout:
    movi, idx1 = data.index(b"movi") - 8, data.rindex(b"idx1")
    return Layout([(0, movi)], [(idx1, len(data))], [(movi, idx1)], [(12, movi), (movi, idx1), (idx1, len(data))])


def _transport(data: bytes) -> Layout:
    packets = [(at, at + 188) for at in range(0, len(data), 188)]
    return Layout(packets[:3], packets[:3], packets[3:], packets)


def _bits(part: str) -> Callable[[random.Random, bytes, Layout], bytes]:
    def flip(rng: random.Random, data: bytes, where: Layout) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            changed[_within(rng, getattr(where, part) or where.header)] ^= 1 << rng.randrange(8)
        return bytes(changed)

    return flip


def _within(rng: random.Random, spans: list[Span]) -> int:
    (start, end) = rng.choices(spans, [end - start for start, end in spans])[0]
    return rng.randrange(start, end)


def _span(rng: random.Random, data: bytes) -> Span:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((4, 100, 1500, 10_000)))


def _cut(rng: random.Random, data: bytes, where: Layout) -> bytes:
    return data[: rng.randrange(len(data))]


def _swap(rng: random.Random, data: bytes, where: Layout) -> bytes:
    """Two neighbouring or distant pieces change places."""
    (a, b), (c, d) = sorted(rng.sample(where.pieces, 2))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _append(rng: random.Random, data: bytes, where: Layout) -> bytes:
    junk = (bytes(5000), rng.randbytes(5000), data[: rng.randrange(len(data))], b"<html>" * 100)
    return data + rng.choice(junk)


def _zero(rng: random.Random, data: bytes, where: Layout) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(rng: random.Random, data: bytes, where: Layout) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _repeat(rng: random.Random, data: bytes, where: Layout) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] + data[end:]


def _remove(rng: random.Random, data: bytes, where: Layout) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _extreme(rng: random.Random, data: bytes, where: Layout) -> bytes:
    """A 32-bit number of the header or index says something absurd."""
    start, end = rng.choice(where.header + where.index)
    at = rng.randrange(start, max(start + 1, end - 3))
    return data[:at] + struct.pack(">I", rng.choice(_EXTREMES)) + data[at + 4 :]


KINDS: dict[str, Callable[[random.Random, bytes, Layout], bytes]] = {
    "cut": _cut,
    "bits in the header": _bits("header"),
    "bits in the index": _bits("index"),
    "bits in the payload": _bits("payload"),
    "swapped pieces": _swap,
    "appended junk": _append,
    "zeroed": _zero,
    "noise": _noise,
    "repeated": _repeat,
    "removed": _remove,
    "extreme numbers": _extreme,
}
"""What can happen to a file."""
