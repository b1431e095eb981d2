"""The best frames of a video, whichever of its shards comes first: each looks at all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from heapq import nsmallest
from typing import NamedTuple

import msgspec

from lodestream.job import Job
from lodestream.memo import Memo
from proto import ids
from proto.messages import Shard
from services.filter import judge
from services.filter.look import Seen
from services.filter.node import MAKER

MOST = 4096
"""Shards whose best frames are remembered in a worker."""


class Rank(NamedTuple):
    """A frame that is left, best first: by its best score, then by time."""

    probability: float
    """Below zero: the least rank is the best."""
    logit: float
    time_ms: int
    frame: int


class Ranks:
    """The best frames of shards, for one worker."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[Rank]] = {}

    async def choose(
        self, job: Job, shard: Shard, seen: Seen, look: Callable[[Shard, Sequence[int]], Awaitable[Seen]]
    ) -> None:
        """Drop all frames of the shard that are not among the best of its video; `look` looks at another shard of it.

        Where nothing says what shards the video has, because something came between, they are the best of the shard.
        """
        count = job.settings.top_k
        mine = self._rank(job, shard, seen)
        shards = await _shards(job, shard)
        rivals = list(mine)
        for other in sorted(shards, key=lambda other: ids.digest(f"{shard.index} {other.index}".encode())):
            if other.object_key == shard.object_key:
                continue
            if (job.recipe, other.object_key) not in self._known:  # shards that are at it go different ways
                self._rank(job, other, await look(other, range(len(other.time_ms))))
            rivals += self._known[job.recipe, other.object_key]
        best = set(nsmallest(count, rivals))
        for rank in _left(shard, seen):
            if rank not in best:
                seen.no[rank.frame] = judge.not_best(job.settings, "video" if shards else "shard")

    def _rank(self, job: Job, shard: Shard, seen: Seen) -> list[Rank]:
        """Remembered: the best of a shard, of which no more than that many can be among the best of its video."""
        while len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        best = nsmallest(job.settings.top_k, _left(shard, seen))
        self._known[job.recipe, shard.object_key] = best
        return best


def _left(shard: Shard, seen: Seen) -> list[Rank]:
    """The frames that nothing is said against, with how well they fit."""
    scores = enumerate(seen.best)
    return [Rank(-s.probability, -s.logit, shard.time_ms[i], i) for i, s in scores if s and seen.no[i] is None]


async def _shards(job: Job, shard: Shard) -> list[Shard]:
    """All shards of the video; empty where that is not known."""
    manifest = await Memo(job.parts.objects, MAKER, shard.recipe).read(shard.media_id)
    made = [msgspec.json.decode(each.message, type=Shard) for each in manifest.outputs] if manifest else []
    return made if shard.object_key in [other.object_key for other in made] else []
