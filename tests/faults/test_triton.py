"""What a Triton server can do to those who ask it: restarts, hangs, memory, models that are not right, strange data."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lodestream.errors import Outage
from lodestream.inference import client, server
from lodestream.inference.client import Triton
from lodestream.inference.failures import BadInput, Crashed, OutOfMemory
from lodestream.job import Job
from proto.messages import Candidate
from tests.support import sick_models
from tests.support.engine import bench, candidate, declare, eventually, media
from tests.support.servers import start_nats
from tests.support.triton import TritonServer, add_toy, pictures, start_triton, wanted


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that is treated badly."""
    server = start_triton(tmp_path_factory.mktemp("s"))
    add_toy(server.models)
    with server.process:
        yield server


@pytest.fixture
async def triton(sick: TritonServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Triton]:
    """A client that soon tries again, and that takes no slow machine for one that hangs."""
    monkeypatch.setattr(client, "REST", 0.1)
    monkeypatch.setattr(server, "SHORT", 60.0)
    made = Triton(sick.address)
    yield made
    await made.close()


async def toy(triton: Triton, count: int = 20, seed: int = 0) -> None:
    """Pictures in, and the right sums out."""
    images = pictures(count, seed)
    made = await triton.infer("toy", {"image": images}, ["embedding"])
    assert np.array_equal(made["embedding"], wanted(images))


async def double(triton: Triton, name: str, rows: int) -> None:
    """As `toy`, of a greedy model."""
    x = np.arange(2 * rows, dtype=np.float32).reshape(-1, 2)
    assert np.array_equal((await triton.infer(name, {"x": x}, ["y"]))["y"], 2 * x)


async def until_right(triton: Triton, seed: int, outages: list[str]) -> None:
    """Ask again after each outage, as a worker does."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await toy(triton, seed=seed)
            except Outage as error:
                outages.append(str(error))
                await asyncio.sleep(0.1)


async def test_killed_in_the_middle_and_started_again(sick: TritonServer, triton: Triton) -> None:
    await toy(triton)
    outages: list[str] = []
    asking = [asyncio.create_task(until_right(triton, seed, outages)) for seed in range(60)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    sick.process.kill()
    await asyncio.sleep(0.5)
    sick.process.start()
    await asyncio.gather(*asking)
    assert outages
    assert all("Triton" in words for words in outages)


async def test_hung_is_said_within_a_bounded_time_and_passes(
    sick: TritonServer, triton: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    await toy(triton)
    monkeypatch.setattr(server, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(server, "SHORT", 0.5)
    os.kill(sick.process.process.pid, signal.SIGSTOP)
    try:
        for asked in (triton, Triton(sick.address)):  # one that knows the model, and one that asks for it first
            with pytest.raises(Outage, match="Triton hangs"):
                await asyncio.wait_for(toy(asked), 60)
    finally:
        os.kill(sick.process.process.pid, signal.SIGCONT)
    await toy(triton)


async def test_a_process_that_dies_is_replaced(sick: TritonServer, triton: Triton) -> None:
    await toy(triton)
    stub = _stubs(sick)[-1]
    os.kill(stub, signal.SIGKILL)
    await toy(triton)
    assert _stubs(sick)[-1] != stub


async def test_a_process_that_dies_of_every_batch_is_an_outage(
    sick: TritonServer, triton: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played by a server that says so."""

    async def dies(*_: Any) -> None:
        raise Crashed("the process of model toy has died")

    await toy(triton)
    monkeypatch.setattr(server.Server, "infer", dies)
    with pytest.raises(Outage, match="has died"):
        await toy(triton)


async def test_batches_are_halved_until_they_fit_into_memory(sick: TritonServer, triton: Triton) -> None:
    sick_models.add_greedy(sick.models, "greedy")
    await double(triton, "greedy", 16)
    await asyncio.gather(*(double(triton, "greedy", rows) for rows in (1, 3, 9)))
    await toy(triton)


async def test_too_little_memory_for_one_row_is_an_outage_of_that_model_alone(
    sick: TritonServer, triton: Triton
) -> None:
    sick_models.add_greedy(sick.models, "greediest", least=1 << 60)
    with pytest.raises(OutOfMemory, match="too little memory for model greediest"):
        await double(triton, "greediest", 8)
    await toy(triton)


def no_file(model: Path) -> None:
    (model / "1" / "model.onnx").unlink()


def broken_file(model: Path) -> None:
    (model / "1" / "model.onnx").write_bytes((model / "1" / "model.onnx").read_bytes()[:-60])


def no_config(model: Path) -> None:
    (model / "config.pbtxt").write_text("no configuration")


def other_shape(model: Path) -> None:
    config = (model / "config.pbtxt").read_text()
    (model / "config.pbtxt").write_text(config.replace("dims: [4]", "dims: [512]"))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (shutil.rmtree, "finds no model"),
        (no_file, "cannot load model.*model.onnx"),
        (broken_file, "cannot load model.*model.onnx"),
        (no_config, "or no sense in its config.pbtxt"),
        (other_shape, r"cannot load model.*'embedding' is \['n', 4\] in the graph, \[512\] in the configuration"),
    ],
)
async def test_a_model_that_is_not_right_is_an_outage_until_it_is(
    sick: TritonServer, triton: Triton, harm: Callable[[Path], None], words: str
) -> None:
    name = f"ill-{harm.__name__}"
    harm(add_toy(sick.models, name))
    with pytest.raises(Outage, match=words) as caught:
        await triton.infer(name, {"image": pictures(1)}, ["embedding"])
    assert "\n" not in str(caught.value)
    shutil.rmtree(sick.models / name, ignore_errors=True)
    add_toy(sick.models, name)
    await asyncio.sleep(0.2)
    made = await triton.infer(name, {"image": pictures(1)}, ["embedding"])
    assert np.array_equal(made["embedding"], wanted(pictures(1)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (
            {"image": pictures(2)[:, 1:]},
            ["embedding"],
            r"takes image UINT8 \(n, 8, 8, 3\), not UINT8 \(n, 7, 8, 3\)",
        ),
        ({"image": pictures(2) * 1.0}, ["embedding"], "takes image UINT8 .* not FP64"),
        ({"picture": pictures(2)}, ["embedding"], "no input 'picture'; it has image"),
        ({"image": pictures(2)}, ["logits"], "no output 'logits'; it has embedding, sums"),
        ({}, ["embedding"], "takes 'image' as well"),
    ],
)
async def test_what_another_model_would_take_is_an_outage_in_words(
    triton: Triton, inputs: dict[str, np.ndarray], outputs: list[str], words: str
) -> None:
    with pytest.raises(Outage, match=words):
        await triton.infer("toy", inputs, outputs)


async def test_a_card_that_says_another_size(triton: Triton) -> None:
    with pytest.raises(Outage, match=r"model toy gives embedding FP32 \(n, 4\), its card says FP32 \(n, 768\)"):
        await triton.infer("toy", {"image": pictures(1)}, ["embedding"], {"embedding": (768,)})


async def test_what_is_not_a_number_is_left_to_the_caller(sick: TritonServer, triton: Triton) -> None:
    sick_models.add_divider(sick.models, "divider")
    made = await triton.infer("divider", {"x": np.array([[1, 0], [0, 2]], np.float32)}, ["y"])
    assert np.array_equal(made["y"], [[1, np.nan], [np.nan, 1]], equal_nan=True)


async def test_a_bad_input_fails_its_own_request_and_none_beside_it(sick: TritonServer, triton: Triton) -> None:
    sick_models.add_reader(sick.models, "reader")
    good = [np.array([[number, number + 1]]) for number in range(6)]
    bad = np.array([[1, sick_models.WORDS + 7]])
    asked = [triton.infer("reader", {"x": x}, ["y"]) for x in [*good[:3], bad, *good[3:]]]
    first, second, third, refused, *rest = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(refused, BadInput)
    assert isinstance(refused, ValueError)
    assert "reader refuses an input" in str(refused)
    for x, made in zip(good, [first, second, third, *rest], strict=True):
        assert isinstance(made, dict)
        assert np.array_equal(made["y"], x)


async def test_workers_that_load_at_once_load_once(sick: TritonServer) -> None:
    add_toy(sick.models, "wanted-by-all")
    before = _stubs(sick)
    workers = [Triton(sick.address) for _ in range(4)]
    asked = [worker.infer("wanted-by-all", {"image": pictures(2)}, ["sums"]) for worker in workers for _ in range(3)]
    made = await asyncio.gather(*asked)
    assert all(np.array_equal(each["sums"], wanted(pictures(2))[:, 1:]) for each in made)
    assert len(set(_stubs(sick)) - set(before)) == 1
    await asyncio.gather(*(worker.close() for worker in workers))


async def test_without_an_address_it_says_so() -> None:
    with pytest.raises(Outage, match="LODE_TRITON"):
        await toy(Triton(""))


async def test_nothing_is_dead_lettered_for_a_server_that_is_away(
    sick: TritonServer, triton: Triton, tmp_path: Path
) -> None:
    async def infer(message: Candidate, job: Job) -> AsyncIterator[tuple[str, Any]]:
        await toy(triton, 3)
        yield "media", media(message)

    sick.process.kill()
    try:
        with start_nats(tmp_path) as nats:
            async with bench(nats.url, tmp_path) as made:
                await made.offer(*(candidate(number) for number in range(3)))
                runner = await made.run(declare(infer))

                async def waits() -> bool:
                    return "Triton does not run" in runner.tally.waits_for

                async def done() -> bool:
                    return len(await made.stored()) == 3

                await eventually(waits, 60)
                sick.process.start()
                await eventually(done, 60)
                assert not await made.stored("dead.>", "DEAD")
                assert (runner.tally.dead, runner.tally.retried) == (0, 0)
    finally:
        sick.process.stop()
        sick.process.start()


def _stubs(server: TritonServer) -> list[int]:
    """The processes that compute, the newest last."""
    pid = server.process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
