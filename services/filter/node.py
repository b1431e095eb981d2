"""filter: keeps the frames that are worth keeping, by cheap measures first and then by prompts, and says why not."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lodestream.errors import Malformed, Reject
from lodestream.inference import ACCESS, asked
from lodestream.job import Job, Parts
from lodestream.node import Kind, Node, Output
from proto import keys, subjects
from proto.messages import Kept, Shard, Unique
from services.filter.settings import Filter

if TYPE_CHECKING:
    from lodestream.inference.client import Triton
    from lodestream.inference.features import Features
    from lodestream.inference.prompts import Prompts
    from services.filter.look import Seen
    from services.filter.top import Ranks

MAKER = "extract"
"""The node type whose memo says which shards a video has."""


class Sight:
    """What a worker knows and asks; nothing of it is loaded before the first message."""

    def __init__(self, triton: "Triton"):
        self._triton = triton

    @cached_property
    def features(self) -> "Features":
        """Of frames."""
        from lodestream.inference.features import Features

        return Features(self._triton)

    @cached_property
    def prompts(self) -> "Prompts":
        """What the model makes of texts."""
        from lodestream.inference.prompts import Prompts

        return Prompts(self._triton)

    @cached_property
    def ranks(self) -> "Ranks":
        """The best frames of shards."""
        from services.filter.top import Ranks

        return Ranks()


async def filter_frames(message: Shard | Kept | Unique, job: Job) -> AsyncIterator[Output]:
    """Which frames are kept; where none is, by another port, with a no. Raises Missing, Outage, Reject."""
    from services.filter.look import look

    shard, indices = asked(message)
    sight: Sight = job.state

    async def look_at(other: Shard, frames: Sequence[int]) -> "Seen":
        return await look(job, sight.features, sight.prompts, other, frames)

    seen = await look_at(shard, indices)
    if job.settings.top_k:
        if not isinstance(message, Shard):
            raise Malformed("top_k", TOP_K)
        await sight.ranks.choose(job, shard, seen, look_at)
    made = _message(shard, indices, seen, job.settings)
    yield "kept" if made.kept else subjects.EMPTY, made
    if not made.kept:
        counts = Counter(no.kind for no in seen.no if no)
        raise Reject("empty after filter", "; ".join(f"{count} {kind}" for kind, count in counts.most_common()))


def _message(shard: Shard, indices: Sequence[int], seen: "Seen", settings: Filter) -> Kept:
    return Kept(
        id=shard.id,
        media_id=shard.media_id,
        source=shard.source,
        shard=shard,
        kept=[index for index in indices if seen.no[index] is None],
        reason=[no.kind if no else "" for no in seen.no],
        detail=[no.text if no else "" for no in seen.no],
        measures=seen.measures,
        scores=seen.scores,
        drop=settings.drop,
        model=seen.model,
    )


TOP_K = "ranks all frames of a video, so such a filter takes what extract gives"


def check_wires(settings: Filter, kinds: Sequence[Kind]) -> None:
    """Raises ValueError for what cannot be done with these messages."""
    if settings.top_k and any(kind is not Shard for kind in kinds):
        raise ValueError(f"top_k: {TOP_K}")


@asynccontextmanager
async def open_sight(parts: Parts) -> AsyncIterator[Any]:
    """For as long as the worker lives; Triton is not asked for anything before the first prompt."""
    from lodestream.inference.client import open_triton

    async with open_triton(parts) as triton:
        yield Sight(triton)


NODE = Node(
    type="filter",
    summary="Keeps the frames that are sharp, bright, large enough and fit the prompts; says why it drops the others",
    takes=(Shard, Kept, Unique),
    gives={"kept": Kept, subjects.EMPTY: Kept},
    settings=Filter,
    handler=filter_frames,
    concurrency=4,
    reads=(keys.FRAMES, keys.memos(MAKER), *ACCESS),
    writes=ACCESS,
    open=open_sight,
    wired=check_wires,
)
