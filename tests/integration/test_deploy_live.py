"""Flows are deployed anew at random while messages flow: the end is that of the last flow run alone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import structlog
from nats.aio.client import Client

from lodestream.bus import Bus, Publisher, connect
from lodestream.flow.deploy import deploy, finish_backfills, pause, resume
from lodestream.flow.lint import lint
from lodestream.flow.model import Deployed
from lodestream.flow.store import load_deployed
from lodestream.flows import Newest, deployed_flows, watch_flows
from lodestream.job import Parts
from lodestream.objects import open_objects
from lodestream.streams import ensure_streams
from lodestream.worker import Worker
from proto import subjects
from proto.messages import Candidate, Media, encode
from tests.support.live_flows import TRACE, TYPES
from tests.support.servers import start_nats

SEEDS = 60
LAG = timedelta(seconds=1.5)
"""How far behind some workers are at most."""
HEAD = "flow: live\nnodes:\n  s: {type: start}\n  find: {type: find, from: s}\n"


async def put(nc: Client, text: str, new_only: tuple[str, ...] = ()) -> None:
    """Deploy a file that is right."""
    flow, problems = lint(text, TYPES)
    assert flow, problems
    await deploy(nc, flow, new_only=new_only)


@asynccontextmanager
async def workers(url: str, folder: Path, lags: tuple[float, ...]) -> AsyncIterator[None]:
    """For each lag in seconds a worker of every type; it reads a new record so much later."""
    async with AsyncExitStack() as stack:
        for lag in lags:
            for node in TYPES.values():
                bus = await connect(url, patience=5)
                stack.push_async_callback(bus.close)
                publisher = await Publisher(bus).start()
                stack.push_async_callback(publisher.stop)
                parts = Parts(open_objects(f"file://{folder}"), None, folder, structlog.get_logger())  # type: ignore[arg-type]
                worker = Worker(bus, node, parts, None, publisher)
                stack.push_async_callback(worker.stop)
                task = asyncio.create_task(watch_flows(bus, _late(worker, lag)))
                stack.callback(task.cancel)
        yield


def _late(worker: Worker, lag: float):  # type: ignore[no-untyped-def]
    async def apply(flows: dict[str, Deployed]) -> None:
        await asyncio.sleep(random.uniform(0, lag))
        await worker.apply(flows)

    return apply


async def quiet(nc: Client) -> None:
    """Wait until nothing waits and nothing is in hand."""
    js, calm = nc.jetstream(), 0
    while calm < 3:
        await finish_backfills(nc)
        record = await load_deployed(nc, "live")
        infos = [await js.consumer_info(c.stream, c.durable) for c in record.consumers()]
        busy = any(info.num_pending or info.num_ack_pending for info in infos)
        calm = 0 if busy or any(node.backfills for node in record.nodes.values()) else calm + 1
        await asyncio.sleep(0.1)


async def results(nc: Client) -> dict[str, set[tuple[str, str]]]:
    """What each node of the flow gives today: ids and the ways that led there."""
    record = await load_deployed(nc, "live")
    js = nc.jetstream()
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in record.nodes}
    reader = await js.subscribe("flow.live.*.*.media.*", ordered_consumer=True)
    left = (await reader.consumer_info()).num_pending or 0
    left += reader.pending_msgs
    while left:
        msg = await reader.next_msg(timeout=5)
        left = msg.metadata.num_pending
        media = msgspec.json.decode(msg.data, type=Media)
        address = subjects.parse(msg.subject)
        if address.node in record.nodes and media.recipe in record.nodes[address.node].recipes:
            found[address.node].add((media.id, media.title))
    await reader.unsubscribe()
    return found


class Author:
    """Writes flow files at random, of few words, so that what was comes back."""

    def __init__(self, seed: int):
        self.dice = random.Random(seed)

    def text(self) -> str:
        """A flow that is right."""
        gets = self.dice.sample(["g1", "g2", "g3"], self.dice.randint(1, 3))
        rows = [f"  {name}: {{type: get, from: find, word: {self._word()}}}\n" for name in gets]
        below = list(gets)
        for name in self.dice.sample(["t1", "t2", "t3"], self.dice.randint(1, 3)):
            feeds = self.dice.sample(below, self.dice.randint(1, min(2, len(below))))
            rows.append(f"  {name}: {{type: turn, from: [{', '.join(feeds)}], word: {self._word()}}}\n")
            below.append(name)
        return HEAD + "".join(rows)

    def _word(self) -> str:
        return self.dice.choice(["red", "blue"])


async def play(
    url: str, folder: Path, texts: list[str], dice: random.Random, lags: tuple[float, ...]
) -> dict[str, set[tuple[str, str]]]:
    """Deploy one flow after another while seeds come in; what the last one gives in the end."""
    bus: Bus = await connect(url, patience=5)
    nc = bus.nc
    await ensure_streams(nc)
    async with workers(url, folder, lags):
        for turn, text in enumerate(texts):
            await put(nc, text)
            for n in range(turn * SEEDS // len(texts), (turn + 1) * SEEDS // len(texts)):
                await nc.request(subjects.seeds("live"), f"s{n}".encode())
            if dice.random() < 0.3:
                await pause(nc, "live", ["find"])
                await resume(nc, "live", ["find"])
            await asyncio.sleep(dice.choice([0, 0.02, 0.2, 0.8]))
        async with asyncio.timeout(60):
            await quiet(nc)
        found = await results(nc)
    await bus.close()
    return found


@pytest.mark.parametrize("seed", [2, 20, 34])
async def test_the_end_is_that_of_the_last_flow_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("lodestream.flow.record.REST", 2 * LAG)
    author, dice = Author(seed), random.Random(seed)
    texts = [author.text() for _ in range(12)]
    for name in ("rewired", "alone"):
        (tmp_path / name).mkdir()
    with start_nats(tmp_path / "rewired") as server:
        rewired = await play(server.url, tmp_path / "rewired", texts, dice, (0.0, LAG.total_seconds()))
    with start_nats(tmp_path / "alone") as server:
        alone = await play(server.url, tmp_path / "alone", texts[-1:], dice, (0.0,))
    assert rewired == alone
    assert {len(found) for name, found in alone.items() if name.startswith("g")} == {2 * SEEDS}


@asynccontextmanager
async def one_worker(url: str, folder: Path, text: str) -> AsyncIterator[tuple[Client, Worker, Publisher]]:
    """A worker of type `get` that serves a flow as it is deployed now, and hears of no change."""
    bus = await connect(url, patience=5)
    await ensure_streams(bus.nc)
    await put(bus.nc, text)
    publisher = await Publisher(bus).start()
    parts = Parts(open_objects(f"file://{folder}"), None, folder, structlog.get_logger())  # type: ignore[arg-type]
    worker = Worker(bus, TYPES["get"], parts, None, publisher)
    await worker.apply(await deployed_flows(bus))
    yield bus.nc, worker, publisher
    await worker.stop()
    await publisher.stop()
    await bus.close()


async def offer(publisher: Publisher, *names: str) -> None:
    """Publish what `find` would give."""
    for name in names:
        message = Candidate(id=name, url="", source="", seed="s")
        await publisher.publish(subjects.output("live", "find", "find", "candidate", name), encode(message))


G = HEAD + "  g: {type: get, from: find}\n"


async def test_nothing_is_taken_once_pause_returns(tmp_path: Path) -> None:
    with start_nats(tmp_path) as server:
        async with one_worker(server.url, tmp_path, G) as (nc, worker, publisher):
            await offer(publisher, "before")
            assert await pause(nc, "live", ["g"]) == ["g"]
            taken = (await nc.jetstream().consumer_info("FLOW_live", "get-1")).delivered.consumer_seq
            await offer(publisher, *(f"c{n}" for n in range(50)))
            await asyncio.sleep(1)
            info = await nc.jetstream().consumer_info("FLOW_live", "get-1")
            assert (info.delivered.consumer_seq, info.num_pending) == (taken, 51 - taken)
            await resume(nc, "live", ["g"])
            await worker.apply(await deployed_flows(worker.bus))
            async with asyncio.timeout(30):
                await quiet(nc)
            assert len((await results(nc))["g"]) == 51


async def test_a_worker_that_missed_a_change_works_only_where_it_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.worker.FRESH", 0.0)
    with start_nats(tmp_path) as server:
        async with one_worker(server.url, tmp_path, G) as (nc, worker, publisher):
            await put(nc, G.replace("find}", "find, concurrency: 3}"))
            await offer(publisher, "free")
            async with asyncio.timeout(30):
                await quiet(nc)
            assert (await results(nc))["g"] == {("free", "")}
            old = (await load_deployed(nc, "live")).nodes["g"]
            await put(nc, G.replace("find}", "find, word: new}"))
            recipe = "flow.live.find.find.candidate.x", "", 9
            assert old.accepts(*recipe)
            assert await worker._judge("live", "g", old, *recipe) == "later"
            assert not await worker._stands("live", next(iter(worker.serving)))


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work takes all the time that it may; the file says what was brought to its end."""
    monkeypatch.setattr("tests.support.live_flows.random.uniform", lambda least, most: most)
    monkeypatch.setenv(TRACE, str(tmp_path / "trace"))
    (tmp_path / "trace").touch()
    return tmp_path / "trace"


async def in_hand(worker: Worker, count: int) -> None:
    """Wait until the worker has so many messages in hand."""
    async with asyncio.timeout(30):
        while sum(serving.puller.in_hand for serving in worker.serving.values()) != count:
            await asyncio.sleep(0.02)


async def test_work_in_hand_goes_on_over_a_change_that_recomputes_nothing(
    tmp_path: Path, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.worker.GRACE", 0.1)
    text = G.replace("find}", "find, slow: 1.5}")
    with start_nats(tmp_path) as server:
        async with one_worker(server.url, tmp_path, text) as (nc, worker, publisher):
            await offer(publisher, "c")
            await in_hand(worker, 1)
            await put(nc, text.replace("slow", "concurrency: 3, slow"))
            await worker.apply(await deployed_flows(worker.bus))
            await pause(nc, "live", ["g"])
            await worker.apply(await deployed_flows(worker.bus))
            assert len(worker.runners()) == 1
            async with asyncio.timeout(30):
                await quiet(nc)
            assert (await nc.jetstream().consumer_info("FLOW_live", "get-1")).delivered.consumer_seq == 1
            assert worker.runners() == []
            await resume(nc, "live", ["g"])
            await worker.apply(await deployed_flows(worker.bus))
            await offer(publisher, "d")
            await in_hand(worker, 1)
            await put(nc, text.replace("slow", "word: other, slow"))
            await worker.apply(await deployed_flows(worker.bus))
            await in_hand(worker, 2)
    assert [line.split()[1].rpartition(".")[2] for line in slow.read_text().splitlines()] == ["c"]


async def test_work_that_took_long_does_not_ack_at_another_consumer_of_that_name(
    tmp_path: Path, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.bus.puller.LONG", 0.0)
    monkeypatch.setattr("lodestream.flow.record.REST", timedelta(0))
    text = G.replace("find}", "find, slow: 1.5}")
    with start_nats(tmp_path) as server:
        async with one_worker(server.url, tmp_path, text) as (nc, worker, publisher):
            await offer(publisher, "c")
            await in_hand(worker, 1)
            for _ in range(2):
                flow, _problems = lint(text, TYPES)
                assert flow
                await deploy(nc, flow, reset=["g"])
            js = nc.jetstream()
            assert (await load_deployed(nc, "live")).nodes["g"].slot == 1
            await (await js.pull_subscribe_bind("get-1", "FLOW_live")).fetch(1, timeout=5)
            await in_hand(worker, 0)
            await asyncio.sleep(0.2)
            assert len(slow.read_text().splitlines()) == 1
            assert (await js.consumer_info("FLOW_live", "get-1")).num_ack_pending == 1


async def test_a_crowd_that_asks_what_is_deployed_is_answered_by_one_reading(tmp_path: Path) -> None:
    with start_nats(tmp_path) as server:
        bus = await connect(server.url, patience=5)
        await ensure_streams(bus.nc)
        asked = await bus.nc.subscribe("$JS.API.DIRECT.GET.KV_flows")
        newest = Newest(bus)
        await put(bus.nc, HEAD)
        await asyncio.gather(*(newest.flows() for _ in range(200)))
        await put(bus.nc, HEAD + "  g: {type: get, from: find}\n")
        answers = await asyncio.gather(*(newest.flows() for _ in range(200)))
        assert all("g" in flows["live"].nodes for flows in answers)
        assert newest.age < 5
        assert asked.pending_msgs <= 4
        await bus.close()
