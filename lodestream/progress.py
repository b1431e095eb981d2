"""Live progress on core NATS: what each node counts and works on, a few times a second while that changes."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from lodestream.bus import Bus
from lodestream.letters import WORKER, now
from lodestream.runner import Runner
from proto import subjects

EVERY = 0.5
"""Seconds between reports."""
SHOWN = 32
"""Entities in hand that a report names at most."""


async def report(bus: Bus, runners: Callable[[], Iterable[Runner]]) -> None:
    """Publish what changed since the last look; runs until cancelled. Lost reports do not matter."""
    said: dict[Runner, bytes] = {}
    while True:
        await asyncio.sleep(EVERY)
        if not bus.nc.is_connected:
            continue
        current = list(runners())
        said = {runner: said.get(runner, b"") for runner in current}
        for runner in current:
            counts = runner.counts()
            counts["live"] = dict(list(counts["live"].items())[:SHOWN])
            body = msgspec.json.encode(counts)
            if body != said[runner]:
                said[runner] = body
                said_by = msgspec.json.encode({"worker": WORKER, "at": now(), **counts})
                await bus.nc.publish(subjects.progress(runner.flow, runner.node.type, runner.name), said_by)
