"""One object of a ledger: verdicts on some shards, and the kept frames of them, as arrays of rows.

A header in JSON says where what lies; the arrays follow, as they lie in memory, so that a large one can be mapped.
Nothing here reckons with the numbers in them.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from lodestream.objects import Objects, Stat
from proto.messages import Repeat

MAGIC = b"LODELED1"
ALIGN = 64
HEAD = 1 << 16
"""Bytes that are read to learn how much there is to be read."""
VERDICTS, TIMES = "verdicts", "times"
"""Arrays that every pack has: what was said, and the presentation time of each kept frame, milliseconds in 8 bytes."""


class Broken(Exception):
    """An object of a ledger that is not as it was stored."""


class Verdict(msgspec.Struct, omit_defaults=True):
    """What was said of one shard."""

    unique: list[int] = []
    broken: list[int] = []
    repeats: list[Repeat] = []


class Judged(msgspec.Struct, array_like=True):
    """Where what was said of one shard stands; all empty once its video was forgotten, but for the rows."""

    entity: str
    """Id and recipe of what was said."""
    recipe: str
    media: str
    cause: str
    """Subject of what was judged."""
    rows: int
    """Kept frames: so many rows of each array, after those of the shards before."""
    start: int = 0
    size: int = 0
    """Of the verdict, in bytes, among the verdicts."""


class Section(msgspec.Struct, array_like=True):
    """One array, in bytes."""

    start: int
    """Counted from the end of the header."""
    size: int
    row: int
    """Of each kept frame; 1 where it is not by frames."""
    crc: int


class Header(msgspec.Struct, omit_defaults=True):
    """What a pack says of itself."""

    origin: str
    """Of its ledger."""
    first: int
    last: int
    """Numbers of the entries that it has."""
    rows: int
    shards: list[Judged]
    arrays: dict[str, Section]


class Bytes(Protocol):
    """What a pack can lie in: bytes, or a mapped file."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


_header = msgspec.json.Decoder(Header).decode
_verdict = msgspec.json.Decoder(Verdict).decode
Part = bytes | memoryview
Said = tuple[Judged, bytes]
"""One shard, and the verdict on it as it is stored."""


class Pack:
    """A pack as it was read; `data` may be cut off behind what is needed of it."""

    def __init__(self, header: Header, body: memoryview, start: int):
        self.header, self._body = header, body
        self.size = start + max((each.start + each.size for each in header.arrays.values()), default=0)
        """Bytes that it takes, header and all."""

    def array(self, name: str) -> memoryview:
        """The bytes of an array; none where there is no such array."""
        if (section := self.header.arrays.get(name)) is None:
            return memoryview(b"")
        return self._body[section.start : section.start + section.size]

    def said(self) -> list[Said]:
        """Every shard with its verdict."""
        verdicts = bytes(self.array(VERDICTS))
        return [(each, verdicts[each.start : each.start + each.size]) for each in self.header.shards]

    def check(self) -> None:
        """Raises Broken unless every array is as it was stored."""
        for name, section in self.header.arrays.items():
            if zlib.crc32(self.array(name)) != section.crc:
                raise Broken(f"its {name} were changed")


def read_verdict(data: bytes) -> Verdict:
    """Raises Broken."""
    try:
        return _verdict(data)
    except msgspec.MsgspecError as error:
        raise Broken(str(error)) from None


def packed(
    origin: str, first: int, last: int, said: Sequence[Said], arrays: Mapping[str, tuple[Sequence[Part], int]]
) -> bytes:
    """A pack; each array is given in parts, with the bytes of a row."""
    verdicts = [verdict for _, verdict in said]
    shards, start = [], 0
    for judged, verdict in said:
        shards.append(msgspec.structs.replace(judged, start=start, size=len(verdict)))
        start += len(verdict)
    whole = {VERDICTS: (b"".join(verdicts), 1)} | {n: (b"".join(parts), row) for n, (parts, row) in arrays.items()}
    sections, at = {}, 0
    for name, (data, row) in whole.items():
        sections[name] = Section(at, len(data), row, zlib.crc32(data))
        at += _padded(len(data))
    header = msgspec.json.encode(Header(origin, first, last, sum(s.rows for s in shards), shards, sections))
    head = MAGIC + len(header).to_bytes(4, "little") + zlib.crc32(header).to_bytes(4, "little") + header
    return b"".join(data.ljust(_padded(len(data)), b"\0") for data in (head, *(data for data, _ in whole.values())))


def unpacked(data: Bytes) -> Pack:
    """Raises Broken where the header is damaged, or less lies there than it says."""
    header, start = _head(data)
    if header is None or len(data) < (pack := Pack(header, memoryview(data)[start:], start)).size:
        raise Broken("it is cut short")
    return pack


async def without_rows(objects: Objects, key: str) -> Pack:
    """A pack of which only header and verdicts are read. Raises Broken, KeyError and Outage."""
    data = await objects.get(key, 0, HEAD)
    header, start = _head(data)
    if header is None:
        data = await objects.get(key, 0, start)
        header, start = _head(data)
    if header is None:
        raise Broken("it is cut short")
    end = start + header.arrays[VERDICTS].size
    if len(data) < end:
        data = await objects.get(key, 0, end)
    return Pack(header, memoryview(data)[start:], start)


async def check(objects: Objects, stored: Stat, *, deep: bool) -> None:
    """Raises Broken where an object of a ledger is damaged, as far as its size says; `deep` reads all of it.

    Raises KeyError and Outage.
    """
    if deep:
        unpacked(await objects.get(stored.key)).check()
    elif stored.size < (await without_rows(objects, stored.key)).size:
        raise Broken("it is cut short")


def merged(packs: Sequence[Pack]) -> bytes:
    """One pack that says what these do, which follow each other."""
    first, last = packs[0].header, packs[-1].header
    names = {name: section.row for pack in packs for name, section in pack.header.arrays.items() if name != VERDICTS}
    arrays = {name: ([pack.array(name) for pack in packs], row) for name, row in names.items()}
    return packed(first.origin, first.first, last.last, [each for pack in packs for each in pack.said()], arrays)


def _head(data: Bytes) -> tuple[Header | None, int]:
    """The header, and where the arrays begin; None where more than `data` has belongs to it. Raises Broken."""
    if bytes(data[: len(MAGIC)]) != MAGIC or len(data) < len(MAGIC) + 8:
        raise Broken("it is none")
    start = len(MAGIC) + 8
    size, crc = (int.from_bytes(data[at : at + 4], "little") for at in (start - 8, start - 4))
    if len(data) < start + size:
        return None, _padded(start + size)
    header = bytes(data[start : start + size])
    if zlib.crc32(header) != crc:
        raise Broken("its header was changed")
    try:
        return _header(header), _padded(start + size)
    except msgspec.MsgspecError as error:
        raise Broken(str(error)) from None


def _padded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
