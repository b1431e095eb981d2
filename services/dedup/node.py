"""dedup: which frames are new to their project: exactly, over all its life, each repeat with the frame it repeats."""

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lodestream.errors import LodeError, Reject
from lodestream.inference import ACCESS, asked
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings, setting
from proto import keys, subjects
from proto.messages import Kept, Shard, Unique

if TYPE_CHECKING:
    from lodestream.ledger.pack import Verdict
    from services.dedup.projects import Projects


class Dedup(Settings, kw_only=True, frozen=True):
    """When a frame repeats another."""

    threshold: Annotated[
        float,
        setting("cosine of two frames' vectors from which on the later one repeats the earlier", ge=0.3, le=1),
    ] = 0.92
    mode: Annotated[
        Literal["dinov3", "phash", "both"],
        setting("`dinov3` compares vectors, `phash` hashes, without a model; with `both` a repeat by either is one"),
    ] = "dinov3"
    model: Annotated[
        str, setting("makes the vectors; by its name in `lode models ls`", min_length=1, max_length=64)
    ] = "dinov3-vits16"
    bits: Annotated[
        int,
        setting(
            "two hashes of 64 bits that differ in no more are of one picture; 8 is the share that the makers of PDQ "
            "match at, 31 of 256",
            ge=0,
            le=20,
        ),
    ] = 8

    def __post_init__(self) -> None:
        """Raises ValueError for a model that is known, and that makes no vectors of pictures."""
        from lodestream.models.card import known_card

        try:
            card = known_card(self.model)
        except LodeError:
            return  # somebody's own: the worker looks when it has it
        if "image" not in card.parts:
            raise ValueError(f"model: {self.model} makes no vectors of pictures: it is for {card.role}")


async def dedup(message: Shard | Kept | Unique, job: Job) -> AsyncIterator[Output]:
    """Which frames are new; where none is, by another port, with a no. Raises Missing, Outage, Postpone, Reject."""
    shard, indices = asked(message)
    projects: Projects = job.state
    verdict, model = await projects.judge(job, shard, indices)
    made = Unique(
        id=shard.id,
        media_id=shard.media_id,
        source=shard.source,
        shard=shard,
        unique=verdict.unique,
        repeats=verdict.repeats,
        broken=verdict.broken,
        model=model,
    )
    yield "unique" if made.unique else subjects.EMPTY, made
    if not made.unique:
        raise Reject(*_why(verdict))


def _why(verdict: "Verdict") -> tuple[str, str]:
    """Why nothing is new."""
    if verdict.repeats:
        return "all duplicates", f"{len(verdict.repeats)} repeat frames that were kept before"
    return "no frame to judge", f"{len(verdict.broken)} are broken"


@asynccontextmanager
async def open_projects(parts: Parts) -> AsyncIterator[Any]:
    """For as long as the worker lives; Triton is not asked for anything before the first vector."""
    from lodestream.inference.client import open_triton
    from lodestream.inference.features import Features
    from services.dedup.projects import Projects

    with ThreadPoolExecutor(os.cpu_count() or 1, "dedup") as pool:
        async with open_triton(parts) as triton:
            projects = Projects(parts, Features(triton), pool)
            try:
                yield projects
            finally:
                await projects.close()


NODE = Node(
    type="dedup",
    summary="Keeps the frames that are new to the project; says of each other one which frame it repeats",
    takes=(Shard, Kept, Unique),
    gives={"unique": Unique, subjects.EMPTY: Unique},
    settings=Dedup,
    handler=dedup,
    memo=False,
    concurrency=8,
    reads=(keys.FRAMES, *ACCESS),
    writes=(*ACCESS, keys.LEDGERS),
    open=open_projects,
)
