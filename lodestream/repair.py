"""Puts right what an audit has found.

What is gone or wrong is made again by its maker, and forgotten where no message speaks of it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import nats.errors
import nats.js.errors

from lodestream.audit import Audit, Found
from lodestream.blobs import look
from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow import store
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows
from lodestream.makers import offer_to_maker, said, what_came
from lodestream.memo import sealed, unsealed
from lodestream.objects import Objects
from lodestream.status import flow_status
from proto import keys, subjects

LOOKS = 1.0
"""Seconds between looks at what is being made."""
CALM = 15
"""Looks in a row at which nothing is made and nobody has work, after which waiting is in vain."""
PATIENCE = 300
"""The same, whoever has work."""


class Done(NamedTuple):
    """What became of one thing."""

    found: Found
    healed: bool
    said: str


class Repair:
    """Works on what is found, one after the other; `wait` then sees to what was given to makers."""

    def __init__(self, bus: Bus, objects: Objects, audit: Audit):
        self._bus, self._js, self._objects, self._audit = bus, bus.nc.jetstream(), objects, audit
        self._number = time.time_ns() // 1_000_000
        """Makes the offers of this repair its own."""
        self._flows: dict[str, Deployed] | None = None
        self._made: list[Found] = []

    async def put_right(self, found: Found) -> Done | None:
        """What was done; None where its maker has it to make, which takes its time."""
        if found.kind == "unreadable":
            await self._objects.delete(found.key)
            return Done(found, True, "removed: what it named is looked for anew")
        if found.kind == "ledger":
            flow, node = keys.ledger_owner(keys.ledger_of(found.key))
            return Done(found, False, f"its frames count as not seen, until: lode flow reset {flow} {node}")
        if found.kind == "stray":
            return Done(found, True, "left where it is")
        if found.kind == "touched":
            return Done(found, True, f"same bytes: noted in {await self._renew(found)} manifests")
        if found.kind == "wrong" and not await self._is_whole(found):  # it may have been made again since it was found
            await self._objects.delete(found.key)
        if not found.subject:
            for record in self._audit.naming(found.key):
                await self._objects.delete(record)
            return Done(found, True, "no message speaks of it: forgotten, and made again when it is wanted")
        return await self._have_it_made(found)

    async def _renew(self, found: Found) -> int:
        count = 0
        for key in self._audit.naming(found.key):
            manifest = unsealed(await self._objects.get(key)) if keys.is_manifest(key) else None
            if manifest and found.blob:
                manifest.blobs = [found.blob if blob.key == found.key else blob for blob in manifest.blobs]
                await self._objects.put(key, sealed(manifest))
                count += 1
        return count

    async def _have_it_made(self, found: Found) -> Done | None:
        maker = subjects.parse(found.subject)
        if self._flows is None:
            self._flows = await deployed_flows(self._bus)
        record = self._flows.get(maker.flow)
        if record is None or maker.node not in record.nodes:
            return Done(found, False, f"node {maker.node} of flow {maker.flow}, which made it, is not deployed")
        await self._objects.delete(keys.gone(found.key))
        try:
            await offer_to_maker(self._js, found.subject, found.cause, found.key, self._number)
        except LodeError as error:
            return Done(found, False, str(error))
        self._made.append(found)
        return None

    async def wait(self, say: Callable[[str], None]) -> list[Done]:
        """Wait for the makers; gives what became of each."""
        done: list[Done] = []
        calm = 0
        while self._made and calm < PATIENCE:
            await asyncio.sleep(LOOKS)
            left = [found for found in self._made if not await self._is_whole(found)]
            done += [Done(f, True, _made_by(f)) for f in self._made if f not in left]
            calm = 0 if len(left) < len(self._made) else calm + 1
            self._made = left
            if calm == 0:
                say(f"{len(done):,} made again, {len(left):,} to go")
            if calm >= CALM and not await self._is_anybody_busy():
                break
        return done + [Done(found, False, await self._why(found)) for found in self._made]

    async def _is_whole(self, found: Found) -> bool:
        return found.blob is not None and (await look(self._objects, found.blob))[0] == "whole"

    async def _is_anybody_busy(self) -> bool:
        for flow in {subjects.parse(found.subject).flow for found in self._made}:
            try:
                if (await flow_status(self._bus, await store.load_deployed(self._bus.nc, flow))).busy:
                    return True
            except (LodeError, nats.errors.Error, nats.js.errors.Error):
                return True
        return False

    async def _why(self, found: Found) -> str:
        message = await self._js.get_last_msg(subjects.stream(subjects.parse(found.subject).flow), found.subject)
        needs = said(message.data or b"")
        return f"not made again: {await what_came(self._js, self._objects, found.subject, needs)}; see: lode dead ls"


def _made_by(found: Found) -> str:
    maker = subjects.parse(found.subject)
    return f"made again by node {maker.node} of flow {maker.flow}"
