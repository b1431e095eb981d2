"""The catalog's process: `python -m services.catalog`."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress

import uvloop

from lodestream.alive import show_alive
from lodestream.catalog.client import DOOR_FILE, FILE
from lodestream.errors import LodeError
from lodestream.objects import open_objects
from lodestream.process import Process
from proto import subjects
from services.catalog.ingest import Ingest
from services.catalog.limits import bound_memory
from services.catalog.opening import open_store
from services.catalog.parquet import Parquet
from services.catalog.poison import bury_poison
from services.catalog.quack import QuackDoor
from services.catalog.service import CatalogService
from services.catalog.settings import Settings
from services.catalog.snapshots import Snapshots

GRACE = 5
"""Seconds for an orderly end; a query that cannot be interrupted would hold it up."""


async def serve(process: Process, settings: Settings) -> None:
    """Serve until cancelled."""
    async with AsyncExitStack() as stack:
        store = await open_store(settings.folder / FILE)
        bus = await process.connect(subjects.CATALOG)
        stack.push_async_callback(bus.close)
        ingest = Ingest(bus, store)
        stack.push_async_callback(ingest.write, store.close)
        snapshots = Snapshots(ingest, store)
        quack = QuackDoor(snapshots, settings.token)
        parquet = Parquet(snapshots, open_objects(process.objects), process.work)
        service = CatalogService(bus, store, ingest, quack, parquet)
        stack.push_async_callback(service.stop)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ingest.run())
            tasks.create_task(bury_poison(bus))
            tasks.create_task(quack.run(settings.quack_host, settings.quack_port, settings.folder / DOOR_FILE))
            process.work.mkdir(parents=True, exist_ok=True)
            tasks.create_task(show_alive(process.work))
            await service.start()


async def _until_told(process: Process, settings: Settings) -> None:
    serving = asyncio.create_task(serve(process, settings))

    def end() -> None:
        signal.alarm(GRACE)  # nobody handles it: the process ends
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    with suppress(asyncio.CancelledError):
        await serving


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    bound_memory()
    try:
        uvloop.run(_until_told(Process.from_env(), Settings.from_env()))
    except LodeError as error:
        sys.exit(f"catalog: {error}")


if __name__ == "__main__":
    main()
