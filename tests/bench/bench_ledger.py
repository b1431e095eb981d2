"""The dedup ledger: a million identities that a server has stored, its memory, and how soon it is back.

`python -m tests.bench.bench_ledger`
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from lodestream.bus import Bus, Publisher, connect
from lodestream.flow.stream import ensure, state
from lodestream.natsconf import SYNC_INTERVAL
from proto import ids, subjects
from tests.bench.cpu import cpu_seconds, resident_mb
from tests.support.servers import Running, start_nats

COUNT, AT_ONCE = 1_000_000, 1000
PAYLOAD = bytes(398)
"""As large as those that the figures below were measured with."""
MEMORY_MIB, RESTART_S = 372.0, 1.3
"""Of a bare server with as many subjects."""
MOST = 1.2
TRIES = 3
SETTLE = 3.0
"""Seconds before memory is looked at."""


class Back(NamedTuple):
    """Seconds of a restart: of the server's CPU time, and by the clock, which tells less where others work."""

    cpu: float
    wall: float


def _subject(number: int) -> str:
    return subjects.output("t", "fetch", "get", "media", ids.entity(f"web-{number:024x}", "045cb9d7"))


async def _fill(url: str) -> float:
    """Publish all, as a worker does, and some a second time; seconds that took."""
    bus = await connect(url, patience=10)
    await ensure(bus.nc, "t", ["045cb9d7"])
    publisher = await Publisher(bus).start()
    began = time.perf_counter()
    for start in range(0, COUNT, AT_ONCE):
        some = range(start, start + AT_ONCE)
        assert all(await asyncio.gather(*(publisher.publish(_subject(n), PAYLOAD) for n in some)))
    took = time.perf_counter() - began
    assert not any(await asyncio.gather(*(publisher.publish(_subject(n), PAYLOAD) for n in range(AT_ONCE))))
    await publisher.stop()
    await bus.close()
    return took


async def _there(bus: Bus) -> int:
    info = await state(bus.nc, "t")
    return int(info["state"]["num_subjects"]) if info else 0


async def _restarted(server: Running) -> Back:
    """What it takes from the start of the server until it knows all identities."""
    server.stop()
    began = time.perf_counter()
    server.start()
    bus = await connect(server.url, patience=60)
    while await _there(bus) < COUNT:
        await asyncio.sleep(0.02)
    took = Back(cpu_seconds(server.process.pid), time.perf_counter() - began)
    await bus.close()
    return took


async def _measure(server: Running) -> tuple[float, float, Back]:
    took = await _fill(server.url)
    await asyncio.sleep(SETTLE)
    memory = resident_mb(server.process.pid)
    return took, memory, min([await _restarted(server) for _ in range(TRIES)])


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, detail}; at most the target is good."""
    with (
        tempfile.TemporaryDirectory() as name,
        start_nats(Path(name), f'jetstream {{ sync_interval: "{SYNC_INTERVAL}" }}') as server,
    ):
        took, memory, back = uvloop.run(_measure(server))
    stored = f"{COUNT:,} identities, {COUNT / took / 1000:.0f}k/s"
    return [
        {
            "what": "ledger of 1M identities: memory / a bare server's",
            "ratio": memory / MEMORY_MIB,
            "target": MOST,
            "cost": True,
            "detail": f"{memory:.0f} MiB, {MEMORY_MIB:.0f} MiB; {stored}",
        },
        {
            "what": "ledger of 1M identities: restart / a bare server's",
            "ratio": back.cpu / RESTART_S,
            "target": MOST,
            "cost": True,
            "detail": f"{back.cpu:.2f} CPU-s ({back.wall:.2f} s by the clock), best of {TRIES}, {RESTART_S} s",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
