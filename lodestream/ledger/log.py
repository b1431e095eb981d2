"""A ledger in the object store: numbered entries, each created once, and segments that many of them were put into.

To create the next entry is to compare and swap the head: whoever has been overtaken fails, and reads again. An entry
is removed only after a segment that has it is stored, so one that was overtaken finds either the entry or the segment.
"""

import asyncio
import mmap
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

import structlog

from lodestream.ledger.pack import Broken, Pack, merged, unpacked
from lodestream.objects import Objects
from proto import keys

log = structlog.get_logger()

AT_ONCE = 8
"""Objects that are read at once."""


class Overtaken(Exception):
    """Somebody else has written to the ledger: what is known of it is old."""


class Range(NamedTuple):
    """Entries `first` to `last`, both included, in one object."""

    key: str
    first: int
    last: int


class Log:
    """One ledger. Every method raises Outage."""

    def __init__(self, objects: Objects, prefix: str):
        """`prefix` is `keys.ledger(...)`."""
        self._objects, self.prefix = objects, prefix
        self.origin = ""
        self.segmented = -1
        """Number of the last entry that is in a segment."""
        self.last = -1
        """Number of the last entry that was read or written."""
        self.struck = False
        """Whether something was struck out of it since it was read."""
        self._mark = ""

    async def read(self) -> AsyncIterator[tuple[Range, Pack]]:
        """Everything, in order. What is damaged is passed over, and said."""
        self.origin, self.last = await self._origin(), -1
        segments, useless = _chain(await self._segments())
        self.struck = False
        self.segmented = segments[-1].last if segments else -1
        for each in segments:
            if pack := await self._mapped(each):
                yield each, pack
            self.last = each.last
        async for found in self._entries(useless):
            yield found

    async def read_on(self) -> AsyncIterator[tuple[Range, Pack]]:
        """What was written since. Raises Overtaken where that begins in a segment, or in another ledger."""
        ranges = await self._segments()
        if self.origin != await self._origin() or any(each.last > self.last for each in ranges):
            raise Overtaken
        async for found in self._entries([]):
            yield found

    async def append(self, number: int, data: bytes) -> None:
        """Store the entry of this number, the next one. Raises Overtaken."""
        key = keys.ledger_entry(self.prefix, number)
        if not await self._objects.create(key, data):
            raise Overtaken
        if any(each.last >= number for each in await self._segments()):
            await self._objects.delete(key)  # that number had been given, and its entry is in a segment by now
            raise Overtaken
        self.last = number

    async def compact(self) -> tuple[Range, Pack] | None:
        """Put all entries that are in no segment into one; None where somebody else did."""
        numbers = range(self.segmented + 1, self.last + 1)
        packs = []
        for start in range(0, len(numbers), AT_ONCE):
            some = [keys.ledger_entry(self.prefix, n) for n in numbers[start : start + AT_ONCE]]
            packs += [
                _opened(key, data) for key, data in zip(some, await asyncio.gather(*map(self._get, some)), strict=True)
            ]
        whole = [pack for pack in packs if pack]
        if not whole or any(pack.header.origin != self.origin for pack in whole):
            return None
        whole[0].header.first, whole[-1].header.last = numbers[0], numbers[-1]
        if None in packs and not await self._still_there(numbers):
            return None
        made = Range(keys.ledger_segment(self.prefix, numbers[0], numbers[-1]), numbers[0], numbers[-1])
        await self._objects.create(made.key, await asyncio.to_thread(merged, whole))
        for number in numbers:
            await self._objects.delete(keys.ledger_entry(self.prefix, number))
        if (pack := await self._mapped(made)) is None:
            raise Overtaken
        self.segmented = made.last
        return made, pack

    async def _still_there(self, numbers: range) -> bool:
        """Whether no entry was taken away by another's compaction: what cannot be read is damaged, then."""
        return all([await self._objects.stat(keys.ledger_entry(self.prefix, number)) for number in numbers])

    async def _origin(self) -> str:
        """What tells this ledger from one of the same name that was removed."""
        key = keys.ledger_origin(self.prefix)
        with suppress(KeyError):
            return (await self._objects.get(key)).decode()
        await self._objects.create(key, secrets.token_hex(8).encode())
        return (await self._objects.get(key)).decode()

    async def _entries(self, useless: list[Range]) -> AsyncIterator[tuple[Range, Pack]]:
        """What lies behind the last that was read; what nobody needs is removed."""
        ranges = await self._ranges(keys.ledger_entries(self.prefix))
        new = [each for each in ranges if each.first > self.last]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            read = await asyncio.gather(*(self._get(each.key) for each in some))
            for each, data in zip(some, read, strict=True):
                pack = _opened(each.key, data)
                if pack and pack.header.origin != self.origin:
                    useless.append(each)
                    continue
                self.last = each.last
                if pack:
                    yield each, pack
        for each in (*useless, *(each for each in ranges if each.last <= self.segmented)):
            await self._objects.delete(each.key)

    async def _get(self, key: str) -> bytes | None:
        with suppress(KeyError):
            return await self._objects.get(key)
        return None

    async def _mapped(self, each: Range) -> Pack | None:
        """A segment whose rows come from disk when they are looked at; what is written to it is nobody else's."""
        try:
            async with self._objects.local(each.key) as path:
                with path.open("rb") as file:
                    pack = unpacked(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            if pack.header.origin == self.origin:
                return pack
        except (Broken, KeyError, FileNotFoundError, ValueError) as error:
            log.error("ledger unreadable: its frames count as not seen", key=each.key, error=str(error))
        return None

    async def _segments(self) -> list[Range]:
        """Looks too whether something was struck out."""
        prefix = keys.ledger_segments(self.prefix)
        found = list[Range]()
        async for stat in self._objects.list(prefix):
            if stat.key == keys.ledger_struck(self.prefix):
                self.struck, self._mark = self.struck or stat.version != self._mark, stat.version
            elif each := _range(prefix, stat.key):
                found.append(each)
        return found

    async def _ranges(self, prefix: str) -> list[Range]:
        return [each async for stat in self._objects.list(prefix) if (each := _range(prefix, stat.key))]


def _range(prefix: str, key: str) -> Range | None:
    first, _, last = key[len(prefix) :].partition("-")
    last = last or first
    return Range(key, int(first), int(last)) if first.isdigit() and last.isdigit() else None


def _opened(key: str, data: bytes | None) -> Pack | None:
    """An entry, all of which is right; says where it is not."""
    if data is None:
        return None
    try:
        pack = unpacked(data)
        pack.check()
    except Broken as error:
        log.error("ledger unreadable: its frames count as not seen", key=key, error=str(error))
        return None
    return pack


def _chain(ranges: list[Range]) -> tuple[list[Range], list[Range]]:
    """The segments that follow each other up to the last one, and those that say the same once more."""
    chain: list[Range] = []
    for each in sorted(ranges, key=lambda each: (each.last, -each.first), reverse=True):
        if not chain or each.last < chain[-1].first:
            chain.append(each)
    chain.reverse()
    return chain, [each for each in ranges if each not in chain]
