"""Streams and objects as flows leave them, made by hand, for tests of forgetting."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lodestream.bus import Bus, connect
from lodestream.forget.plan import Plan, plan
from lodestream.forget.work import forget
from lodestream.ledger.pack import Judged, Verdict, packed
from lodestream.memo import Made, Manifest, sealed
from lodestream.objects import Objects, open_objects
from lodestream.streams import BASE, ensure_stream, ensure_streams
from proto import ids, keys, subjects
from proto.messages import (
    Candidate,
    DeadLetter,
    Kept,
    Listing,
    Media,
    Message,
    Rejected,
    Repeat,
    Seed,
    Shard,
    Unique,
    encode,
)
from tests.support.cli import flow_stream

RECIPE = "aaaaaaaa"


@dataclass
class World:
    """A server, a store, and what flows gave."""

    bus: Bus
    objects: Objects

    async def flow(self, name: str) -> None:
        """A flow's stream; no flow is deployed, as after its removal."""
        await ensure_stream(self.bus.nc, BASE | flow_stream(name))

    async def say(self, flow: str, node: str, port: str, message: Message, cause: str) -> str:
        """Store one output; its subject."""
        message.cause = cause
        subject = subjects.output(flow, node, node, port, ids.entity(message.id, message.recipe))
        await self._store(subject, encode(message))
        return subject

    async def seed(self, flow: str, ident: str, value: str, kind: str = "query") -> str:
        """A seed, published and understood; the subject of the latter."""
        await self._store(subjects.seeds(flow), value.encode())
        seed = Seed(id=ident, kind=kind, value=value)  # type: ignore[arg-type]
        said = await self.say(flow, "intake", "seeds", seed, subjects.seeds(flow))
        await self.say(flow, "discover", "listings", Listing(id=ident, offered=1, recipe=RECIPE), said)
        return said

    async def remember(self, seed: str, *candidates: Candidate) -> None:
        """What discover remembers of a seed."""
        made = [Made("candidates", msgspec.Raw(encode(candidate))) for candidate in candidates]
        manifest = Manifest(type="discover", recipe=RECIPE, input=seed, at="", seconds=1, outputs=made)
        await self.objects.put(keys.memo("discover", RECIPE, seed), sealed(manifest))

    async def candidate(self, flow: str, ident: str, seed: str, source: str = "example.org") -> str:
        """A video that a seed led to."""
        subject = subjects.output(flow, "intake", "intake", "seeds", seed)
        return await self.say(flow, "discover", "candidates", candidate(ident, seed, source), subject)

    async def video(self, flow: str, ident: str, seed: str, sha256: str, source: str = "example.org") -> None:
        """A video from candidate to frames, with its objects and manifests."""
        found = await self.candidate(flow, ident, seed, source)
        key = keys.media(ident, RECIPE, sha256, "mp4")
        about = {"url": f"https://{source}/{ident}", "source": source, "container": "mp4", "codec": "h264"}
        media = Media(
            id=ident, recipe=RECIPE, sha256=sha256, bytes=9, width=1, height=1, object_key=key, title="A title", **about
        )
        fetched = await self.say(flow, "fetch", "media", media, found)
        name = ids.shard_id(ident, 0)
        where = keys.shard(RECIPE, ident, name, "0" * 64)
        arrays = {"time_ms": [0], "offset": [512], "length": [9]}
        shard = Shard(
            id=name, recipe=RECIPE, media_id=ident, source=source, object_key=where, index=0, width=1, height=1,
            sampler="every 1s", **arrays
        )  # fmt: skip
        await self.say(flow, "extract", "shards", shard, fetched)
        for stored in (key, where, keys.memo("fetch", RECIPE, ident), keys.memo("extract", RECIPE, ident)):
            await self.objects.put(stored, b"something")
        await self.objects.put(keys.content(sha256), key.encode())
        await self.objects.put(keys.claim(flow, RECIPE, sha256), ident.encode())

    async def duplicate(self, flow: str, ident: str, seed: str, of: str) -> None:
        """A video with the bytes of another."""
        found = await self.candidate(flow, ident, seed)
        no = Rejected(id=ident, reason="duplicate", repeats=of, source="example.org", recipe=RECIPE)
        await self.say(flow, "fetch", "rejected", no, found)

    async def dead(self, flow: str, ident: str, cause: str) -> None:
        """A dead letter of a candidate."""
        said = DeadLetter(
            id=ident, flow=flow, node_type="fetch", node="fetch", entity=ident, reason="late", at="",
            input_subject=cause, input=encode(candidate(ident, "s")).decode()
        )  # fmt: skip
        await self._store(subjects.dead(flow, "fetch", "fetch", ident), encode(said))

    async def looked_at(self, flow: str, ident: str) -> None:
        """What a filter and a dedup say of a video's one shard."""
        name = ids.shard_id(ident, 0)
        subject = subjects.output(flow, "extract", "extract", "shards", ids.entity(name, RECIPE))
        data = (await self.bus.nc.jetstream().get_last_msg(subjects.stream(flow), subject)).data or b""
        shard = msgspec.json.decode(data, type=Shard)
        about = {"id": name, "recipe": RECIPE, "media_id": ident, "source": shard.source, "shard": shard}
        kept = await self.say(flow, "filter", "kept", Kept(**about, kept=[], reason=["dark"], detail=["dark"]), subject)
        repeat = Repeat(index=0, frame=ids.frame_id(ident, 0), similarity=1, by="phash")
        await self.say(flow, "dedup", "unique", Unique(**about, unique=[], repeats=[repeat]), kept)

    async def judged(self, flow: str, one: str, other: str) -> None:
        """A ledger: a frame of each was kept, and another of the second repeats that of the first."""
        said = []
        for media in (one, other):
            repeats = [Repeat(index=1, frame=ids.frame_id(one, 0), similarity=0.99, by="vectors")] * (media == other)
            verdict = msgspec.json.encode(Verdict(unique=[0], repeats=repeats))
            entity = ids.entity(ids.shard_id(media, 0), RECIPE)
            said.append((Judged(entity, RECIPE, media, f"flow.{flow}.x.y.z.{entity}", 1), verdict))
        arrays = {"times": ([bytes(16)], 8), "vectors": ([b"\1" * 64, b"\2" * 64], 64)}
        ledger = keys.ledger(flow, "dedup", RECIPE)
        await self.objects.put(keys.ledger_entry(ledger, 0), packed("origin", 0, 0, said, arrays))

    async def forget(self, what: str, *, again: bool = False) -> Plan:
        """As the command does with --yes."""
        made = await plan(self.bus, self.objects, what)
        await forget(self.bus, self.objects, made, again=again)
        return made

    async def messages(self) -> dict[str, bytes]:
        """Every stored message but the notices to the catalog, by stream and subject."""
        js, found = self.bus.nc.jetstream(), {}
        for info in await js.streams_info():
            for seq in range(info.state.first_seq, info.state.last_seq + 1):
                try:
                    msg = await js.get_msg(info.config.name or "", seq=seq)
                except Exception:
                    continue
                if ".forget." not in (msg.subject or ""):
                    found[f"{info.config.name} {seq} {msg.subject}"] = msg.data or b""
        return found

    async def stored(self) -> dict[str, bytes]:
        """Every object but tombstones."""
        return {s.key: await self.objects.get(s.key) async for s in self.objects.list("") if not _is_stone(s.key)}

    async def traces(self, *words: str) -> list[str]:
        """Where any of these words still stands, but for refusals because of tombstones."""
        everything = {**await self.messages(), **await self.stored()}
        return [
            where
            for where, data in everything.items()
            for word in words
            if (word in where or word.encode() in data) and b'"reason":"forgotten"' not in data
        ]

    async def _store(self, subject: str, data: bytes) -> None:
        answer = json.loads((await self.bus.nc.request(subject, data)).data)
        assert "error" not in answer, answer


def candidate(ident: str, seed: str, source: str = "example.org") -> Candidate:
    """A video at an address of its own."""
    return Candidate(id=ident, url=f"https://{source}/{ident}", source=source, seed=seed)


def _is_stone(key: str) -> bool:
    return key.startswith(keys.TOMBSTONES)


@asynccontextmanager
async def world(url: str, folder: Path) -> AsyncIterator[World]:
    """On a running server."""
    bus = await connect(url, patience=10)
    await ensure_streams(bus.nc)
    try:
        yield World(bus, open_objects(f"file://{folder}/objects"))
    finally:
        await bus.close()
