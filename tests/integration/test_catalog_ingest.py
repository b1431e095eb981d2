"""The catalog's service against a real server: every message once in the tables, whatever is killed."""

import asyncio
import json
import resource
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import nats.errors
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from lodestream.catalog import ask, sql
from lodestream.errors import LodeError
from lodestream.registry import node_types
from lodestream.rights import accounts, users
from proto import subjects
from proto.messages import DeadLetter, Resolved, Seed, encode
from services.catalog.schema import OF_FLOWS
from tests.support.catalog import Output, Stage, deployed, media, shard, stage, video
from tests.support.servers import Running, start_nats

FLOW = subjects.stream("demo")
SEED: Output = ("intake", "seeds", "seed", Seed(id="seed-1", kind="query", value="cats"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    """A nats-server."""
    with start_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def made(server: Running, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage with flow `demo`, its service not yet started."""
    async with stage(server.url, tmp_path) as made:
        await made.deploy(deployed("demo"))
        yield made


async def publish_videos(made: Stage, count: int, first: int = 0, flow: str = "demo") -> None:
    """What a flow gives of some videos."""
    for number in range(first, first + count):
        await made.publish(flow, video(number))


async def start_again(made: Stage, server: Running) -> None:
    """Start a server that has ended, and wait until the test's own client is back."""
    server.start()
    while True:
        try:
            await made.nc.flush(1)
            return
        except nats.errors.Error:
            await asyncio.sleep(0.1)


async def everything(made: Stage) -> dict[str, list[list[object]]]:
    """Every row of every table that comes from streams."""
    tables = (*OF_FLOWS, "main.dead", "main.frames", "main.watermark")
    return {table: await made.ask(f"from {table} order by all") for table in tables}


async def test_what_is_published_is_in_the_tables(made: Stage) -> None:
    await made.publish("demo", [SEED])
    await publish_videos(made, 20)
    made.start()
    await made.settled()
    assert await made.ask("select node, inputs, out, rejected from progress") == [
        ["seeds", None, 1, 0],
        ["find", 1, 20, 0],
        ["get", 20, 18, 2],
        ["frames", 18, 18, 0],
    ]
    await made.deploy(deployed("later"))
    await publish_videos(made, 3, flow="later")
    await made.settled()
    assert await made.ask("select flow, count(*) from media group by all order by 1") == [["demo", 18], ["later", 3]]
    assert made.stop() == 0
    assert made.log() == ""


async def test_killed_again_and_again_it_has_every_row_once(made: Stage) -> None:
    publishing = asyncio.create_task(publish_videos(made, 4000))
    for _ in range(5):
        made.start()
        await asyncio.sleep(0.9)
        made.kill()
    await publishing
    made.start()
    await made.settled()
    assert await made.ask("select count(*), count(distinct media_id), sum(bytes)::int from media") == [
        [3600, 3600, 3600_000]
    ]
    assert await made.ask("select count(*), count(distinct frame_id) from frames") == [[36_000, 36_000]]
    assert await made.ask("select sum(messages)::int, sum(frames)::int from history.counts") == [[11_600, 36_000]]
    assert await made.ask("select count(*), count(distinct entity) from rejects") == [[400, 400]]


async def test_a_server_that_is_killed_is_waited_for(made: Stage, server: Running) -> None:
    made.start()
    await publish_videos(made, 20)
    await made.settled()
    server.kill()
    await start_again(made, server)
    await publish_videos(made, 30, first=20)
    await made.settled()
    assert await made.ask("select count(*) from candidates") == [[50]]
    assert made.process is not None
    assert made.process.poll() is None


async def test_a_rebuild_gives_the_same_tables(made: Stage) -> None:
    made.start()
    await made.publish("demo", [SEED])
    await publish_videos(made, 100)
    letter = DeadLetter(id="a", flow="demo", node_type="fetch", node="get", entity="a", reason="timeout", at="")
    for entity in "abc":
        await made.nc.publish(subjects.dead("demo", "fetch", "get", entity), encode(letter))
    await made.nc.publish(subjects.dead("demo", "fetch", "get", "b"), encode(Resolved(id="b", how="dropped", at="")))
    await made.nc.publish(subjects.output("demo", "fetch", "get", "media", "junk"), b"junk")
    await made.settled()
    before = await everything(made)
    assert [len(before[table]) for table in ("history.media", "main.dead", "main.frames")] == [90, 3, 900]
    await ask(made.nc, subjects.CATALOG_REBUILD)
    await made.settled()
    assert await everything(made) == before
    made.kill()
    for file in made.folder.glob("catalog.duckdb*"):
        file.unlink()
    made.start()
    await made.settled()
    assert await everything(made) == before


async def test_a_stream_made_anew_is_read_anew(made: Stage) -> None:
    made.start()
    await publish_videos(made, 20)
    await made.settled()
    js = made.nc.jetstream()
    await js.delete_stream(FLOW)
    await made.deploy(deployed("demo"))
    await publish_videos(made, 5)
    while await made.ask("select count(*) from candidates") != [[5]]:
        await asyncio.sleep(0.1)
    await made.settled()
    await js.delete_stream(FLOW)
    while await made.ask("select stream from watermark") != [["DEAD"]]:
        await asyncio.sleep(0.1)
    assert await made.ask("select count(*) from media") == [[0]]


async def test_a_server_that_lost_its_last_messages_is_believed(made: Stage, server: Running) -> None:
    data = server.folder / "data"
    made.start()
    await publish_videos(made, 10)
    await made.settled()
    server.stop()
    shutil.copytree(data, data.with_name("earlier"))
    await start_again(made, server)
    await publish_videos(made, 10, first=10)
    await made.settled()
    server.stop()
    shutil.rmtree(data)
    data.with_name("earlier").rename(data)
    await start_again(made, server)
    await publish_videos(made, 15, first=100)
    while await made.ask("select max(media_id) from candidates") != [["example-000114"]]:
        await asyncio.sleep(0.1)
    await made.settled()
    assert await made.ask("select count(*), count(distinct media_id) from candidates") == [[25, 25]]
    assert await made.ask("select sum(messages)::int from history.counts where kind = 'candidate'") == [[25]]


async def test_a_changed_recipe_shows_without_a_restart(made: Stage) -> None:
    made.start()
    await publish_videos(made, 5)
    await made.settled()
    await made.deploy(deployed("demo", cut="cccccccc"))
    await made.publish("demo", [("extract", "frames", "shard", shard("example-000001", frames=3, cut="cccccccc"))])
    while await made.ask("select count(*) from frames") != [[3]]:
        await asyncio.sleep(0.05)
    assert await made.ask("select sum(frames)::int from history.shards") == [[53]]


async def test_poison_becomes_a_dead_letter_once(made: Stage) -> None:
    js = made.nc.jetstream()
    await made.publish("demo", [("fetch", "get", "media", media("poison"))])
    await kill_workers(made, "extract-1")
    made.start()
    while not (rows := await dead_rows(made)):
        await asyncio.sleep(0.05)
    subject = subjects.output("demo", "fetch", "get", "media", "poison_aaaaaaaa")
    assert rows == [["frames", "extract", "poison_aaaaaaaa", "killed its workers", 2, subject, "example.org"]]
    [advisory] = [await js.get_msg(subjects.ADVISORIES, seq=1)]
    await made.nc.publish(advisory.subject, advisory.data or b"")
    await made.nc.publish(advisory.subject, b"junk")
    where = subjects.dead("demo", "extract", "frames", "poison_aaaaaaaa")
    await js.publish(where, encode(Resolved(id="poison", how="dropped", at="")))
    await made.nc.publish(advisory.subject, advisory.data or b"")
    while (await js.consumer_info(subjects.ADVISORIES, subjects.CATALOG)).ack_floor.stream_seq < 4:
        await asyncio.sleep(0.05)
    await made.settled()
    assert await dead_rows(made) == []
    assert (await js.stream_info(subjects.DEAD)).state.last_seq == 2
    held = msgspec.json.decode((await js.get_msg(subjects.DEAD, seq=2)).data or b"")
    assert held["type"] == "resolved"


async def kill_workers(made: Stage, durable: str) -> None:
    """Take the first message of a new consumer twice, and never answer: it is given up."""
    js = made.nc.jetstream()
    config = ConsumerConfig(
        name=durable,
        durable_name=durable,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=0.2,
        max_deliver=2,
        filter_subject=subjects.wire("demo", "fetch", "get", "media"),
    )
    await js.add_consumer(FLOW, config)
    killed = await js.pull_subscribe_bind(durable, FLOW)
    for _ in range(2):
        await killed.fetch(1, timeout=5)
        await asyncio.sleep(0.3)
    with pytest.raises(TimeoutError):
        await killed.fetch(1, timeout=0.3)


async def test_poison_that_kills_again_after_a_reset_is_buried_again(made: Stage) -> None:
    await made.publish("demo", [("fetch", "get", "media", media("poison"))])
    made.start()
    where = subjects.dead("demo", "extract", "frames", "poison_aaaaaaaa")
    for slot in (1, 2, 3):
        flow = deployed("demo")
        flow.nodes["frames"].slot, flow.nodes["frames"].since = slot, datetime.now(UTC).isoformat()
        await made.deploy(flow)
        await kill_workers(made, f"extract-{slot}")
        async with asyncio.timeout(30):
            while (await made.nc.jetstream().stream_info(subjects.DEAD)).state.last_seq != slot + (slot == 3):
                await asyncio.sleep(0.05)
        assert len(await dead_rows(made)) == 1
        if slot == 2:  # settled, by a look that was faster than the news
            await made.nc.request(where, encode(Resolved(id="poison", how="succeeded", at="")))
            assert await dead_rows(made) == []


async def dead_rows(made: Stage) -> list[list[object]]:
    """What is dead."""
    await made.settled()
    return await made.ask("select node, node_type, entity, reason, deliveries, input_subject, source from dead")


async def test_a_full_disk_is_waited_for(made: Stage) -> None:
    made.start()
    await publish_videos(made, 10)
    await made.settled()
    assert made.process is not None
    size = (made.folder / "catalog.duckdb.wal").stat().st_size
    resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE, (size + 20_000, resource.RLIM_INFINITY))
    await publish_videos(made, 500, first=10)
    while not (status := await ask(made.nc, subjects.CATALOG_STATUS))["trouble"]:
        await asyncio.sleep(0.05)
    assert status["lag"] > 0
    assert await made.ask("select count(*) from candidates") == [[10]]
    resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (await made.settled())["trouble"] == ""
    assert await made.ask("select count(*) from candidates") == [[510]]


async def test_a_disk_that_fills_up_in_a_checkpoint_costs_a_restart(made: Stage) -> None:
    made.start()
    await publish_videos(made, 200)
    await made.settled()
    assert made.process is not None
    size = (made.folder / "catalog.duckdb").stat().st_size
    resource.prlimit(made.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    with pytest.raises((LodeError, nats.errors.Error, TimeoutError)):
        await ask(made.nc, subjects.CATALOG_SNAPSHOT, seconds=-4)
    assert await asyncio.to_thread(made.process.wait) == 75
    made.start()
    await publish_videos(made, 10, first=200)
    await made.settled()
    assert await made.ask("select count(*) from candidates") == [[210]]


async def test_a_second_service_waits_for_the_first(made: Stage) -> None:
    made.start()
    await publish_videos(made, 5)
    await made.settled()
    first = made.process
    assert first is not None
    made.start()
    while "waiting for the catalog's file" not in made.log():
        await asyncio.sleep(0.05)
    assert f"PID {first.pid}" in made.log()
    first.kill()
    first.wait()
    await made.settled()
    assert await made.ask("select count(*) from candidates") == [[5]]


async def test_a_broken_file_is_set_aside_and_made_anew(made: Stage) -> None:
    await publish_videos(made, 5)
    made.folder.mkdir()
    (made.folder / "catalog.duckdb").write_bytes(b"x" * 20_000)
    made.start()
    await made.settled()
    assert await made.ask("select count(*) from candidates") == [[5]]
    assert (made.folder / "catalog.duckdb.broken").stat().st_size == 20_000


async def test_the_rights_of_its_user_are_enough(tmp_path: Path) -> None:
    types = node_types()
    passwords = {user: f"only-for-tests-{user}" for user in users(types)}
    with start_nats(tmp_path, accounts(types, passwords)) as server:
        secret = tmp_path / "password"
        secret.write_text(passwords["catalog"])
        url = server.url.replace("://", f"://operator:{passwords['operator']}@")
        async with stage(url, tmp_path) as made:
            made.env = {
                "LODE_NATS_URL": server.url,
                "LODE_NATS_USER": "catalog",
                "LODE_NATS_PASSWORD_FILE": str(secret),
            }
            await made.deploy(deployed("demo"))
            await publish_videos(made, 10)
            made.start()
            await made.settled()
            assert (await sql("from frames", made.ways)).way == "service"
            await ask(made.nc, subjects.CATALOG_SNAPSHOT)
            await ask(made.nc, subjects.CATALOG_REBUILD)
            await made.settled()
            consumers = json.loads((await made.nc.request(f"$JS.API.CONSUMER.NAMES.{FLOW}")).data)["consumers"]
            assert consumers == ["catalog"]
            assert made.log() == ""
