"""A real server with the streams of an instance and of one flow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lodestream.bus import Bus, connect
from lodestream.streams import BASE, ensure_stream, ensure_streams
from proto import subjects
from tests.support.servers import start_nats


@asynccontextmanager
async def bus_with_streams(folder: Path, flow: str) -> AsyncIterator[Bus]:
    """A connection to a server of its own, which has every stream; nothing is deployed."""
    with start_nats(folder) as server:
        bus = await connect(server.url, patience=5)
        await ensure_streams(bus.nc)
        await ensure_stream(bus.nc, BASE | flow_stream(flow))
        yield bus
        await bus.close()


def flow_stream(flow: str) -> dict[str, object]:
    """The configuration of a flow's stream: each identity is stored once."""
    once = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True, "allow_direct": True}
    return {"name": subjects.stream(flow), "subjects": [subjects.everything(flow)], **once}
