"""What the server knows of the streams: which there are, how far each is, when a message was stored."""

import json
from typing import NamedTuple

from nats.js.errors import NotFoundError

from lodestream.bus import Bus
from proto import subjects

PATIENCE = 2.0
"""Seconds for the server to answer."""


class Standing(NamedTuple):
    """One stream: when it was made, and the sequence of its last message."""

    created: str
    last: int


async def flow_streams(bus: Bus) -> list[str]:
    """The streams of all flows. Raises TimeoutError and nats.errors.Error."""
    names: list[str] = []
    while True:
        ask = json.dumps({"subject": subjects.EVERY_OUTPUT, "offset": len(names)}).encode()
        answer = json.loads((await bus.nc.request("$JS.API.STREAM.NAMES", ask, timeout=PATIENCE)).data)
        names += answer.get("streams") or []
        if len(names) >= answer.get("total", 0) or not answer.get("streams"):
            return names


async def standing(bus: Bus, stream: str) -> Standing:
    """Raises NotFoundError where there is no such stream, TimeoutError, nats.errors.Error."""
    info = await bus.nc.jetstream(timeout=PATIENCE).stream_info(stream)
    return Standing(info.created.isoformat() if info.created else "", info.state.last_seq)


async def stored_at(bus: Bus, stream: str, seq: int) -> int | None:
    """When the stream stored its message `seq`, in microseconds since 1970; None where it has it no more."""
    try:
        found = await bus.nc.jetstream(timeout=PATIENCE).get_msg(stream, seq=seq)
    except NotFoundError:
        return None
    return round(found.time.timestamp() * 1e6) if found.time else None
