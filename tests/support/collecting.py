"""A records node without a worker: real leases, a real directory store, jobs made by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from lodestream.bus import connect
from lodestream.job import Job, Parts, Refusal
from lodestream.leases import NatsLeases
from lodestream.memo import Noted
from lodestream.objects import open_objects
from lodestream.streams import ensure_streams
from proto.messages import Listing, Record, Seed
from services.records.node import NODE
from tests.support.servers import start_nats

API = {"items": "data.items", "cursor": "meta.cursor", "cursor_param": "cursor"}
"""Settings for the paged API that behaves."""


@dataclass
class Collected:
    """What came of a seed."""

    records: list[Record]
    listing: Listing | None
    refused: list[Refusal]
    error: Exception | None

    @property
    def data(self) -> list[Any]:
        """The records as Python has them."""
        return [msgspec.json.decode(each.data) for each in self.records]


@dataclass
class Collecting:
    """Collects one seed after another, each with settings of its own."""

    parts: Parts
    state: Any
    allow: list[str]

    async def collect(
        self, value: str, *, attempt: int = 1, seed: dict[str, Any] | None = None, **settings: Any
    ) -> Collected:
        """Runs the node's handler as the engine does; keeps what it raises."""
        wanted = Seed(id="records-1", kind="records", value=value, **(seed or {}))
        job = self.job(attempt, **settings)
        came = Collected([], None, job.refused, None)
        try:
            async for port, message in NODE.handler(wanted, job):
                if port == "records":
                    assert isinstance(message, Record)
                    came.records.append(message)
                else:
                    assert isinstance(message, Listing)
                    came.listing = message
        except Exception as error:
            came.error = error
        return came

    def job(self, attempt: int = 1, **settings: Any) -> Job:
        """A job of node `mine`."""
        given = NODE.read_settings({"allow_hosts": self.allow, **settings})
        noted = Noted(self.parts.objects)
        return Job("f", "mine", "records", given, "r", "e", "c", attempt, noted, self.parts, self.state)

    async def keys(self, prefix: str = "records/") -> list[str]:
        """What is stored."""
        return [stat.key async for stat in self.parts.objects.list(prefix)]


@asynccontextmanager
async def collecting(folder: Path, *allow: str) -> AsyncIterator[Collecting]:
    """A server, a store and the node, below `folder`; addresses that it may dial."""
    (folder / "work").mkdir()
    with start_nats(folder) as server:
        bus = await connect(server.url, patience=5)
        await ensure_streams(bus.nc)
        leases = NatsLeases(bus)
        parts = Parts(open_objects(f"file://{folder}/objects"), leases, folder / "work", structlog.get_logger())
        assert NODE.open
        async with NODE.open(parts) as state:
            yield Collecting(parts, state, list(allow))
        await leases.close()
        await bus.close()
