"""The basic streams on a real server: made once, kept as they must be."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from lodestream.bus import connect
from lodestream.errors import LodeError
from lodestream.flow.stream import SIZES, ensure
from lodestream.streams import STREAMS, ensure_stream, ensure_streams
from proto import subjects
from tests.support.servers import start_nats


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    """A connection to a fresh server."""
    with start_nats(tmp_path) as server:
        nc = await nats.connect(server.url)
        yield nc
        await nc.close()


async def info(nc: Client, stream: str) -> dict[str, Any]:
    """A stream as the server has it."""
    return dict(json.loads((await nc.request(f"$JS.API.STREAM.INFO.{stream}")).data))


async def test_made_once_and_again_without_change(nc: Client) -> None:
    await ensure_streams(nc)
    before = [(await info(nc, config["name"]))["created"] for config in STREAMS]
    await ensure_streams(nc)
    assert [(await info(nc, config["name"]))["created"] for config in STREAMS] == before


async def test_what_somebody_changed_is_put_right_and_the_rest_is_left_alone(nc: Client) -> None:
    await ensure_streams(nc)
    config = (await info(nc, subjects.DEAD))["config"] | {"max_msgs_per_subject": -1, "max_age": 3600 * 10**9}
    await nc.request(f"$JS.API.STREAM.UPDATE.{subjects.DEAD}", json.dumps(config).encode())
    await ensure_streams(nc)
    now = (await info(nc, subjects.DEAD))["config"]
    assert (now["max_msgs_per_subject"], now["max_age"]) == (1, 3600 * 10**9)


async def test_what_cannot_be_put_right_is_told(nc: Client) -> None:
    await ensure_stream(nc, {"name": subjects.SEEDS, "subjects": ["x"], "storage": "memory"})
    with pytest.raises(LodeError, match=subjects.SEEDS):
        await ensure_streams(nc)


async def test_buckets_are_buckets_to_any_client(nc: Client) -> None:
    await ensure_streams(nc)
    js = nc.jetstream()
    leases = await js.key_value(subjects.LEASES_BUCKET)
    assert (await leases.status()).ttl == 15
    await leases.put("media.a", b"me")
    assert (await leases.get("media.a")).value == b"me"


async def test_dead_letters_replace_each_other_and_seeds_do_not(nc: Client) -> None:
    await ensure_streams(nc)
    js = nc.jetstream()
    for n in range(2):
        await js.publish(subjects.dead("f", "fetch", "get", "a"), b"%d" % n)
        await js.publish(subjects.seeds("f"), b"%d" % n)
        await js.publish(subjects.seeds("f.g"), b"%d" % n)
    assert (await info(nc, subjects.DEAD))["state"]["messages"] == 1
    assert (await info(nc, subjects.SEEDS))["state"]["messages"] == 4
    first = await js.publish(subjects.seeds("f"), b"x", headers={"Nats-Msg-Id": "1"})
    assert (await js.publish(subjects.seeds("f"), b"x", headers={"Nats-Msg-Id": "1"})).duplicate
    assert first.stream == subjects.SEEDS


async def test_advisories_are_kept(nc: Client) -> None:
    await ensure_streams(nc)
    js = nc.jetstream()
    await js.publish(subjects.seeds("f"), b"poison")
    await js.add_consumer(
        subjects.SEEDS, name="f", durable_name="f", ack_policy="explicit", max_deliver=1, ack_wait=0.1
    )
    waiting = await js.pull_subscribe_bind("f", subjects.SEEDS)
    await (await waiting.fetch(1))[0].term()
    kept = await js.pull_subscribe("", "reader", stream=subjects.ADVISORIES)
    advisory = json.loads((await kept.fetch(1, timeout=5))[0].data)
    assert (advisory["stream"], advisory["consumer"], advisory["stream_seq"]) == (subjects.SEEDS, "f", 1)


async def test_a_flow_takes_the_room_that_there_is(tmp_path: Path) -> None:
    with start_nats(tmp_path, "jetstream { max_file_store: 720MB }\n") as server:
        nc = await nats.connect(server.url)
        for flow in ("a", "b", "c", "d"):
            await ensure(nc, flow, [])
        sizes = [(await info(nc, subjects.stream(flow)))["config"]["max_bytes"] for flow in ("a", "b", "c", "d")]
        assert sizes == [SIZES[1], SIZES[2], SIZES[3], SIZES[3]]
        with pytest.raises(LodeError, match="no room for the stream of another flow: not even 32 MiB"):
            await ensure(nc, "e", [])
        await nc.close()


async def test_a_connection_is_closed_without_a_word_where_the_server_is_gone(tmp_path: Path) -> None:
    with start_nats(tmp_path) as server:
        bus = await connect(server.url, patience=30)
        server.kill()
        async with asyncio.timeout(30):
            while bus.nc.is_connected:
                await asyncio.sleep(0.01)
        await bus.nc.publish("never", b"sent")
        await bus.close()
        assert bus.nc.is_closed
