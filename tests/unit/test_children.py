"""Children: what they say arrives, what they do wrong is told apart, and nothing of them stays."""

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from lodestream.children import PASSED_ON, ChildDied, ChildFailed, Children, ChildTimeout, Limits

LIMITS = Limits(deadline_s=30, cpu_s=20, memory_bytes=512 << 20, file_bytes=1 << 20)
MODULE = "tests.support.naughty_child"


@pytest.fixture
async def children(tmp_path):
    async with Children(MODULE, tmp_path) as running:
        yield running
    assert list(tmp_path.iterdir()) == []


async def events(children: Children, job: dict[str, Any], limits: Limits = LIMITS) -> list[dict[str, Any]]:
    return [event async for event in children.run(job, limits=limits)]


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(*pids: int) -> None:
    while any(map(alive, pids)):
        await asyncio.sleep(0.01)


async def test_events_arrive_whole_and_in_order(children):
    first, *rest = await events(children, {"do": "count", "n": 5000})
    assert [event["n"] for event in rest] == list(range(5000))
    assert not alive(first["pid"])


async def test_lossy_events_never_wait_and_the_others_are_kept(children):
    run = children.run({"do": "flood", "n": 5000}, limits=LIMITS)
    await anext(run)
    await asyncio.sleep(0.5)
    got = [event async for event in run]
    assert len(got) < 5000
    assert got[-1] == {"last": True}


async def test_child_is_forked_clean_from_one_warm_process(children, monkeypatch):
    monkeypatch.setenv("LODE_SECRET", "do not tell")
    both = await asyncio.gather(*(events(children, {"do": "facts"}) for _ in range(2)))
    for said, facts in both:
        assert facts["warmed"] == [facts["parent"]]
        assert facts["session"] == said["pid"]
        assert set(facts["environment"]) - set(PASSED_ON) == {"HOME", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR"}
        assert facts["stdin"] == ""
        assert len(facts["open"]) <= 5  # the three, the pipe, and the listing itself
        assert facts["cpu"] == LIMITS.cpu_s
    assert both[0][1]["parent"] == both[1][1]["parent"]


async def test_what_a_job_takes_is_prepared_in_the_process_that_all_are_forked_from(children):
    await events(children, {"do": "count", "n": 1, "unprepared": True})
    _, facts = await events(children, {"do": "facts"})
    assert facts["prepared"] == [[facts["parent"], "count"], [facts["parent"], "facts"]]


async def test_own_folder_goes_and_a_given_one_stays(children, tmp_path_factory):
    said, made = await events(children, {"do": "file", "size": 10})
    assert made["path"].startswith(said["folder"])
    assert not Path(said["folder"]).exists()
    given = tmp_path_factory.mktemp("given")
    async for _ in children.run({"do": "file", "size": 10}, limits=LIMITS, folder=given):
        pass
    assert (given / "made").stat().st_size == 10


async def test_exception_comes_back_with_its_traceback(children):
    with pytest.raises(ChildFailed, match="RuntimeError: as asked") as caught:
        await events(children, {"do": "fail"})
    assert caught.value.kind == "RuntimeError"
    assert "naughty_child.py" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("job", "kind"), [({"do": "memory"}, "MemoryError"), ({"do": "file", "size": 2 << 20}, "OSError")]
)
async def test_limits_on_memory_and_files(children, job, kind):
    with pytest.raises(ChildFailed) as caught:
        await events(children, job)
    assert caught.value.kind == kind


@pytest.mark.parametrize(("do", "number"), [("crash", signal.SIGSEGV), ("spin", signal.SIGXCPU)])
async def test_death_by_signal(children, do, number):
    with pytest.raises(ChildDied) as caught:
        await events(children, {"do": do}, Limits(30, 1, 512 << 20, 1 << 20))
    assert caught.value.signal == number


@pytest.mark.parametrize(("do", "limits", "why"), [
    ("hang", Limits(30, 20, 512 << 20, 1 << 20, stall_s=0.2), "silent"),
    ("chatter", Limits(0.3, 20, 512 << 20, 1 << 20, stall_s=10), "deadline"),
])  # fmt: skip
async def test_hang_and_deadline(children, do, limits, why):
    run = children.run({"do": do}, limits=limits)
    pid = (await anext(run))["pid"]
    with pytest.raises(ChildTimeout, match=why):
        [event async for event in run]
    assert not alive(pid)


async def test_time_in_which_nobody_listens_does_not_count(children):
    async with aclosing(children.run({"do": "count", "n": 3}, limits=Limits(0.5, 20, 512 << 20, 1 << 20))) as run:
        await anext(run)
        await asyncio.sleep(0.7)
        assert len([event async for event in run]) == 3


async def test_leaving_early_kills_what_the_child_started_too(children):
    async with aclosing(children.run({"do": "family"}, limits=LIMITS)) as run:
        pid, program = (await anext(run))["pid"], (await anext(run))["program"]
        assert alive(program)
    assert not alive(pid)
    await until_gone(program)


async def test_a_child_that_ends_leaves_no_program_behind(children):
    *_, event = await events(children, {"do": "orphan"})
    await until_gone(event["program"])


async def test_cancel_at_any_moment_leaves_nothing(children, tmp_path):
    for n in range(40):
        task = asyncio.create_task(events(children, {"do": "family"}))
        await asyncio.sleep(n * 0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert list(tmp_path.iterdir()) == []
    assert children._link.codes == {}
    assert (await events(children, {"do": "count", "n": 1}))[1:] == [{"n": 0}]


async def test_zygote_that_dies_takes_its_children_along_and_is_replaced(children):
    (facts,) = (await events(children, {"do": "facts"}))[1:]
    run = children.run({"do": "hang"}, limits=LIMITS)
    pid = (await anext(run))["pid"]
    os.kill(facts["parent"], signal.SIGKILL)
    with pytest.raises(ChildDied):
        await anext(run)
    await until_gone(pid, facts["parent"])
    (again,) = (await events(children, {"do": "facts"}))[1:]
    assert again["parent"] != facts["parent"]


async def test_module_that_cannot_be_imported_says_why(tmp_path):
    async with Children("tests.support.no_such_child", tmp_path) as children:
        with pytest.raises(ChildFailed, match="No module named"):
            await events(children, {"do": "count", "n": 1})


SERVICE = """
import asyncio, json, sys
from pathlib import Path
from lodestream.children import Children, Limits
async def main():
    async with Children("tests.support.naughty_child", Path(sys.argv[1])) as children:
        run = children.run({"do": "family"}, limits=Limits(60, 60, 512 << 20, 1 << 20))
        print(json.dumps([(await anext(run))["pid"], (await anext(run))["program"]]), flush=True)
        await anext(run)
asyncio.run(main())
"""


STARTING = """
import asyncio, sys
from pathlib import Path
from lodestream.children import Children
async def main():
    async with Children("tests.support.endless_import", Path(sys.argv[1])) as children:
        print(children._link.process.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_kill_9_of_the_service_ends_an_import_that_hangs(tmp_path):
    service = await start_service(STARTING, tmp_path)
    zygote = int(await service.stdout.readline())
    await asyncio.sleep(0.3)
    service.kill()
    await service.wait()
    await until_gone(zygote)


async def start_service(code: str, work: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(work)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


async def test_kill_9_of_the_service_leaves_no_process(tmp_path):
    service = await start_service(SERVICE, tmp_path)
    child, program = json.loads(await service.stdout.readline())
    zygote = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    service.kill()
    await service.wait()
    await until_gone(zygote, child, program)
