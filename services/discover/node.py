"""Lists the videos that a seed leads to, as they are found, in a child that may be killed."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from lodestream.children import Children, ChildTimeout, Limits
from lodestream.errors import ATTEMPTS, Reject, Retry
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings, setting
from lodestream.units import Duration
from lodestream.web.addresses import HOST_PORT
from lodestream.web.verdicts import Verdict
from proto.messages import Candidate, Seed
from proto.messages import Listing as Listed

NOT_YET = ("gallery",)
OTHERS = ("records",)
"""Kinds of seeds that are for nodes of other types on the same wire."""
STALL_S = 60.0
"""Seconds without a request or a video, after which a source counts as hung."""
GRACE_S = 15.0
"""Seconds past its timeout that a child has to say how far it came."""
MEMORY = 1 << 30
FILE = 16 << 20
"""Bytes; a listing writes none, a JavaScript engine its cache."""


class Discover(Settings, kw_only=True, frozen=True):
    """What a node that discovers can be told."""

    limit: Annotated[int, setting("videos of one seed at most; a seed's own limit goes before", ge=1, le=100_000)] = 200
    timeout: Annotated[Duration, setting("time for one seed; a seed's own timeout goes before")] = Duration(300)
    search: Annotated[
        str,
        setting(
            "where words are searched: a search of yt-dlp's",
            pattern=r"^[a-z]*search[a-z]*$",
            examples=["ytsearch", "ytsearchdate", "scsearch"],
        ),
    ] = "ytsearch"
    allow_hosts: Annotated[
        list[Annotated[str, setting("address:port", pattern=HOST_PORT)]],
        setting("addresses that may be asked although they are not public", examples=[["127.0.0.1:8000"]]),
    ] = msgspec.field(default_factory=list)
    allow_folders: Annotated[
        list[Annotated[str, setting("a path", pattern="^/")]],
        setting("local folders that folder and list seeds may read", examples=[["/data/videos"]]),
    ] = msgspec.field(default_factory=list)


@dataclass
class Found:
    """How far a listing came."""

    offered: int = 0
    complete: bool = False
    detail: str = ""
    failure: Exception | None = None


async def handle(seed: Seed, job: Job) -> AsyncIterator[Output]:
    """Candidates as they come, then the listing. Raises Reject where there is none, and Retry."""
    if seed.kind in OTHERS:
        job.lasting = False
        return
    if seed.kind in NOT_YET:
        raise Reject("unsupported", f"{seed.kind} seeds are not built yet")
    found = Found()
    timeout = seed.timeout or float(job.settings.timeout)
    async with aclosing(_events(seed, job, timeout, found)) as events:
        async for row in events:
            job.report({"offered": found.offered})
            yield "candidates", Candidate(**row, seed=seed.id, labels=seed.labels)
    for output in _conclusion(seed, job, found):
        yield output


async def _events(seed: Seed, job: Job, timeout: float, found: Found) -> AsyncGenerator[dict[str, Any], None]:
    """The rows that the child finds; `found` tells how it went."""
    children: Children = job.state
    longest = timeout + GRACE_S
    limits = Limits(longest, math.ceil(longest), MEMORY, FILE, None if seed.kind == "folder" else STALL_S)
    started = asyncio.get_running_loop().time()
    try:
        async with aclosing(children.run(_asked(seed, job, timeout), limits=limits)) as events:
            async for event in events:
                found.offered = event.get("offered", found.offered)
                if "row" in event:
                    yield event["row"]
                elif "end" in event:
                    found.complete, found.detail = event["end"]["complete"], event["end"]["detail"]
                elif "verdict" in event:
                    found.failure = Verdict(**event["verdict"]).error(job.attempt)
    except ChildTimeout as error:
        if asyncio.get_running_loop().time() - started > timeout:
            found.detail = f"stopped after {timeout:g} s"
        else:
            found.failure = Retry("stalled", str(error))


def _asked(seed: Seed, job: Job, timeout: float) -> dict[str, Any]:
    settings: Discover = job.settings
    return {
        "kind": seed.kind,
        "value": seed.value,
        "search": settings.search,
        "limit": seed.limit or settings.limit,
        "timeout": timeout,
        "allow_hosts": settings.allow_hosts,
        "allow_folders": settings.allow_folders,
    }


def _conclusion(seed: Seed, job: Job, found: Found) -> Iterator[Output]:
    """What was found is kept, whatever became of the rest; the last attempt says how far it came."""
    failure = found.failure
    if failure and not isinstance(failure, Reject) and (not found.offered or job.attempt < ATTEMPTS):
        raise failure
    detail = str(failure) if failure else found.detail
    job.lasting = found.complete and not failure
    yield "listings", Listed(id=seed.id, offered=found.offered, complete=found.complete, detail=detail)
    if not found.offered:
        raise failure or Reject("nothing found", detail, lasting=False)


@asynccontextmanager
async def open_children(parts: Parts) -> AsyncIterator[Children]:
    """A warm zygote with yt-dlp, for as long as the worker lives."""
    async with Children("services.discover.child", parts.work / "discover") as children:
        yield children


NODE = Node(
    type="discover",
    summary="Lists the videos of a search, page, channel, playlist, feed, list or folder",
    takes=(Seed,),
    gives={"candidates": Candidate, "listings": Listed},
    settings=Discover,
    handler=handle,
    stable=frozenset({"candidates"}),
    streams=True,
    concurrency=4,
    open=open_children,
)
