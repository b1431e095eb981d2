"""Probes: a file that hangs or crashes what reads it is refused, and the next is read by a fresh child."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from lodestream.children import Children
from lodestream.demo.clips import Clip
from lodestream.errors import Reject, Retry
from services.fetch import probes
from services.fetch.probes import Probes

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIP = Clip("probes", seconds=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def children(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Children]:
    async with Children("services.fetch.child", tmp_path_factory.mktemp("probes")) as running:
        yield running


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.mp4"
    path.write_bytes(CLIP.encode())
    return path


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A pipe that nobody writes to: to open it is to wait."""
    path = tmp_path / "hanging.mp4"
    os.mkfifo(path)
    return path


def pids(children: Children) -> set[int]:
    """The children that there are."""
    assert children._link
    zygote = children._link.process.pid
    return set(map(int, Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()))


async def test_children_are_used_again_and_gone_in_the_end(children, good):
    async with Probes.open(children, children.work) as running:
        await asyncio.gather(*(running.facts(good) for _ in range(20)))
        used = pids(children)
        assert len(used) <= (os.cpu_count() or 1)
        assert (await running.facts(good)).codec == "h264"
        assert pids(children) == used
    assert pids(children) == set()
    assert list(children.work.iterdir()) == []


async def test_hang(children, good, hanging, monkeypatch):
    monkeypatch.setattr(probes, "LIMITS", replace(probes.LIMITS, stall_s=0.5))
    async with Probes.open(children, children.work) as running:
        with pytest.raises(Reject, match=r"fake: .*silent for 0.5 s"):
            await running.facts(hanging)
        assert (await running.facts(good)).codec == "h264"


async def kill_twice(children: Children, number: int) -> None:
    """The child that reads, and the next that tries."""
    seen: set[int] = set()
    for _ in range(2):
        while not (fresh := pids(children) - seen):
            await asyncio.sleep(0.01)
        seen |= fresh
        os.kill(fresh.pop(), number)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(signal.SIGSEGV, Reject, "fake: .*SIGSEGV"), (signal.SIGKILL, Retry, "crashed: .*SIGKILL")],
)
async def test_crash(children, good, hanging, number, error, said):
    async with Probes.open(children, children.work) as running:
        asking = asyncio.create_task(running.facts(hanging))
        await kill_twice(children, number)
        with pytest.raises(error, match=said):
            await asking
        assert (await running.facts(good)).codec == "h264"


async def test_kill_9_of_the_zygote_is_not_the_file_s_fault(children, good):
    async with Probes.open(children, children.work) as running:
        await running.facts(good)
        asking = [asyncio.create_task(running.facts(good)) for _ in range(50)]
        await asyncio.sleep(0.005)
        os.kill(children._link.process.pid, signal.SIGKILL)
        assert {(await facts).codec for facts in asking} == {"h264"}


async def test_cancel_while_it_reads(children, good, hanging):
    async with Probes.open(children, children.work) as running:
        asking = [asyncio.create_task(running.facts(hanging)) for _ in range(8)]
        await asyncio.sleep(0.1)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        assert (await running.facts(good)).codec == "h264"


async def test_end_while_it_reads(children, hanging):
    async with Probes.open(children, children.work) as running:
        asking = asyncio.create_task(running.facts(hanging))
        await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])


async def test_replaced_when_it_has_done_enough(children, good, monkeypatch):
    monkeypatch.setattr(probes, "FILES", 2)
    seen = set()
    async with Probes.open(children, children.work) as running:
        for _ in range(12):
            await running.facts(good)
            seen |= pids(children)
    assert len(seen) >= 5
