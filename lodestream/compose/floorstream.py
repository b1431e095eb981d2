"""Notes of how far nodes are, on the server whose end they are about: older ones outlive what a power cut takes."""

from typing import Any

import nats.js.errors
from nats.aio.client import Client

from lodestream.streams import BASE, ensure_stream
from proto import subjects

STREAM: dict[str, Any] = BASE | {
    "name": subjects.HOUSE,
    "subjects": [subjects.FLOORS],
    "max_msgs_per_subject": 4,
    "discard": "old",
}
"""Some more than the last: the newest may be lost with the messages that it speaks of."""
ANSWER = 5.0
"""Seconds that the server has for one."""


class FloorStream:
    """See `floors.Place`."""

    def __init__(self, nc: Client):
        self._nc, self._js = nc, nc.jetstream(timeout=ANSWER)

    async def read(self) -> bytes | None:
        """See Place."""
        try:
            return (await self._js.get_last_msg(subjects.HOUSE, subjects.FLOORS)).data or None
        except nats.js.errors.NotFoundError:
            return None

    async def write(self, data: bytes) -> None:
        """See Place."""
        await ensure_stream(self._nc, STREAM)
        await self._js.publish(subjects.FLOORS, data)

    async def clear(self) -> None:
        """See Place."""
        await self._js.publish(subjects.FLOORS, b"")
