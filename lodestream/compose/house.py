"""The house of a stack in containers: provisions both servers, then does what only the operator may, for ever.

`python -m lodestream.compose.house`; /tmp/ready is there once everything is provisioned.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import nats.errors
import structlog

from lodestream import rights
from lodestream.bus import Bus, connect
from lodestream.compose import places, store
from lodestream.compose.floorstream import FloorStream
from lodestream.errors import LodeError
from lodestream.floors import Floors
from lodestream.housekeeping import keep_house
from lodestream.node import Node
from lodestream.objects import Objects, open_objects
from lodestream.passing import ended
from lodestream.process import NATS_URL, set_up_log
from lodestream.registry import node_types
from lodestream.streams import ensure_streams

READY = Path("/tmp/ready")
AGAIN = 2.0
"""Seconds until housekeeping goes on after a failure."""
PATIENCE = 60.0
"""Seconds that the NATS server may take to answer."""


def provision_objects(types: dict[str, Node]) -> None:
    """Bucket, users and policies. A store whose administrator's password we lack has them already. Raises LodeError."""
    if not places.objects_key(places.ROOT).exists():
        return
    policies = {name: store.of_worker(node) for name, node in types.items()}
    policies |= {rights.CATALOG: store.of_catalog(), places.HOUSE: store.of_house()}
    policies[places.PROMETHEUS] = store.of_prometheus()
    users = {user: _read(places.objects_key(user)) for user in policies}
    address = urlsplit(_read(places.objects(places.HOUSE))).netloc.rpartition("@")[2]
    store.provision(address, (places.ROOT, _read(places.objects_key(places.ROOT))), users, policies)


async def keep(url: str) -> None:
    """Provision the server, then keep house. Raises LodeError where it does not answer at first."""
    said = structlog.get_logger()
    password = _read(places.folder(places.HOUSE) / f"nats-{rights.OPERATOR}")
    bus = await connect(url, rights.OPERATOR, password, name=places.HOUSE, patience=PATIENCE)
    await ensure_streams(bus.nc)
    objects = open_objects(_read(places.objects(places.HOUSE)))
    async with kept_floors(bus, objects, said.info):
        READY.touch()
        while True:
            try:
                await keep_house(bus, objects, said.info)
            except Exception:
                said.exception("housekeeping failed, goes on")
                await asyncio.sleep(AGAIN)


@asynccontextmanager
async def kept_floors(bus: Bus, objects: Objects, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Before the block nodes begin again where the last end was not in order; inside, how far they are is noted."""
    floors = Floors(FloorStream(bus.nc), objects)
    if begun := await floors.rewind(bus.nc):
        say(f"the last end was not in order; looks at the last work again: {', '.join(begun)}")
    await floors.note(bus.nc)
    keeping = asyncio.create_task(floors.keep(bus))
    try:
        yield
    finally:
        await ended(keeping)
        with suppress(LodeError, nats.errors.Error):  # the server has ended before us: the next start looks again
            await floors.forget()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise LodeError(f"cannot read {file}: {error.strerror}; has init run?") from None


async def _until_told(url: str) -> None:
    keeping, told = asyncio.create_task(keep(url)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    telling = asyncio.create_task(told.wait())
    await asyncio.wait([keeping, telling], return_when=asyncio.FIRST_COMPLETED)
    await ended(keeping)
    if not keeping.cancelled():
        keeping.result()


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    try:
        set_up_log()
        provision_objects(node_types())
        asyncio.run(_until_told(os.environ.get(NATS_URL, places.NATS_URL)))
    except LodeError as error:
        sys.exit(f"house: {error}")


if __name__ == "__main__":
    main()
