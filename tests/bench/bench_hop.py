"""One hop through the whole engine (decode, publish once, ack; a node that does nothing) against bare JetStream.

`python -m tests.bench.bench_hop`; same server, same messages, in turns; medians of three.
"""

import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop
from nats.js import api

from lodestream.bus import Bus, Publisher, Puller, connect
from lodestream.job import Job, Parts
from lodestream.node import Node, Output, Settings
from lodestream.objects import open_objects
from lodestream.runner import Fate, Runner
from proto import ids, subjects
from proto.messages import Candidate, encode
from tests.bench.peers.bare_pull import BarePull

FLOW, STREAM, COUNT, WINDOW, ROUNDS = "bench", subjects.stream("bench"), 20_000, 256, 3
LIMIT = 60.0
"""Seconds for one measurement."""


async def _nothing(candidate: Candidate, job: Job) -> AsyncIterator[Output]:
    yield "out", candidate


NOOP = Node(
    type="noop",
    summary="Gives what it takes.",
    takes=(Candidate,),
    gives={"out": Candidate},
    settings=Settings,
    handler=_nothing,
    memo=False,
)


def _message(number: int) -> bytes:
    words = "a person doing a handstand on a beach at sunset, slow motion, from three sides"
    return encode(
        Candidate(
            id=f"youtube-{number:011d}",
            url=f"https://www.youtube.com/watch?v={number:011d}",
            source="youtube",
            seed="query-0123456789abcdef",
            title=words,
            digest=ids.digest(words.encode()),
        )
    )


async def _fill(bus: Bus) -> None:
    """A stream with COUNT inputs and nothing else."""
    js = bus.nc.jetstream()
    await js.add_stream(
        api.StreamConfig(
            name=STREAM,
            subjects=[subjects.everything(FLOW)],
            max_msgs_per_subject=1,
            discard=api.DiscardPolicy.NEW,
            discard_new_per_subject=True,
        )
    )
    publisher = await Publisher(bus).start()
    for start in range(0, COUNT, WINDOW):
        some = range(start, min(start + WINDOW, COUNT))
        subject = partial(subjects.output, FLOW, "x", "source", "out")
        await asyncio.gather(*(publisher.publish(subject(str(n)), _message(n)) for n in some))
    await publisher.stop()


async def _consumer(bus: Bus) -> None:
    await bus.nc.jetstream().add_consumer(
        STREAM,
        name="noop-1",
        durable_name="noop-1",
        ack_policy=api.AckPolicy.EXPLICIT,
        filter_subject=subjects.wire(FLOW, "x", "source", "out"),
        max_ack_pending=4 * WINDOW,
    )


async def _stands() -> bool:
    return True


async def _work(*_: object) -> Fate:
    """Every input is of the flow as deployed."""
    return "work"


async def _engine(bus: Bus) -> None:
    publisher = await Publisher(bus).start()
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(open_objects(f"file://{folder}"), None, Path(folder), structlog.get_logger())  # type: ignore[arg-type]
        runner = Runner(FLOW, "noop", NOOP, Settings(), parts, None, publisher, _work, _stands)
        puller = Puller(bus, subjects.next_message(STREAM, "noop-1"), runner.handle, window=WINDOW)
        await puller.start()
        while runner.tally.taken < COUNT:
            await asyncio.sleep(0.005)
        await puller.stop()
    await publisher.stop()


async def _bare(bus: Bus) -> None:
    bare = BarePull(bus.nc, STREAM, "noop-1", WINDOW)
    await bare.start()
    while bare.done < COUNT:
        await asyncio.sleep(0.005)


async def _faststream(url: str) -> None:
    from faststream.nats import NatsBroker, PullSub
    from faststream.nats.annotations import NatsMessage

    broker, done = NatsBroker(url, logger=None), 0

    @broker.subscriber(
        subject=subjects.wire(FLOW, "x", "source", "out"),
        stream=STREAM,
        durable="noop-1",
        pull_sub=PullSub(batch_size=100),
    )
    async def handle(candidate: dict[str, Any], msg: NatsMessage) -> None:
        nonlocal done
        out = msg.raw_message.subject.replace(".source.", ".noop.")
        await broker.publish(candidate, out, stream=STREAM)
        done += 1

    await broker.start()
    while done < COUNT:
        await asyncio.sleep(0.005)
    await broker.stop()


async def _timed(url: str, hop: Callable[[Any], Awaitable[None]], *, own: bool = False) -> float:
    """Hops a second, on a fresh stream."""
    bus = await connect(url, patience=10)
    try:
        await _fill(bus)
        await _consumer(bus)
        began = time.perf_counter()
        async with asyncio.timeout(LIMIT):
            await hop(url if own else bus)
        rate = COUNT / (time.perf_counter() - began)
        stored = (await bus.nc.jetstream().stream_info(STREAM)).state.messages
        if stored != 2 * COUNT:
            raise SystemExit(f"{hop.__name__}: {stored} messages stored, not {2 * COUNT}")
        return rate
    finally:
        await bus.nc.jetstream().delete_stream(STREAM)
        await bus.close()


async def _measure(url: str) -> dict[str, float]:
    rates: dict[str, list[float]] = {"bare": [], "engine": [], "faststream": []}
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)  # as a worker has it
    for _ in range(ROUNDS):
        rates["bare"].append(await _timed(url, _bare))
        rates["engine"].append(await _timed(url, _engine))
    rates["faststream"].append(await _timed(url, _faststream, own=True))
    return {name: statistics.median(values) for name, values in rates.items()}


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, detail}; a ratio of at least its target is good."""
    with tempfile.TemporaryDirectory() as folder:
        port = "14722"
        command = [Path(sys.executable).with_name("nats-server"), "-a", "127.0.0.1", "-p", port, "-js", "-sd", folder]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            rate = uvloop.run(_measure(f"nats://127.0.0.1:{port}"))
        finally:
            server.kill()
            server.wait()
    said = ", ".join(f"{name} {value / 1000:.1f}k/s" for name, value in rate.items())
    rows = (("bare", "bare continuous pull", 0.8), ("faststream", "FastStream pull", 6.0))
    return [
        {"what": f"one hop: engine / {peer}", "ratio": rate["engine"] / rate[name], "target": target, "detail": said}
        for name, peer, target in rows
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
