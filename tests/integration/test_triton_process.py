"""The Triton server of an instance as a process: beside the others, for its owner alone, back when it is killed."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lodestream.inference.client import Triton
from lodestream.local import Home, down, is_up, read_state, up
from lodestream.local.triton import lacks, program
from tests.integration.test_local import alive, until
from tests.support.servers import missing
from tests.support.triton import add_toy, answers, pictures, wanted


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An instance of nothing but a NATS server and Triton."""
    if lack := lacks():
        missing(lack)
    home = Home(tmp_path / "home")
    yield home
    down(home)


def pid(home: Home) -> int | None:
    """Of the server, while it runs."""
    state = read_state(home)
    return next((p.pid for p in state.processes if p.name == "triton"), None) if state else None


def below(parent: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def shared(home: Home) -> list[Path]:
    """What tensors are exchanged in."""
    return list(Path("/dev/shm").glob(f"lode-{home.instance().id}-*"))


async def test_killed_it_is_back_for_the_same_client_and_nothing_of_it_is_left(home: Home) -> None:
    up(home, detach=True, table=[program()])
    assert is_up(home), "it is ready without Triton"
    until(lambda: pid(home) and answers(home.triton()), "it runs")
    assert stat.S_IMODE(home.triton_folder().stat().st_mode) == 0o700
    add_toy(home.models)
    client, images = Triton(home.triton()), pictures(3)
    first = await client.infer("toy", {"image": images}, ["embedding"])
    before, mapped = pid(home), shared(home)
    assert before
    workers = below(before)
    assert workers
    assert mapped
    os.kill(before, signal.SIGKILL)
    until(lambda: pid(home) not in (None, before) and answers(home.triton()), "it is back")
    assert not any(map(alive, workers))
    assert not any(path.exists() for path in mapped)
    again = await client.infer("toy", {"image": images}, ["embedding"])
    assert (first["embedding"] == again["embedding"]).all()
    assert (first["embedding"] == wanted(images)).all()
    await client.close()
    left = [pid(home), *below(pid(home) or 0)]
    down(home)
    assert not any(alive(each) for each in left if each)
    assert shared(home) == []
