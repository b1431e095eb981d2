"""A cluster of three real NATS servers: streams kept three times, identities stored once, a lost server borne."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from lodestream.bus import Publisher, connect
from lodestream.flow.stream import ensure
from lodestream.streams import LEASE_TTL, REPLICAS, SECOND, STREAMS, ensure_streams
from proto import subjects
from tests.support.servers import Running, start_cluster

PATIENCE = 60.0
"""Seconds that three servers on a busy machine may take to agree."""
LEASES = f"KV_{subjects.LEASES_BUCKET}"
SAME = subjects.output("t", "fetch", "get", "media", "web-1")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    """Three for all tests: what one of them ends, it starts again."""
    started = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    for server in started:
        server.stop()


@pytest.fixture
async def nc(servers: list[Running]) -> AsyncIterator[Client]:
    """A connection that knows every server, once they have agreed who leads."""
    nc = await nats.connect([server.url for server in servers], max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    await agreed(nc, len(servers))
    yield nc
    await nc.close()


async def agreed(nc: Client, size: int) -> None:
    """Until a stream can be kept by so many servers."""
    async with asyncio.timeout(PATIENCE):
        probe = {"name": "probe", "subjects": ["probe"], "num_replicas": size}
        while "error" in await ask(nc, "STREAM.CREATE.probe", probe):
            await asyncio.sleep(0.2)
        await ask(nc, "STREAM.DELETE.probe", {})


async def ask(nc: Client, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """JetStream's answer; an error also where there is none."""
    try:
        return dict(json.loads((await nc.request(f"$JS.API.{what}", json.dumps(body).encode(), timeout=5)).data))
    except nats.errors.Error as error:
        return {"error": str(error)}


async def everything(nc: Client) -> None:
    """Every stream of an instance with one flow."""
    await ensure_streams(nc)
    await ensure(nc, "t", ["r1"])


async def test_every_stream_is_kept_by_three_servers_also_one_that_was_not(nc: Client) -> None:
    await ask(nc, f"STREAM.DELETE.{subjects.SEEDS}", {})
    alone = {"name": subjects.SEEDS, "subjects": [subjects.seeds(">")], "allow_direct": True}
    await ask(nc, f"STREAM.CREATE.{subjects.SEEDS}", alone)
    await everything(nc)
    await everything(nc)
    for name in (*(config["name"] for config in STREAMS), subjects.stream("t")):
        found = await ask(nc, f"STREAM.INFO.{name}", {})
        assert (name, found["config"]["num_replicas"]) == (name, REPLICAS)


async def test_an_identity_is_stored_once_whoever_publishes_through_whichever_server(
    nc: Client, servers: list[Running]
) -> None:
    await everything(nc)
    buses = [await connect(server.url, patience=PATIENCE) for server in servers]
    publishers = [await Publisher(bus).start() for bus in buses]
    many = [SAME.replace("web-1", f"web-{number}") for number in range(100)]
    stored = await asyncio.gather(*(one.publish(subject, b"x") for subject in many for one in publishers))
    again = await asyncio.gather(*(publishers[0].publish(subject, b"y") for subject in many))
    found = await ask(nc, f"STREAM.INFO.{subjects.stream('t')}", {})
    for publisher, bus in zip(publishers, buses, strict=True):
        await publisher.stop()
        await bus.close()
    assert found["state"]["messages"] == len(many)
    assert sum(stored) == len(many)
    assert not any(again)


async def test_a_server_lost_for_good_costs_nothing(nc: Client, servers: list[Running]) -> None:
    await everything(nc)
    leader = (await ask(nc, f"STREAM.INFO.{subjects.stream('t')}", {}))["cluster"]["leader"]
    bus = await connect(next(s.url for s in servers if f"peer-{servers.index(s)}" != leader), patience=PATIENCE)
    publisher = await Publisher(bus).start()
    one, another = (SAME.replace("web-1", name) for name in ("lost-1", "lost-2"))
    assert await publisher.publish(one, b"x")
    lost = servers[int(leader.removeprefix("peer-"))]
    lost.kill()
    async with asyncio.timeout(PATIENCE):
        assert not await publisher.publish(one, b"y")
        assert await publisher.publish(another, b"z")
    await publisher.stop()
    await bus.close()
    lost.start()


async def test_a_lease_has_one_holder_and_runs_out(nc: Client) -> None:
    await everything(nc)
    config = (await ask(nc, f"STREAM.INFO.{LEASES}", {}))["config"]
    assert config["max_age"] == LEASE_TTL
    await ask(nc, f"STREAM.UPDATE.{LEASES}", config | {"max_age": 2 * SECOND, "duplicate_window": SECOND})
    lease = subjects.lease("media", "web-1")
    first = {"Nats-Expected-Last-Subject-Sequence": "0"}
    taken, refused = [json.loads((await nc.request(lease, b"me", headers=first, timeout=10)).data) for _ in range(2)]
    async with asyncio.timeout(PATIENCE):
        while "error" in json.loads((await nc.request(lease, b"you", headers=first, timeout=10)).data):
            await asyncio.sleep(0.2)
    assert "error" not in taken
    assert refused["error"]["err_code"] == 10071
