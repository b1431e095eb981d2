"""Where what was received is kept: as it came, before more is asked for, never written over."""

from itertools import count
from typing import NamedTuple, TypeVar

import msgspec

from lodestream.errors import Outage
from lodestream.job import Job
from proto import ids, keys
from proto.messages import Seed
from services.records.waiting import wait

Kept = TypeVar("Kept", bound=msgspec.Struct)

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries to store while the store takes nothing."""


class Batch(NamedTuple):
    """Records as they came, and where they stood."""

    page: str
    """Key of the object that has them; empty where none has."""
    entries: list[tuple[int, bytes]]
    """Position, from 1, and text of each."""


class Shelf:
    """The stored pages of one collection: the same for every flow, node and setting."""

    def __init__(self, job: Job, seed: Seed):
        self._job, self._objects, self.name = job, job.objects, collection(seed)

    def key(self, request: str, turn: int = 0) -> str:
        """Where the answer to a request lies; another `turn` where the one before was of no use."""
        return keys.page(self.name, ids.digest(request.encode()), turn)

    async def find(self, key: str, kind: type[Kept]) -> Kept | None:
        """What is stored there; nothing where somebody has damaged it."""
        try:
            return msgspec.json.decode(await self._objects.get(key), type=kind)
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    async def keep(self, key: str, page: Kept) -> Kept:
        """Store it; what somebody else stored there first goes before, unless it can no longer be read.

        While the store takes nothing it is held here: it was paid for, and is not to be asked for again.
        """
        for turn in count(1):
            try:
                return await self._keep(key, page)
            except Outage as why:
                await wait(self._job, "the object store", turn, why, PAUSES[min(turn, len(PAUSES)) - 1])
        raise AssertionError("unreachable")

    async def _keep(self, key: str, page: Kept) -> Kept:
        data = msgspec.json.encode(page)
        if await self._objects.create(key, data):
            return page
        if first := await self.find(key, type(page)):
            return first
        await self._objects.put(key, data)
        return page


def collection(seed: Seed) -> str:
    """Names what a seed looks at: its limit and labels make no difference, another round is another collection."""
    return ids.digest(f"{seed.value}\0{seed.round}".encode())
