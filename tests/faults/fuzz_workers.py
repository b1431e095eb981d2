"""Malformed messages through real workers on a real nats-server: each is answered, and nothing else is disturbed."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from nats.js.errors import NotFoundError

from lodestream.bus import Bus, connect
from lodestream.flow.consumers import infos
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import DeadLetter, decode_any
from tests.faults import garbage
from tests.support.servers import start_nats

FLOW = "t"
TEXT = garbage.FLOW.replace("flow: cats", f"flow: {FLOW}")
BEFORE = {
    "discover": ("intake", "seeds", "seeds"),
    "fetch": ("discover", "find", "candidates"),
    "extract": ("fetch", "get", "media"),
}
"""Type, name and port of the node that each type takes from."""
DEADLINE_S = 240


async def fuzz_workers(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """So many malformed payloads and messages. Raises AssertionError."""
    rng = random.Random(f"workers {seed}")
    async with _instance(folder) as (bus, processes):
        js = bus.nc.jetstream()
        for number in range(count):
            kind = rng.choice(["intake", *BEFORE])
            if kind == "intake":
                await js.publish(subjects.seeds(FLOW), garbage.seed(rng))
            else:
                data = garbage.message(rng, garbage.examples()[kind])
                await js.publish(subjects.output(FLOW, *BEFORE[kind], f"fuzz-{number}"), data)
        await js.publish(subjects.seeds(FLOW), b"http://127.0.0.2:1/good.mp4")
        await _settled(bus)
        assert all(process.poll() is None for process in processes), "a worker died"
        seen = await _answers(bus)
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert "Traceback" not in logs, logs[-3000:]
    assert seen["good"] == 1, "a good seed was not heard"
    return {"through workers": count, "dead letters": seen["dead"], "rejected": seen["rejected"]}


async def _settled(bus: Bus) -> None:
    """Every consumer has answered all that there is."""
    async with asyncio.timeout(DEADLINE_S):
        quiet = 0
        while quiet < 3:
            waiting = [i["num_pending"] + i["num_ack_pending"] for i in (await infos(bus.nc, FLOW)).values()]
            quiet = 0 if sum(waiting) else quiet + 1
            await asyncio.sleep(0.3)


async def _answers(bus: Bus) -> Counter[str]:
    """Dead letters, refusals, and whether the good seed went through. Raises AssertionError at a careless refusal."""
    seen = Counter[str]()
    async for subject, data in _stored(bus, subjects.DEAD):
        letter = decode_any(data)
        assert isinstance(letter, DeadLetter), subject
        assert len(letter.reason + letter.detail) <= 1000, letter.detail[:300]
        assert not letter.traceback, letter.traceback
        seen["dead"] += 1
    async for subject, data in _stored(bus, subjects.stream(FLOW)):
        seen["rejected"] += f".{subjects.REJECTED}." in subject
        seen["good"] += subject.startswith(f"flow.{FLOW}.intake.") and b"good.mp4" in data
    return seen


async def _stored(bus: Bus, stream: str) -> AsyncIterator[tuple[str, bytes]]:
    js = bus.nc.jetstream()
    state = (await js.stream_info(stream)).state
    for seq in range(state.first_seq, state.last_seq + 1 if state.messages else 0):
        with contextlib.suppress(NotFoundError):  # a newer one stands in its place
            msg = await js.get_msg(stream, seq)
            yield msg.subject or "", msg.data or b""


@asynccontextmanager
async def _instance(folder: Path) -> AsyncIterator[tuple[Bus, list[subprocess.Popen[bytes]]]]:
    """A server, the flow, and one worker of each type."""
    with start_nats(folder) as server, ExitStack() as stack:
        bus = await connect(server.url, patience=30)
        await ensure_streams(bus.nc)
        flow, problems = lint(TEXT)
        assert flow, problems
        await deploy(bus.nc, flow)
        try:
            yield bus, [stack.enter_context(_worker(kind, server.url, folder)) for kind in ("intake", *BEFORE)]
        finally:
            await bus.close()


@contextmanager
def _worker(node_type: str, url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = os.environ | {NATS_URL: url, OBJECTS: f"file://{folder / 'objects'}", WORK: str(folder / "work")}
    with (folder / f"{node_type}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "lodestream.worker", node_type], env=env, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
