"""The scaler's process: `python -m services.scaler`."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

import structlog

from lodestream.alive import show_alive
from lodestream.errors import LodeError
from lodestream.process import Process
from lodestream.rights import SCALER
from lodestream.scaling.keep import keep_scaled
from lodestream.scaling.policy import Limits, read_limits
from services.scaler.client import Asked
from services.scaler.wire import SCALE


async def serve(process: Process, limits: Mapping[str, Limits]) -> None:
    """Keep services scaled until cancelled."""
    bus = await process.connect(SCALER)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(show_alive(process.work))
            tasks.create_task(keep_scaled(bus, limits, Asked(), structlog.get_logger().warning))
    finally:
        await bus.close()


async def _until_told(process: Process, limits: Mapping[str, Limits]) -> None:
    serving = asyncio.create_task(serve(process, limits))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    try:
        if not (limits := read_limits(os.environ.get(SCALE, ""))):
            raise LodeError(f"not set: {SCALE}; it names the services, such as extract=1-4 fetch=1-8")
        asyncio.run(_until_told(Process.from_env(stores=False), limits))
    except LodeError as error:
        sys.exit(f"scaler: {error}")


if __name__ == "__main__":
    main()
