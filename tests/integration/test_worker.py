"""Workers as processes: they serve what is deployed, live through being killed, and stop without losing anything."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from lodestream.bus import Bus, connect
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.flow.removal import remove
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import DeadLetter, Message, decode_any
from tests.support.engine import eventually
from tests.support.servers import start_nats

FLOW = """
flow: t
nodes:
  seeds: {type: intake}
  find:  {type: discover, from: seeds, limit: 5}
"""


@pytest.fixture
def server(tmp_path: Path):
    with start_nats(tmp_path) as running:
        yield running


@asynccontextmanager
async def instance(url: str, text: str = FLOW) -> AsyncIterator[Bus]:
    """The basic streams, a deployed flow, and a connection."""
    bus = await connect(url, patience=10)
    await ensure_streams(bus.nc)
    await deploy_text(bus, text)
    try:
        yield bus
    finally:
        await bus.close()


async def deploy_text(bus: Bus, text: str) -> None:
    flow, problems = lint(text)
    assert flow, problems
    await deploy(bus.nc, flow)


@contextmanager
def worker(node_type: str, url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process, killed at the end if it still runs."""
    objects = folder / "objects"
    env = os.environ | {NATS_URL: url, OBJECTS: f"file://{objects}", WORK: str(folder / "work")}
    with (folder / f"{node_type}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "lodestream.worker", node_type], env=env, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def outputs(bus: Bus, pattern: str, stream: str = "FLOW_t") -> dict[str, Message]:
    js = bus.nc.jetstream()
    found = (await js.stream_info(stream, subjects_filter=pattern)).state.subjects or {}
    return {s: decode_any((await js.get_last_msg(stream, s)).data or b"") for s in found}


async def test_seeds_become_candidates_and_a_repeat_adds_nothing(server, tmp_path: Path) -> None:
    async with instance(server.url) as bus:
        with worker("intake", server.url, tmp_path), worker("discover", server.url, tmp_path):
            for _ in range(2):
                await bus.nc.publish(subjects.seeds("t"), b"https://example.org/a.mp4?utm_source=x")
                await bus.nc.publish(subjects.seeds("t"), b"https://example.org/a.mp4")
                await bus.nc.publish(subjects.seeds("t"), b'{"kind": "chanel", "value": "x"}')

            async def done() -> bool:
                return len(await outputs(bus, "flow.t.discover.find.listings.*")) == 1

            await eventually(done, 30)
            candidates = list((await outputs(bus, "flow.t.discover.find.candidates.*")).values())
            assert len(candidates) == 1
            assert candidates[0].url.startswith("https://example.org/a.mp4")
            assert candidates[0].cause.startswith("flow.t.intake.seeds.seeds.")

            async def refused() -> bool:
                return bool(await outputs(bus, "dead.t.>", subjects.DEAD))

            await eventually(refused, 30)
            (letter,) = (await outputs(bus, "dead.t.>", subjects.DEAD)).values()
            assert isinstance(letter, DeadLetter)
            assert "channel" in letter.detail


async def test_a_seed_for_a_flow_that_is_not_there_is_refused_in_words(server, tmp_path: Path) -> None:
    async with instance(server.url) as bus:
        with worker("intake", server.url, tmp_path):
            await bus.nc.publish(subjects.seeds("nobody"), b"https://example.org/a.mp4")

            async def refused() -> bool:
                return bool(await outputs(bus, "dead.nobody.>", subjects.DEAD))

            await eventually(refused, 30)
            (letter,) = (await outputs(bus, "dead.nobody.>", subjects.DEAD)).values()
            assert isinstance(letter, DeadLetter)
            assert (letter.reason, letter.input) == ("unknown flow", "https://example.org/a.mp4")
            assert letter.detail == "no flow is called 'nobody'; deployed: t"


async def test_a_killed_worker_loses_and_doubles_nothing(server, tmp_path: Path) -> None:
    async with instance(server.url) as bus:
        count = 3000
        for number in range(count):
            await bus.nc.publish(subjects.seeds("t"), f"https://example.org/{number}.mp4".encode())
        await bus.nc.flush()

        async def given() -> int:
            info = await bus.nc.jetstream().stream_info("FLOW_t", subjects_filter="flow.t.intake.>")
            return len(info.state.subjects or {})

        kills = 0
        while await given() < count and kills < 5:
            with worker("intake", server.url, tmp_path) as process:
                before = await given()

                async def moves(before: int = before) -> bool:
                    return await given() > before

                await eventually(moves, 60)
                process.send_signal(signal.SIGKILL)
                kills += 1
        with worker("intake", server.url, tmp_path):

            async def all_there() -> bool:
                return await given() == count

            await eventually(all_there, 90)
        assert kills > 0
        assert (await bus.nc.jetstream().stream_info("FLOW_t")).state.messages == count


async def test_a_worker_follows_deploys_answers_nats_micro_and_stops_cleanly(server, tmp_path: Path) -> None:
    async with instance(server.url) as bus:
        with worker("intake", server.url, tmp_path) as process:

            async def nodes() -> list[str]:
                answer = await bus.nc.request("$SRV.STATS.intake", b"", timeout=2)
                return sorted(e["name"] for e in json.loads(answer.data)["endpoints"])

            async def serves(*names: str) -> bool:
                try:
                    return await nodes() == list(names)
                except Exception:
                    return False

            await eventually(lambda: serves("t-seeds"), 30)
            await deploy_text(bus, FLOW.replace("flow: t", "flow: u"))
            await eventually(lambda: serves("t-seeds", "u-seeds"))
            await remove(bus.nc, "t")
            await eventually(lambda: serves("u-seeds"))
            await bus.nc.publish(subjects.seeds("u"), b"https://example.org/a.mp4")

            async def taken() -> bool:
                return bool(await outputs(bus, "flow.u.intake.>", "FLOW_u"))

            await eventually(taken)
            process.terminate()
            assert await asyncio.to_thread(process.wait, 15) == 0
        left = await bus.nc.jetstream().consumer_info(subjects.SEEDS, "u")
        assert left.num_ack_pending == 0


def test_a_worker_that_lacks_a_setting_says_so_in_one_line(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("LODE_")}
    done = subprocess.run(
        [sys.executable, "-m", "lodestream.worker", "intake"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "LODE_NATS_URL" in done.stderr
