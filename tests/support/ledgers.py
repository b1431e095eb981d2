"""Projects on a real server and a real store, as workers have them: shards in, verdicts out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import structlog

from lodestream.bus import connect
from lodestream.forget.tombs import Forgotten, Tombstone
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.ledger.pack import Verdict
from lodestream.objects import open_objects
from proto import ids
from services.dedup.cosine import usable
from services.dedup.memory import Ask
from services.dedup.project import Form, Project

RECIPE = "aaaaaaaa"
KIN = frozenset((RECIPE,))


def ask(media: str, rows: np.ndarray, shard: int = 0, recipe: str = RECIPE) -> Ask:
    """A shard of a video whose frames are a second apart."""
    entity = ids.entity(ids.shard_id(media, shard), recipe)
    good = usable(rows)
    times = [1000 * (256 * shard + place) for place in range(len(rows))]
    return Ask(entity, recipe, media, f"flow.flow.x.y.z.{entity}", list(range(len(rows))), times, [rows], good)


def kept(asks: Sequence[Ask], verdicts: Sequence[Verdict]) -> set[str]:
    """The ids of all frames that are new."""
    return {
        ids.frame_id(a.media, a.times[index]) for a, said in zip(asks, verdicts, strict=True) for index in said.unique
    }


def stone(*media: str) -> Forgotten:
    """As workers know of videos that were forgotten."""
    return Forgotten(*(Tombstone(kind="video", ident=each, at="2026-01-01T00:00:00+00:00") for each in media))


class Owner:
    """A worker's hands on a project."""

    def __init__(self, project: Project, parts: Parts):
        self.project, self.objects, self._parts = project, parts.objects, parts

    async def judge(self, asks: Sequence[Ask], kin: frozenset[str] = KIN) -> list[Verdict]:
        """All at once, in this order."""
        return await asyncio.gather(*(self.project.judge(each, kin) for each in asks))

    async def one_by_one(self, asks: Sequence[Ask]) -> list[Verdict]:
        """Each once the one before it has its verdict."""
        return [await self.project.judge(each, KIN) for each in asks]

    async def objects_of(self, form: Form, kind: Callable[[str], str]) -> list[str]:
        """The keys of what there is of a ledger, of one kind."""
        return [stat.key async for stat in self.objects.list(kind(form.prefix))]

    async def let_go(self) -> None:
        """Wait until it has no work, and does not own the project any more."""
        if self.project._working:  # type: ignore[attr-defined]
            await self.project._working  # type: ignore[attr-defined]

    def forget(self, forgotten: Forgotten) -> None:
        """As a worker that hears of tombstones."""
        self._parts.forgotten._set(forgotten.stones)


@asynccontextmanager
async def owner(nats: str, store: str, work: Path, form: Form) -> AsyncIterator[Owner]:
    """A worker of its own; what it has in memory is gone at the end."""
    async with AsyncExitStack() as stack:
        bus = await connect(nats, patience=20)
        stack.push_async_callback(bus.close)
        leases = NatsLeases(bus)
        stack.push_async_callback(leases.close)
        objects = open_objects(store, work)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        parts = Parts(objects, leases, work, structlog.get_logger())
        project = Project(form, parts, pool)
        stack.push_async_callback(project.close)
        yield Owner(project, parts)
