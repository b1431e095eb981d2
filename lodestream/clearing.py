"""Videos that nobody needs any more are removed, where every node that takes them says `keep_media: false`.

What lies in their place says what they were: it is known that they were had, and nobody downloads them for that again.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec
import nats.js.errors
from nats.js.api import ConsumerConfig, DeliverPolicy

from lodestream.blobs import look, remove
from lodestream.bus import Bus
from lodestream.bus.reader import held
from lodestream.flow import consumers
from lodestream.flow.model import Deployed, DeployedNode
from lodestream.flows import deployed_flows
from lodestream.healing import LONGEST
from lodestream.makers import Said, passed, said
from lodestream.memo import Memo
from lodestream.objects import Objects
from lodestream.passing import again_and_again
from lodestream.registry import node_types
from proto import ids, subjects

EVERY = 2.0
"""Seconds between looks."""
MOST = 20_000
"""Videos that are waited for at once."""


class Taken(NamedTuple):
    """A node that takes a video, and the sequence of the message that says so."""

    flow: str
    name: str
    node: DeployedNode
    seq: int


class Clearer:
    """Removes what was used; knows nothing that it could not find out again."""

    def __init__(self, bus: Bus, objects: Objects, say: Callable[[str], None]):
        self._bus, self._js, self._objects, self._say = bus, bus.nc.jetstream(), objects, say
        self._flows: dict[str, Deployed] = {}
        self._next: dict[tuple[str, str], int] = {}
        """Sequence to read on from, by flow and wire."""
        self._waiting: dict[str, tuple[Said, float, float]] = {}
        """Videos by key: when to look again, and the pause after that, in seconds."""
        self._infos: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await again_and_again("clearing", self._round, EVERY, self._say)

    def look_at(self, video: Said) -> None:
        """See to a video that is there, or will be once more."""
        self._waiting[video.object_key] = (video, 0.0, EVERY)

    async def _round(self) -> None:
        flows = await deployed_flows(self._bus)
        if flows != self._flows:  # other nodes may take the same now, or let go of it
            self._flows, self._next, self._waiting = flows, {}, {}
        self._infos = {}
        for flow, record in flows.items():
            for name, node in record.nodes.items():
                if not _keeps(node):
                    for wire in node.wires:
                        await self._read(flow, name, wire)
        now = asyncio.get_running_loop().time()
        for key, (video, due, pause) in list(self._waiting.items()):
            if due > now:
                continue
            self._waiting[key] = (video, now + pause, min(2 * pause, LONGEST))
            if await self._is_settled(video):
                del self._waiting[key]

    async def _read(self, flow: str, name: str, wire: str) -> None:
        """Take in the videos of a wire that a node has acked since the last look."""
        stream, first = subjects.stream(flow), self._next.get((flow, wire), 1)
        if await consumers.last_sequence(self._bus.nc, stream) < first:
            return
        since = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
        async with aclosing(held(self._js, stream, wire, since)) as found:
            async for msg in found:
                seq = msg.metadata.sequence.stream
                if len(self._waiting) >= MOST or not await self._has_acked(flow, name, seq):
                    break
                self._next[flow, wire] = seq + 1
                video = said(msg.data)
                if video.object_key:
                    self.look_at(video)

    async def _is_settled(self, video: Said) -> bool:
        """Remove it where nobody waits for it; False where somebody may still be done with it later."""
        takers = await self._takers(video)
        if any(_keeps(taker.node) for taker in takers):
            return True
        for taker in takers:
            if not await self._is_done(taker, video):
                return False
        if takers and await self._objects.stat(video.object_key):
            await remove(self._objects, video.blob)
        return True

    async def _takers(self, video: Said) -> list[Taken]:
        """Every node of every deployed flow that was or will be given this video."""
        found = []
        for flow, record in self._flows.items():
            for name, node in record.nodes.items():
                for wire, recipes in node.wires.items():
                    for recipe in recipes if not subjects.is_seed(wire) else ():
                        subject = wire.removesuffix("*") + ids.entity(video.id, recipe)
                        if seq := await self._speaks_of(flow, subject, video.object_key):
                            found.append(Taken(flow, name, node, seq))
        return found

    async def _speaks_of(self, flow: str, subject: str, key: str) -> int:
        """The sequence of the message on this subject, where it speaks of this object; else 0."""
        try:
            stored = await self._js.get_last_msg(subjects.stream(flow), subject)
            return (stored.seq or 0) if said(stored.data or b"").object_key == key else 0
        except (nats.js.errors.NotFoundError, msgspec.MsgspecError):
            return 0

    async def _is_done(self, taker: Taken, video: Said) -> bool:
        """Whether a node has acked it and all that it made of it is there."""
        if not await self._has_acked(taker.flow, taker.name, taker.seq):
            return False
        declaration = node_types()[taker.node.type]
        recipe = declaration.recipe(declaration.read_settings(taker.node.settings), video.recipe)
        manifest = await Memo(self._objects, declaration.type, recipe).read(video.id)
        if manifest is None:
            return False
        return all([(await look(self._objects, blob))[0] == "whole" for blob in manifest.blobs])

    async def _has_acked(self, flow: str, name: str, seq: int) -> bool:
        """Whether every consumer of a node had all up to `seq` acked when this round began."""
        if flow not in self._infos:
            self._infos[flow] = await consumers.infos(self._bus.nc, flow)
        infos = self._infos[flow]
        mine = [(c.stream, c.durable) for c in self._flows[flow].consumers() if c.node == name]
        return all(key in infos and passed(infos[key], seq) for key in mine)


def _keeps(node: DeployedNode) -> bool:
    """Whether a node wants the videos that it takes to stay; only what says otherwise does not."""
    return node.settings.get("keep_media", True) is not False
