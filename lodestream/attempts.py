"""Failed attempts at a message, kept with the objects: whichever worker tries next knows how often, and why."""

import contextlib

import msgspec

from lodestream.bus import Delivery
from lodestream.errors import Outage
from lodestream.letters import WORKER, now
from lodestream.objects import Objects
from proto import keys
from proto.messages import Attempt, encode

_decode = msgspec.json.Decoder(list[Attempt]).decode


class Attempts:
    """Failed attempts at the messages of one node. The first delivery of a message has none, so nothing is asked."""

    def __init__(self, flow: str, node: str, objects: Objects):
        self._flow, self._node, self._objects = flow, node, objects

    async def failed(self, delivery: Delivery) -> list[Attempt]:
        """Those so far, here or elsewhere; a worker that died in the middle of one noted nothing. Raises Outage."""
        if delivery.attempt == 1:
            return []
        try:
            return _decode(await self._objects.get(self._key(delivery)))
        except (KeyError, msgspec.MsgspecError):
            return []

    async def note(self, delivery: Delivery, error: Exception) -> list[Attempt]:
        """Keep one more; gives all of them, or only this one while the object store is away."""
        tried = [Attempt(now(), f"{type(error).__name__}: {error}", WORKER)]
        with contextlib.suppress(Outage):
            tried = await self.failed(delivery) + tried
            await self._objects.put(self._key(delivery), encode(tried))
        return tried

    async def forget(self, delivery: Delivery) -> None:
        """They no longer matter: the message has come to its end."""
        with contextlib.suppress(Outage):
            await self._objects.delete(self._key(delivery))

    def _key(self, delivery: Delivery) -> str:
        return keys.attempts(self._flow, self._node, delivery.token)


async def forget_all(objects: Objects, flow: str = "") -> None:
    """What was noted of any message, or of any of one flow, is void: their consumers are gone, or made anew.

    Whatever is delivered by another is delivered for the first time. Raises Outage.
    """
    async for found in objects.list(keys.attempts_of(flow)):
        await objects.delete(found.key)
