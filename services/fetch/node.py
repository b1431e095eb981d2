"""Downloads each candidate once: the file itself where it is one, through yt-dlp where it is a page or a stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec

from lodestream.errors import Reject
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings, setting
from lodestream.units import Duration, Size
from lodestream.web.addresses import HOST_PORT
from proto import keys
from proto.messages import Candidate, Media

if TYPE_CHECKING:
    from services.fetch.fetcher import Fetcher


class Fetch(Settings, kw_only=True, frozen=True):
    """What a node that fetches can be told."""

    max_height: Annotated[
        int,
        setting("the tallest picture that is asked for, in pixels; the smallest there is where all are taller", ge=144),
    ] = 720
    max_duration: Annotated[Duration, setting("longer videos are rejected")] = Duration(3600)
    max_bytes: Annotated[Size, setting("larger files are rejected", recipe=False)] = Size(2 << 30)
    per_host: Annotated[
        int, setting("downloads from one site at once, all workers together", recipe=False, ge=1, le=64)
    ] = 2
    max_origins: (
        Annotated[
            int,
            setting(
                "a file from more unrelated URLs than this is rejected as a fake; without it, such a file is only "
                "suspected: lode fakes stats",
                recipe=False,
                ge=1,
            ),
        ]
        | None
    ) = None
    allow_hosts: Annotated[
        list[Annotated[str, setting("address:port", pattern=HOST_PORT)]],
        setting("private addresses that may be asked", recipe=False, examples=[["127.0.0.1:8000"]]),
    ] = msgspec.field(default_factory=list)
    allow_folders: Annotated[
        list[Annotated[str, setting("a path", pattern="^/")]],
        setting("local folders whose files may be taken", recipe=False, examples=[["/data/videos"]]),
    ] = msgspec.field(default_factory=list)


async def handle(candidate: Candidate, job: Job) -> AsyncIterator[Output]:
    """The video, stored. Raises Reject, Retry and Outage."""
    fetcher: Fetcher = job.state
    yield "media", await fetcher.fetch(candidate, job)


async def settle(media: Media, job: Job) -> None:
    """One video for the same bytes in a flow, and none that is a fake. Raises Reject."""
    from services.fetch import stored

    fetcher: Fetcher = job.state
    await fetcher.fakes.refuse_stored(media)
    try:
        await stored.settle(media, job)
    except Reject as no:
        if no.repeats:
            await fetcher.fakes.repeated(media, job, no.repeats)
        raise


@asynccontextmanager
async def opened(parts: Parts) -> "AsyncIterator[Fetcher]":
    """What downloads and looks into files, for as long as the worker lives."""
    from services.fetch.fetcher import Fetcher
    from services.fetch.known import Known

    async with Fetcher.open(parts.work, Known(parts.objects)) as fetcher:
        yield fetcher


NODE = Node(
    type="fetch",
    summary="Downloads candidates, each once",
    takes=(Candidate,),
    gives={"media": Media},
    settings=Fetch,
    handler=handle,
    settle=settle,
    concurrency=8,
    reads=(keys.FAKES,),
    writes=(keys.MEDIA, keys.SEEN, keys.REFUSED),
    open=opened,
)
