"""The catalog on NATS: `nats micro ls` sees it, `nats req catalog.sql 'from progress'` asks it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import nats.errors
import nats.micro
import structlog
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service

from lodestream.bus import Bus
from lodestream.errors import LodeError
from proto import subjects
from services.catalog import streams
from services.catalog.door import Door
from services.catalog.ingest import Ingest
from services.catalog.parquet import Parquet
from services.catalog.quack import QuackDoor
from services.catalog.store import Store

log = structlog.get_logger()

VERSION = "0.1.0"
SLACK = 4096
"""Bytes of a NATS payload that a reply leaves free."""


class CatalogService:
    """Answers requests, each in a task of its own: a long query does not hold up the next one."""

    def __init__(self, bus: Bus, store: Store, ingest: Ingest, quack: QuackDoor, parquet: Parquet):
        self._bus, self._store, self._ingest, self._quack, self._parquet = bus, store, ingest, quack, parquet
        self._door = Door(store, bus.nc.max_payload - SLACK)
        self._tasks: set[asyncio.Task[None]] = set()
        self._service: Service | None = None

    async def start(self) -> None:
        """Announce the service and its endpoints."""
        self._service = await nats.micro.add_service(
            self._bus.nc,
            name=subjects.CATALOG,
            version=VERSION,
            description="SQL over everything that the flows gave",
        )
        for subject, answer in {
            subjects.CATALOG_SQL: self._door.answer,
            subjects.CATALOG_STATUS: self._status,
            subjects.CATALOG_SNAPSHOT: self._snapshot,
            subjects.CATALOG_REBUILD: self._rebuild,
        }.items():
            name = subject.rpartition(".")[2]
            await self._service.add_endpoint(EndpointConfig(name=name, subject=subject, handler=self._handler(answer)))

    async def stop(self) -> None:
        """Take no more requests; those in hand get no answer."""
        for task in self._tasks:
            task.cancel()
        self._door.close()

    def _handler(self, answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[Request], Awaitable[None]]:
        async def handle(request: Request) -> None:
            task = asyncio.create_task(self._respond(request, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return handle

    async def _respond(self, request: Request, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        try:
            data = await answer(request.data)
        except LodeError as error:
            data = msgspec.json.encode({"error": str(error)})
        except (nats.errors.Error, TimeoutError) as error:
            data = msgspec.json.encode({"error": f"the NATS server does not answer the catalog: {error}"})
        except Exception:
            log.exception("cannot answer", subject=request.subject)
            data = msgspec.json.encode({"error": "the catalog failed to answer; see: lode logs catalog"})
        with contextlib.suppress(ValueError, nats.errors.Error):  # nobody waits for an answer, or the server is away
            await request.respond(data)

    async def _status(self, _: bytes) -> bytes:
        """How far each stream is read, and what is in the way."""
        found = {}
        for stream in sorted({subjects.DEAD, *await streams.flow_streams(self._bus)}):
            mark = self._store.marks.get(stream)
            applied, last = mark.seq if mark else 0, (await streams.standing(self._bus, stream)).last
            found[stream] = {"applied": applied, "last": last, "lag": max(last - applied, 0)}
        said = {"streams": found, "lag": sum(s["lag"] for s in found.values()), "trouble": self._ingest.trouble}
        return msgspec.json.encode(said | {"quack": self._quack.uri, "bytes": self._store.file.stat().st_size})

    async def _snapshot(self, _: bytes) -> bytes:
        return msgspec.json.encode(await self._parquet.publish())

    async def _rebuild(self, _: bytes) -> bytes:
        await self._ingest.rebuild()
        return await self._status(b"")
