"""Leases on a real server: one holder at a time, a dead one loses it, a stale one notices, slots are handed on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lodestream.bus import Bus, connect
from lodestream.errors import Outage
from lodestream.leases import Lost, NatsLeases
from lodestream.streams import BASE, SECOND, STREAMS, ensure_stream
from proto import subjects
from tests.support.servers import Running, start_nats

TTL = 1.5
Open = Callable[[], Any]


@pytest.fixture
def server(tmp_path: Path):
    with start_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def bus(server: Running) -> AsyncIterator[Bus]:
    """A person's connection, and the bucket with entries that expire soon."""
    bus = await connect(server.url, patience=5)
    (config,) = [c for c in STREAMS if c["name"] == f"KV_{subjects.LEASES_BUCKET}"]
    life = int(TTL * SECOND)
    await ensure_stream(bus.nc, BASE | config | {"max_age": life, "duplicate_window": life})
    yield bus
    await bus.close()


@pytest.fixture
async def worker(server: Running, bus: Bus) -> AsyncIterator[Open]:
    """Opens leases of a process of its own."""
    async with AsyncExitStack() as stack:

        async def one() -> NatsLeases:
            its = await connect(server.url, patience=5)
            stack.push_async_callback(its.close)
            return NatsLeases(its, TTL)

        yield one


async def entries(bus: Bus) -> dict[str, str]:
    info = await bus.nc.jetstream().stream_info(f"KV_{subjects.LEASES_BUCKET}", subjects_filter=">")
    return info.state.subjects or {}


async def test_one_holder_at_a_time_among_processes(worker):
    inside = most = 0
    waited = []

    async def work(leases: NatsLeases) -> None:
        nonlocal inside, most
        async with leases.hold("media", "web-1") as hold:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            waited.append(hold.waited)
            inside -= 1

    both = [await worker(), await worker()]
    await asyncio.gather(*(work(leases) for leases in both for _ in range(3)))
    assert most == 1
    assert waited == [False, True, True, True, True, True]


async def test_given_back_is_free_at_once(worker, bus):
    one, other = await worker(), await worker()
    subject = subjects.lease("media", "web-1")
    for leases in (one, other, one):
        lease = await leases.take(subject)
        assert lease
        await leases.give_back(lease)
    assert await entries(bus) == {}


async def test_held_for_longer_than_an_entry_lives(worker):
    one, other = await worker(), await worker()
    async with one.hold("media", "web-1"):
        await asyncio.sleep(2.5 * TTL)
        assert await other.take(subjects.lease("media", "web-1")) is None


async def test_dead_holder_loses_it(worker):
    dead, other = await worker(), await worker()
    await dead.take(subjects.lease("media", "web-1"))
    await dead._nc.close()
    async with asyncio.timeout(10), other.hold("media", "web-1") as hold:
        assert hold.waited


async def test_stale_holder_notices_and_takes_nothing_from_the_next(worker, bus):
    stale = await worker()
    with pytest.raises(Lost, match=r"media\.web-1"):  # noqa: PT012
        async with stale.hold("media", "web-1"):
            await bus.nc.jetstream().purge_stream(f"KV_{subjects.LEASES_BUCKET}")
            other = await worker()
            assert await other.take(subjects.lease("media", "web-1"))
            await asyncio.sleep(60)
    assert list(await entries(bus)) == [subjects.lease("media", "web-1")]


async def test_stale_holder_is_told_so_before_it_stores_anything(worker, bus):
    stale, other = await worker(), await worker()
    with pytest.raises(Lost, match=r"media\.web-1"):  # noqa: PT012
        async with stale.hold("media", "web-1") as hold:
            await hold.confirm()
            stale._renewing.cancel()  # as if the process had been stopped
            async with asyncio.timeout(30), other.hold("media", "web-1") as successor:
                await successor.confirm()
                await hold.confirm()
    async with asyncio.timeout(30), other.hold("media", "web-1"):
        pass


async def test_a_lease_that_expired_and_that_nobody_took_is_confirmed(worker, bus):
    leases = await worker()
    async with leases.hold("media", "web-1") as hold:
        leases._renewing.cancel()
        async with asyncio.timeout(30):
            while await entries(bus):
                await asyncio.sleep(0.05)
        assert not await hold.confirm()
        assert await hold.confirm()
        assert list(await entries(bus)) == [subjects.lease("media", "web-1")]


async def test_whoever_had_it_and_gave_it_back_meanwhile_is_noticed(worker, bus):
    stale, other = await worker(), await worker()
    async with stale.hold("media", "web-1") as hold:
        assert await hold.confirm()
        stale._renewing.cancel()
        async with asyncio.timeout(30), other.hold("media", "web-1") as successor:
            assert await successor.confirm()
        async with asyncio.timeout(30):
            while await entries(bus):
                await asyncio.sleep(0.05)
        assert not await hold.confirm()


async def test_lost_before_its_work_began(worker, bus):
    """What waits for its place in the worker may lose the lease that it has waited for."""
    leases, other = await worker(), await worker()
    blocker = await other.take(subjects.lease("media", "web-1"))

    @asynccontextmanager
    async def parked() -> AsyncIterator[None]:
        yield
        (lease,) = leases._held.values()
        leases._held.clear()
        lease.lose()

    began = False
    with pytest.raises(Lost):  # noqa: PT012
        asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(other.give_back(blocker)))
        async with leases.hold("media", "web-1", parked):
            await asyncio.sleep(0)
            began = True
    assert not began


async def test_outage_is_told_and_survived(worker, server):
    leases = await worker()
    async with leases.hold("media", "web-1"):
        server.kill()
        with pytest.raises(Outage, match="leases"):
            await leases.take(subjects.lease("media", "web-2"))
        await asyncio.sleep(TTL)
        server.start()
        await asyncio.sleep(2 * TTL)
        assert await leases._store(subjects.lease("media", "web-1"), 0) is None
    assert await leases.take(subjects.lease("media", "web-1"))


async def test_slots_of_a_host_among_processes(worker):
    inside = most = 0

    async def work(leases: NatsLeases) -> None:
        nonlocal inside, most
        async with leases.slot("host", "example.org", 3):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    both = [await worker(), await worker()]
    async with asyncio.timeout(30):
        await asyncio.gather(*(work(leases) for leases in both for _ in range(40)))
    assert most == 3


async def test_slots_are_handed_on_without_asking_the_server(worker, bus):
    leases = await worker()

    async def work() -> None:
        async with leases.slot("host", "example.org", 2):
            await asyncio.sleep(0.002)

    await asyncio.gather(*(work() for _ in range(50)))
    info = await bus.nc.jetstream().stream_info(f"KV_{subjects.LEASES_BUCKET}")
    assert info.state.last_seq == 2


async def test_unused_slots_are_freed(worker, bus):
    leases = await worker()
    async with leases.slot("host", "example.org", 2):
        (subject,) = await entries(bus)
        said = json.loads((await bus.nc.jetstream().get_last_msg(f"KV_{subjects.LEASES_BUCKET}", subject)).data)
        assert set(said) == {"host", "pid"}
    async with asyncio.timeout(10):
        while await entries(bus):
            await asyncio.sleep(0.05)
    assert leases._pools == {}


async def test_waiting_for_a_slot_can_be_cancelled(worker):
    leases = await worker()

    async def work() -> None:
        async with leases.slot("host", "example.org", 1):
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(work()) for _ in range(30)]
    for task in tasks[::2]:
        await asyncio.sleep(0.003)
        task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks, return_exceptions=True)
        await work()


async def test_close_gives_everything_back(worker, bus):
    leases = await worker()
    async with leases.slot("host", "example.org", 2):
        pass
    await leases.close()
    assert await entries(bus) == {}
