"""A fetch node without a worker: real leases, a real directory store, jobs made by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from lodestream.bus import connect
from lodestream.job import Job, Parts
from lodestream.leases import NatsLeases
from lodestream.memo import Noted
from lodestream.objects import open_objects
from lodestream.streams import ensure_streams
from proto.messages import Candidate, Media
from services.fetch.node import NODE
from tests.support.servers import start_nats


@dataclass
class Fetching:
    """Fetches one candidate after another, each with settings of its own."""

    parts: Parts
    state: Any

    async def fetch(
        self,
        url: str,
        ident: str = "web-1",
        *,
        attempt: int = 1,
        flow: str = "f",
        recipe: str = "r1",
        title: str = "A title",
        wanted: str = "",
        **settings: Any,
    ) -> Media:
        """Runs the node's handler as the engine does. Raises what it raises."""
        candidate = Candidate(id=ident, url=url, source="127.0.0.1", seed="s", title=title)
        job = self.job(attempt, flow, recipe, settings)
        job.wanted = wanted
        ((port, media),) = [output async for output in NODE.handler(candidate, job)]
        assert port == "media"
        assert isinstance(media, Media)
        assert NODE.settle
        await NODE.settle(media, job)
        return media

    def job(self, attempt: int, flow: str, recipe: str, settings: dict[str, Any]) -> Job:
        """A job of node `get`."""
        return Job(
            flow=flow,
            node="get",
            node_type="fetch",
            settings=NODE.read_settings(settings),
            recipe=recipe,
            entity="e",
            cause="c",
            attempt=attempt,
            objects=Noted(self.parts.objects),
            parts=self.parts,
            state=self.state,
        )

    async def keys(self, prefix: str = "media/") -> list[str]:
        """What is stored."""
        return [stat.key async for stat in self.parts.objects.list(prefix)]

    def left(self) -> list[str]:
        """Temporary files that are there though nothing is being done; the pipes of the probes belong there."""
        found = [path.relative_to(self.parts.work) for path in self.parts.work.rglob("*")]
        return [str(path) for path in found if not path.parts[0].startswith("probe-")]


@asynccontextmanager
async def fetching(folder: Path) -> AsyncIterator[Fetching]:
    """A server, a store and the node, below `folder`."""
    work = folder / "work"
    work.mkdir()
    with start_nats(folder) as server:
        bus = await connect(server.url, patience=5)
        await ensure_streams(bus.nc)
        leases = NatsLeases(bus)
        parts = Parts(open_objects(f"file://{folder}/objects"), leases, work, structlog.get_logger())
        assert NODE.open
        async with NODE.open(parts) as state:
            yield Fetching(parts, state)
        await leases.close()
        await bus.close()
