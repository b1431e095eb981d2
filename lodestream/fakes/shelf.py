"""The library in the object store: one small object an entry, whose key says all but its note.

So one listing is enough to know everything, whoever changes it meanwhile. Beside the entries lie sightings: that the
same bytes came from another origin, too.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec

from lodestream.blobs import Blob
from lodestream.fakes.entries import KINDS, Entry, read
from lodestream.fakes.library import Library
from lodestream.objects import Objects
from proto import keys

Result = TypeVar("Result")
SUSPECT = 3
"""Unrelated origins that the same bytes may have; from more on they are suspected."""
SAMPLES = 3
"""Sightings that are read of each suspect."""
AT_ONCE = 16
_VERDICTS = {True: "fine", False: "fake"}


class Sighting(msgspec.Struct, frozen=True):
    """Some bytes that were known already came from another origin."""

    url: str
    """Empty where nobody remembers it."""
    media_id: str
    size: int
    """bytes"""
    at: str


class Suspect(msgspec.Struct, frozen=True):
    """Bytes that come from many unrelated origins."""

    sha256: str
    size: int
    """bytes"""
    origins: int
    samples: list[Sighting]


class Shelf:
    """Reads and changes the library of one object store."""

    def __init__(self, objects: Objects):
        self._objects = objects

    async def entries(self, *, notes: bool = False) -> list[Entry]:
        """Every entry, by one listing; `notes` reads each in full. Keys that are none are passed over."""
        found = [entry async for stat in self._objects.list(keys.FAKES) if (entry := _from_key(stat.key))]
        return await _some_at_once(map(self.full, found)) if notes else found

    async def full(self, entry: Entry) -> Entry:
        """The entry with its note, where it has one."""
        try:
            return msgspec.json.decode(await self._objects.get(_key(entry)), type=Entry)
        except (KeyError, msgspec.DecodeError):
            return entry

    async def add(self, entry: Entry) -> bool:
        """Add an entry, in the place of one that says the opposite; whether it is new."""
        dated = msgspec.structs.replace(entry, at=datetime.now(UTC).isoformat(timespec="seconds"))
        created = await self._objects.create(_key(entry), msgspec.json.encode(dated))
        await self._objects.delete(_key(msgspec.structs.replace(entry, fine=not entry.fine)))
        return created

    async def withdraw(self, entry: Entry) -> Literal["removed", "excepted"] | None:
        """Say that something is no fake after all; None where nobody said so.

        It becomes an exception where it would come back by itself: a built-in entry, or bytes that are suspected.
        """
        comes_back = Library().get(entry.kind, entry.what) is not None
        if entry.kind == "sha256":
            comes_back = comes_back or len(await self.origins(entry.what, SUSPECT + 1)) > SUSPECT
        if comes_back:
            await self.add(msgspec.structs.replace(entry, fine=True))
        elif await self._objects.stat(_key(entry)) is None:
            return None
        await self._objects.delete(_key(entry))
        await self._forgive(entry)
        return "excepted" if comes_back else "removed"

    async def add_all(self, entries: Iterable[Entry]) -> int:
        """Add entries; how many are new."""
        return sum(await _some_at_once(map(self.add, entries)))

    async def seen(self, sha256: str, origin: str, sighting: Sighting) -> bool:
        """Note an origin of some bytes; whether it is new."""
        return await self._objects.create(keys.fake_seen(sha256, origin), msgspec.json.encode(sighting))

    async def stored(self, sha256: str) -> str:
        """The id of a video that is stored and has these bytes; empty where there is none."""
        try:
            blob = msgspec.json.decode(await self._objects.get(keys.content(sha256)), type=Blob)
        except (KeyError, msgspec.DecodeError):
            return ""
        return keys.media_of(blob.key) if await self._objects.stat(blob.key) else ""

    async def unseen(self, sha256: str, origin: str) -> None:
        """Take back what was noted of an origin."""
        await self._objects.delete(keys.fake_seen(sha256, origin))

    async def origins(self, sha256: str, most: int) -> list[str]:
        """The keys of the sightings of some bytes, one an origin; `most` at most."""
        found = []
        async for stat in self._objects.list(keys.fake_seen(sha256)):
            found.append(stat.key)
            if len(found) >= most:
                break
        return found

    async def sightings(self) -> dict[str, list[str]]:
        """The keys of all sightings, by hash."""
        found: dict[str, list[str]] = {}
        async for stat in self._objects.list(keys.fake_seen()):
            found.setdefault(stat.key.split("/")[2], []).append(stat.key)
        return found

    async def suspect(self, sha256: str, sightings: list[str]) -> Suspect | None:
        """What `sightings` say of some bytes; None where they are gone."""
        samples = [s async for s in self._read(sightings[:SAMPLES])]
        return Suspect(sha256, samples[0].size, len(sightings), samples) if samples else None

    async def _read(self, sightings: Iterable[str]) -> AsyncIterator[Sighting]:
        for key in sightings:
            try:
                yield msgspec.json.decode(await self._objects.get(key), type=Sighting)
            except (KeyError, msgspec.DecodeError):
                continue

    async def refused(self, entry: Entry, refusal: str, memo: str) -> None:
        """Note that an entry refused a video by its bytes, and the key of the manifest that remembers it."""
        await self._objects.create(keys.fake_refused(entry.kind, entry.what, refusal), memo.encode())

    async def _forgive(self, entry: Entry) -> None:
        """Forget what remembers the videos that an entry refused, so that they can be tried again."""
        async for stat in self._objects.list(keys.fake_refused(entry.kind, entry.what)):
            await self._objects.delete((await self._objects.get(stat.key)).decode())
            await self._objects.delete(stat.key)


async def _some_at_once(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """What is awaited, in its order, AT_ONCE at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[Result]) -> Result:
        async with limit:
            return await each

    return await asyncio.gather(*map(one, work))


def _key(entry: Entry) -> str:
    name = entry.what
    if entry.kind == "url":
        name = base64.urlsafe_b64encode(entry.what.encode()).decode().rstrip("=")
    return keys.fake(_VERDICTS[entry.fine], entry.kind, name)


def _from_key(key: str) -> Entry | None:
    """The entry that a key says, without its note; None where it says none."""
    verdict, _, rest = key.removeprefix(keys.FAKES).partition(".")
    kind, _, name = rest.partition(".")
    if verdict not in _VERDICTS.values() or kind not in KINDS:
        return None
    try:
        text = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode() if kind == "url" else name
        return read(text, kind=kind, fine=verdict == "fine")
    except (ValueError, binascii.Error):
        return None
