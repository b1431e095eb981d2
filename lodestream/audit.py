"""What every message and manifest says of objects, against what the store has; joined on disk.

An object whose version is the recorded one is not read. Only what is wrong is held in memory.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from lodestream.blobs import Blob, Same, look, was_removed
from lodestream.bus import Bus
from lodestream.bus.reader import held
from lodestream.flows import deployed_flows
from lodestream.forget.survey import flow_streams
from lodestream.ledger.pack import Broken, check
from lodestream.makers import said
from lodestream.memo import unsealed
from lodestream.objects import Objects, Stat
from lodestream.registry import node_types
from proto import keys, subjects

TABLES = """
create table wanted
    (key text primary key, size int, sha256 text, version text, subject text, cause text) without rowid;
create table there (key text primary key, size int, version text) without rowid;
create table naming (key text, record text, primary key (key, record)) without rowid;
create table unreadable (kind text, key text);
"""
SAID = "insert or ignore into wanted values (?, ?, ?, '', ?, ?)"
NOTED = """
insert into wanted values (?1, ?2, ?3, ?4, '', '') on conflict (key) do update set
    version = iif(?4 = '', version, ?4), size = iif(sha256 = '', ?2, size), sha256 = iif(sha256 = '', ?3, sha256)
"""
"""A message goes before a manifest; one of before messages had digests is completed."""
DOUBTFUL = """
select w.* from wanted w left join there t on t.key = w.key
where ? or t.key is null or t.size <> w.size or t.version <> w.version order by w.key
"""
STRAY = "select t.* from there t left join wanted w on w.key = t.key where w.key is null order by t.key"
BATCH, AT_ONCE = 500, 32
Kind = Literal["missing", "wrong", "unreadable", "ledger", "stray", "touched"]


class Found(NamedTuple):
    """One object that is not as it should be."""

    kind: Kind
    key: str
    blob: Blob | None = None
    """What it should be; for what was only touched, with the version that it has now."""
    subject: str = ""
    """Of a message that speaks of it; empty where none does."""
    cause: str = ""
    """What that message was made from."""


class Audit:
    """One look at everything; a folder for temporary files is needed, and given back by `close`."""

    def __init__(self, bus: Bus, objects: Objects, folder: Path, *, deep: bool = False):
        """`deep` reads every object."""
        self._bus, self._js, self._objects, self._deep = bus, bus.nc.jetstream(), objects, deep
        self._db = sqlite3.connect(folder / "audit.db")
        self._db.executescript("pragma journal_mode = off; pragma synchronous = off;" + TABLES)
        self.objects = self.messages = self.records = 0
        """How many were looked at."""

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    async def gather(self) -> None:
        """Read what messages say, then what lies in the store: so what comes meanwhile is not taken for missing."""
        deployed = await deployed_flows(self._bus)
        flows = [subjects.flow_of(stream) for stream in await flow_streams(self._bus)]
        for flow in sorted(flows, key=lambda flow: flow not in deployed):  # their nodes can make it again
            await self._read_stream(flow)
        records: list[str] = []
        async for stat in self._objects.list(""):
            if keys.is_record(stat.key):
                records.append(stat.key)
                if len(records) == BATCH:
                    await self._read_records(records)
                    records.clear()
            elif keys.is_ledger(stat.key):
                await self._read_ledger(stat)
            elif keys.is_product(stat.key):
                self.objects += 1
                self._db.execute("insert into there values (?, ?, ?)", stat)
        await self._read_records(records)

    async def _read_stream(self, flow: str) -> None:
        for name, node in node_types().items():
            for port, kind in node.gives.items():
                if "object_key" in kind.__struct_fields__:
                    await self._read_wire(flow, subjects.wire(flow, name, "*", port))

    async def _read_wire(self, flow: str, wire: str) -> None:
        async for msg in held(self._js, subjects.stream(flow), wire):
            try:
                message = said(msg.data)
            except msgspec.MsgspecError:
                continue
            if message.object_key:
                self.messages += 1
                row = (message.object_key, message.bytes, message.sha256, msg.subject, message.cause)
                self._db.execute(SAID, row)

    async def _read_records(self, names: list[str]) -> None:
        """Manifests, and the small objects that name others."""
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            for key, data in zip(some, await asyncio.gather(*map(self._get, some)), strict=True):
                if data is None:
                    continue
                self.records += 1
                blobs = blobs_in(key, data)
                if blobs is None:
                    self._db.execute("insert into unreadable values ('unreadable', ?)", (key,))
                for blob in blobs or ():
                    self._db.execute(NOTED, (blob.key, blob.size, blob.sha256, blob.version))
                    self._db.execute("insert or ignore into naming values (?, ?)", (blob.key, key))

    async def _read_ledger(self, stored: Stat) -> None:
        self.objects += 1
        try:
            await check(self._objects, stored, deep=self._deep)
        except Broken:
            self._db.execute("insert into unreadable values ('ledger', ?)", (stored.key,))
        except KeyError:
            return  # it is in a segment by now

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self._objects.get(key)
        except KeyError:
            return None

    async def findings(self) -> AsyncIterator[Found]:
        """All that is not as it should be, looked at once more before it is said."""
        for kind, key in self._db.execute("select kind, key from unreadable"):
            yield Found(kind, key)
        cursor = self._db.cursor().execute(DOUBTFUL, (self._deep,))
        while rows := cursor.fetchmany(AT_ONCE):
            for found in await asyncio.gather(*(self._judged(Blob(*row[:4]), *row[4:]) for row in rows)):
                if found:
                    yield found
        for key, size, version in self._db.execute(STRAY):
            yield Found("stray", key, Blob(key, size, version=version))

    async def _judged(self, blob: Blob, subject: str, cause: str) -> Found | None:
        unread = msgspec.structs.replace(blob, version="") if self._deep else blob
        verdict, now = await look(self._objects, unread)
        if verdict == "whole":
            return Found("touched", blob.key, now) if blob.version not in ("", now.version) else None
        if verdict == "missing" and await was_removed(self._objects, blob):
            return None
        if verdict == "missing" and not subject and not await self._is_named(blob):
            return None
        return Found(verdict, blob.key, blob, subject, cause)

    async def _is_named(self, blob: Blob) -> bool:
        """Whether a manifest names it still: what is known of frames is replaced while we look."""
        records = self.naming(blob.key)
        named = zip(records, await asyncio.gather(*map(self._get, records)), strict=True)
        return any(data and blob.key in [other.key for other in blobs_in(key, data) or ()] for key, data in named)

    def naming(self, key: str) -> list[str]:
        """The keys of the manifests, indexes and aliases that name an object."""
        return [record for (record,) in self._db.execute("select record from naming where key = ?", (key,))]


def blobs_in(key: str, data: bytes) -> list[Blob] | None:
    """What a manifest, an index or an alias names; None where it cannot be read, or belongs elsewhere."""
    if keys.is_manifest(key):
        manifest = unsealed(data)
        right = manifest and keys.memo(manifest.type, manifest.recipe, manifest.input) == key
        return manifest.blobs if manifest and right else None
    try:
        if keys.is_alias(key):
            same = msgspec.json.decode(data, type=Same)
            return [same.blob] if key.startswith(keys.downloads(same.id, "")) else None
        blob = msgspec.json.decode(data, type=Blob)
        return [blob] if key == keys.content(blob.sha256) else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
