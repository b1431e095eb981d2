"""Collects records one by one, each stored as it arrives; what was paid for is not asked for again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec

from lodestream import records
from lodestream.errors import Malformed, Reject, Retry
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings, setting
from lodestream.units import Duration
from lodestream.web.addresses import HOST_PORT
from proto import ids, keys
from proto.messages import Listing, Record, Seed

if TYPE_CHECKING:
    from services.records.api import Failed, Web
    from services.records.shelf import Batch

PATH = r"^([^.\s]+(\.[^.\s]+)*)?$"
MOST_REFUSED = 1000
"""Entries that are no record, after which a source is not one of records."""
FOR_A_PERSON = ("login", "members", "forbidden")
"""Refusals that another key, or a payment, may turn."""


class Records(Settings, kw_only=True, frozen=True):
    """What a node that collects records can be told."""

    items: Annotated[
        str,
        setting("where a page has its records: a path of field names; else its first list", pattern=PATH),
    ] = ""
    cursor: Annotated[
        str,
        setting(
            "where a page says what follows it: a path of field names; else the Link header, or a link named next",
            pattern=PATH,
        ),
    ] = ""
    cursor_param: Annotated[
        str, setting("query parameter that takes the cursor; without it the cursor is a link", pattern=r"^\S*$")
    ] = ""
    id: Annotated[
        str,
        setting("where a record has an id of its own: a path of field names; else its content makes one", pattern=PATH),
    ] = ""
    limit: Annotated[
        int, setting("records of one seed at most; a seed's own limit goes before", ge=1, le=10_000_000)
    ] = 100_000
    min_interval: Annotated[Duration, setting("time between two requests to a site, in each worker", recipe=False)] = (
        Duration(0)
    )
    auth: Annotated[
        str,
        setting(
            "file in secrets/api, of mode 600, with a site and the headers that it wants",
            recipe=False,
            pattern=r"^[A-Za-z0-9_-]{0,64}$",
        ),
    ] = ""
    allow_hosts: Annotated[
        list[Annotated[str, setting("address:port", pattern=HOST_PORT)]],
        setting("private addresses that may be asked", recipe=False, examples=[["127.0.0.1:8000"]]),
    ] = msgspec.field(default_factory=list)
    allow_folders: Annotated[
        list[Annotated[str, setting("a path", pattern="^/")]],
        setting("local folders whose files may be read", recipe=False, examples=[["/data/records"]]),
    ] = msgspec.field(default_factory=list)


@dataclass
class Found:
    """How far a collection came."""

    offered: int = 0
    refused: int = 0
    pages: int = 0
    complete: bool = True
    detail: str = ""
    endless: str = ""
    """How the source leads nowhere."""

    @property
    def kept(self) -> str:
        """What a failure leaves standing, in words."""
        return f"{self.offered} records of {self.pages} pages are kept, and are not asked for again"


async def handle(seed: Seed, job: Job) -> AsyncIterator[Output]:
    """Records as they come, then the listing; seeds of other kinds are for other nodes.

    Raises Reject, Retry and Malformed.
    """
    if seed.kind != "records":
        return
    found = Found()
    loop = asyncio.get_running_loop()
    end = loop.time() + seed.timeout if seed.timeout else None
    async with aclosing(_batches(seed, job, found)) as batches:
        async for batch in batches:
            found.pages += bool(batch.page)
            for position, text in batch.entries:
                if record := await _record(seed, job, found, batch.page, position, text):
                    found.offered += 1
                    yield "records", record
                if found.offered >= (seed.limit or job.settings.limit):
                    found.detail = f"stopped at the limit of {found.offered} records"
                    break
            job.report({"offered": found.offered, "pages": found.pages})
            if found.detail:
                break
            if end and loop.time() > end:
                found.complete, found.detail = False, f"stopped after {seed.timeout:g} s"
                break
    said = found.detail or found.endless
    complete = found.complete and not found.endless
    yield "listings", Listing(id=seed.id, offered=found.offered, complete=complete, detail=said)
    if found.endless:
        raise Reject("endless", found.endless, lasting=False)
    if not found.offered:
        raise Reject("nothing found", found.detail, lasting=False)


async def _batches(seed: Seed, job: Job, found: Found) -> "AsyncGenerator[Batch, None]":
    """What the seed leads to; a sequence that leads nowhere ends, and says so in `found`."""
    from services.records import lines, paged
    from services.records.api import Api, Failed
    from services.records.page import Unclear
    from services.records.shelf import Shelf, collection

    if seed.lines:
        yield lines.given(seed.lines, seed.first)
        return
    if seed.value.startswith("/"):
        async for batch in lines.local(seed.value, job.settings.allow_folders):
            yield batch
        return
    web: Web = job.state
    async with job.parts.leases.hold("records", collection(seed)):
        api, shelf = Api(web, job), Shelf(job, seed)
        by_lines = lines.is_lines(seed.value)
        source = lines.remote(seed.value, api, shelf) if by_lines else paged.pages(seed.value, api, shelf, job.settings)
        try:
            async for batch in source:
                yield batch
        except Failed as failed:
            raise _failure(failed, found) from None
        except paged.Endless as why:
            found.endless = str(why)
        except Unclear as why:
            raise Malformed("no records", f"page {found.pages + 1}: {why}; see the setting items") from None
        except lines.Changed as why:
            raise Malformed("changed", f"{why}; {found.kept}; begin anew: lode seed --again") from None


def _failure(failed: "Failed", found: Found) -> Exception:
    """A no at the first page is a no; later, or where a person can do something, it waits as a dead letter."""
    verdict = failed.verdict
    if verdict.kind in ("retry", "later"):
        detail = f"{verdict.detail}; {found.kept}" if found.pages else verdict.detail
        return Retry(verdict.reason, detail, after=verdict.after)
    if found.pages or verdict.reason in FOR_A_PERSON:
        return Malformed(verdict.reason, f"{verdict.detail}; {found.kept}; to go on from there: lode dead retry")
    return Reject(verdict.reason, verdict.detail, lasting=False)


async def _record(seed: Seed, job: Job, found: Found, page: str, position: int, text: bytes) -> Record | None:
    """One record; what is none becomes a dead letter of its own. Raises Reject where there are too many of these."""
    try:
        data = records.compact(text)
    except records.NoRecord as why:
        found.refused += 1
        if found.refused > MOST_REFUSED:
            raise Reject("no records", f"over {MOST_REFUSED} of it are none: number {position}: {why}") from None
        job.refuse(f"{seed.id}-{position}", "no record", f"number {position} of {seed.value}: {why}", text)
        return None
    large = keys.record(ids.digest(data)) if len(data) > records.LONGEST else ""
    if large:
        await job.objects.create(large, data)
    return Record(
        id=records.identity(data, records.scope(seed.value), job.settings.id),
        seed=seed.id,
        source=urlsplit(seed.value).netloc or "local",
        position=position,
        page=page,
        object_key=large,
        labels=seed.labels,
        data=msgspec.Raw(b"null" if large else data),
    )


@asynccontextmanager
async def opened(parts: Parts) -> "AsyncIterator[Web]":
    """Connections, for as long as the worker lives."""
    from services.records.api import Web

    async with Web.open() as web:
        yield web


NODE = Node(
    type="records",
    summary="Collects JSON records from files, lines and web APIs, each stored once and for good",
    takes=(Seed,),
    gives={"records": Record, "listings": Listing},
    settings=Records,
    handler=handle,
    stable=frozenset({"records"}),
    memo=False,
    streams=True,
    concurrency=4,
    writes=(keys.RECORDS,),
    open=opened,
)
