"""The catalog's doors: what they answer, what they refuse, and that nothing gets stuck in them."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow.parquet
import pytest

from lodestream.catalog import Ways, ask, sql
from lodestream.catalog.client import DOOR_FILE, TOKEN_FILE
from lodestream.catalog.extensions import load_quack
from lodestream.catalog.gate import CONFIG
from lodestream.errors import LodeError
from lodestream.objects import open_objects
from proto import keys, subjects
from services.catalog.quack_child import Serve
from services.catalog.store import Store
from tests.support.catalog import Stage, deployed, shard, stage, video
from tests.support.servers import free_port, program, start_nats

ENDLESS = "select count(*) from range(1000000000) a, range(1000000) b"
BOMBS = (
    ENDLESS,
    "select count(*) from range(1000000000) a, range(1000000000) b",
    "with recursive r as (select 1 as n union all select n + 1 from r) select max(n) from r",
    "select len(range(3000000000))",
    "select repeat('x', 4000000000)",
    "select sum(len(repeat(i::varchar, 1000000))) from range(1000000) t(i)",
    "select list(a.range || '-' || b.range) from range(100000) a, range(100000) b",
    "select * from range(1000000000) order by hash(range)",
    "select string_agg(repeat('x', 1000000), '') from range(1000000)",
)
UNPLANNABLE = "select " + ", ".join("len(" + " || ".join([f"repeat('{n}', 30000000)"] * 20) + ")" for n in range(60))
"""DuckDB computes constants while it plans, and cannot be interrupted then."""


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Stage]:
    """A running catalog with twenty videos in it."""
    with start_nats(tmp_path) as server:
        async with stage(server.url, tmp_path) as made:
            await made.deploy(deployed("demo"))
            for number in range(20):
                await made.publish("demo", video(number))
            made.start()
            await made.settled()
            yield made


async def test_any_nats_client_may_ask(made: Stage) -> None:
    async def request(payload: bytes) -> Any:
        return json.loads((await made.nc.request(subjects.CATALOG_SQL, payload, timeout=10)).data)

    answer = await request(b"select media_id, bytes from media order by 1 limit 2")
    assert answer["rows"] == [["example-000000", 1000], ["example-000001", 1000]]
    assert (answer["columns"], answer["types"]) == (["media_id", "bytes"], ["VARCHAR", "BIGINT"])
    assert (answer["truncated"], answer["next"]) == (False, "")
    assert (await request(b'{"sql": "from candidates", "rows": 3}'))["truncated"]
    assert await request(b"") == {"error": "nothing is asked; try: select * from progress"}
    assert "Did you mean" in (await request(b"from medi"))["error"]
    assert "`sql`" in (await request(b'{"query": "from media"}'))["error"]
    assert "`sql`" in (await request(b"\xff\xfe"))["error"]
    assert (await request(b"drop table dead"))["error"].startswith("the catalog answers questions")
    client = [program("nats"), "--server", made.url]
    asked = await asyncio.create_subprocess_exec(
        *client, "req", "--raw", subjects.CATALOG_SQL, "select 1", stdout=subprocess.PIPE
    )
    assert json.loads((await asked.communicate())[0])["rows"] == [[1]]
    listed = await asyncio.create_subprocess_exec(*client, "micro", "ls", stdout=subprocess.PIPE)
    assert b"SQL over everything" in (await listed.communicate())[0]


async def test_a_long_answer_comes_whole(made: Stage) -> None:
    answer = await sql("select range as n, repeat('x', 50) as t from range(100000)", made.ways)
    assert (len(answer.rows), answer.rows[-1][0], answer.truncated, answer.way) == (100_000, 99_999, False, "service")
    some = await sql("select range from range(100000)", made.ways, rows=25_000)
    assert (len(some.rows), some.truncated) == (25_000, True)
    part = await ask(made.nc, subjects.CATALOG_SQL, {"sql": "from range(10)", "rows": 4, "keep": True})
    rest = await ask(made.nc, subjects.CATALOG_SQL, {"next": part["next"]})
    assert rest["rows"] == [[n] for n in range(4, 10)]
    with pytest.raises(LodeError, match="gone"):
        await ask(made.nc, subjects.CATALOG_SQL, {"next": part["next"]})
    with pytest.raises(LodeError, match="fewer columns"):
        await sql("select repeat('x', 3000000)", made.ways)


async def test_bombs_end_by_their_deadline_and_others_are_answered(made: Stage) -> None:
    bombs = [sql(bomb, Ways(made.nc), seconds=2) for bomb in BOMBS]
    exploding = asyncio.gather(*bombs, return_exceptions=True)
    number, started = 100, time.monotonic()
    while not exploding.done():
        await made.publish("demo", video(number))
        number += 1
        await asyncio.sleep(0.05)
    assert [type(error) for error in await exploding] == [LodeError] * len(BOMBS)
    assert time.monotonic() - started < 60
    await made.settled()
    assert await made.ask("select count(*) from candidates") == [[20 + number - 100]]
    assert made.process is not None
    assert made.process.poll() is None


async def test_a_query_that_cannot_be_interrupted_ends_the_process_and_costs_nothing(made: Stage) -> None:
    with pytest.raises(LodeError, match="cannot even be planned"):
        await sql(UNPLANNABLE, Ways(made.nc), seconds=1)
    assert await made.ask("select count(*) from media") == [[18]]
    assert made.process is not None
    assert await asyncio.to_thread(made.process.wait) == 75
    made.start()
    await made.settled()
    assert await made.ask("select count(*) from media") == [[18]]


async def test_a_query_finds_its_way(made: Stage, tmp_path: Path) -> None:
    query = "select count(*), max(at) > '2020-01-01' from frames"
    without_nats = Ways(None, made.folder)
    expected = [[180, True]]
    for ways, way in ((made.ways, "service"), (without_nats, "quack")):
        answer = await sql(query, ways)
        assert (answer.rows, answer.way) == (expected, way)
    made.kill()
    answer = await sql(query, made.ways)
    assert (answer.rows, answer.way) == (expected, "file")
    for text, why in (("from medi", "Did you"), ("drop table dead", "questions"), ("from '/etc/passwd'", "exist")):
        with pytest.raises(LodeError, match=why):
            await sql(text, made.ways)
    with pytest.raises(LodeError, match=r"stopped after 0\.2 s"):
        await sql(ENDLESS, made.ways, seconds=0.2)
    with pytest.raises(LodeError, match="lode up"):
        await sql(query, Ways(None, tmp_path / "nowhere"))
    assert answer.objects()[0]["count_star()"] == 180


def quack_client(made: Stage) -> duckdb.DuckDBPyConnection:
    """DuckDB as a person would have it, attached to the catalog."""
    client = duckdb.connect(config=CONFIG)
    load_quack(client)
    client.execute(f"create secret (type quack, token '{(made.folder / TOKEN_FILE).read_text().strip()}')")
    client.execute(f"attach '{(made.folder / DOOR_FILE).read_text().strip()}' as lode")
    return client


async def in_thread(client: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    """The rows of a query; this process goes on meanwhile."""
    return await asyncio.to_thread(lambda: client.execute(query).fetchall())


async def test_any_duckdb_may_read_and_sees_what_is_new(made: Stage) -> None:
    client = await asyncio.to_thread(quack_client, made)
    assert await in_thread(client, "select count(*) from lode.frames") == [(180,)]
    assert await in_thread(client, "select sum(bytes) from lode.media where width = 1280") == [(18_000,)]
    query = "from lode.query('select source, fetched from sources')"
    assert await in_thread(client, query) == [("example.org", 18)]
    for number in range(20, 30):
        await made.publish("demo", video(number))
    await made.settled()
    while await in_thread(client, "select count(*) from lode.candidates") != [(30,)]:
        await asyncio.sleep(0.2)
    comments = "from lode.query('from duckdb_columns() select comment where table_name = ''media'' and not internal')"
    assert ("SHA-256 of the file, hex",) in await in_thread(client, comments)


async def is_refused(client: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether the query fails."""
    try:
        await in_thread(client, query)
    except duckdb.Error:
        return True
    return False


ONLY_READ = (
    "insert into lode.dead (flow) values ('x')",
    "create table lode.x (a int)",
    "drop view lode.media",
    "delete from lode.dead",
    "from lode.query('insert into media values (1)')",
    "from lode.query('from read_text(''/etc/passwd'')')",
    "from lode.query('from ''/etc/passwd''')",
    "from lode.query('attach ''/tmp/x.db''')",
    "from lode.query('copy (select 1) to ''/tmp/x.csv''')",
    "from lode.query('select 1; select 2')",
    "from lode.query('call quack_stop(''x'')')",
    "from lode.query('set threads = 1')",
    "from lode.query('pragma database_list')",
    "from lode.query('select len(range(3000000000))')",
)


async def test_a_duckdb_client_may_only_read(made: Stage) -> None:
    client = await asyncio.to_thread(quack_client, made)
    for query in ONLY_READ:
        assert await is_refused(client, query), query
    assert await in_thread(client, "select count(*) from lode.media") == [(18,)]
    wrong = duckdb.connect(config=CONFIG)
    load_quack(wrong)
    door = (made.folder / DOOR_FILE).read_text().strip()
    with pytest.raises(duckdb.Error):
        wrong.execute(f"from quack_query('{door}', 'select 1', token = 'not the right token')")
    assert (made.folder / TOKEN_FILE).stat().st_mode & 0o777 == 0o600


async def test_a_query_that_runs_too_long_ends_only_the_process_that_serves_duckdb_clients(tmp_path: Path) -> None:
    Store(tmp_path / "copy.duckdb").close()
    serve = Serve(f"quack:127.0.0.1:{free_port()}", "only-for-tests", str(tmp_path), seconds=1)
    pipe = subprocess.PIPE
    command = (sys.executable, "-m", "services.catalog.quack_child")
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(msgspec.json.encode(serve) + f"\n{tmp_path / 'copy.duckdb'}\n".encode())
    assert await child.stdout.readline() == b"ready\n"
    client = duckdb.connect(config=CONFIG)
    load_quack(client)
    with pytest.raises(duckdb.Error):
        await in_thread(client, f"from quack_query('{serve.uri}', '{ENDLESS}', token = 'only-for-tests')")
    assert await child.wait() == 75


async def test_parquet_that_any_engine_reads(made: Stage) -> None:
    store = open_objects((made.root / "objects").as_uri())

    async def read() -> dict[str, list[dict[str, Any]]]:
        manifest = msgspec.json.decode(await store.get(keys.snapshot("manifest.json")))
        there = [found.key async for found in store.list(keys.snapshot(""))]
        assert set(there) == {keys.snapshot("manifest.json"), *(file["key"] for file in manifest["files"])}
        tables: dict[str, list[dict[str, Any]]] = {}
        for file in manifest["files"]:
            async with store.local(file["key"]) as path:
                rows = pyarrow.parquet.read_table(path).to_pylist()
            assert len(rows) == file["rows"]
            tables.setdefault(file["table"], []).extend(rows)
        return tables

    first = await ask(made.nc, subjects.CATALOG_SNAPSHOT)
    assert (first["rows"]["media"], first["rows"]["frames"], first["rows"]["rejects"]) == (18, 180, 2)
    media = (await read())["media"]
    assert sorted(row["media_id"] for row in media) == [f"example-{n:06d}" for n in range(20) if n % 10 != 9]
    assert media[0]["sha256"] == "0" * 64
    assert (await ask(made.nc, subjects.CATALOG_SNAPSHOT))["written"] == 0
    await made.publish("demo", video(20))
    await made.settled()
    second = await ask(made.nc, subjects.CATALOG_SNAPSHOT)
    assert second["rows"]["frames"] == 190
    assert 0 < second["written"] < first["written"]
    assert len({row["frame_id"] for row in (await read())["frames"]}) == 190
    await made.deploy(deployed("demo", cut="cccccccc"))
    await made.publish("demo", [("extract", "frames", "shard", shard("example-000001", frames=3, cut="cccccccc"))])
    while await made.ask("select count(*) from frames") != [[3]]:
        await asyncio.sleep(0.05)
    await ask(made.nc, subjects.CATALOG_SNAPSHOT)
    assert {row["recipe"] for row in (await read())["frames"]} == {"cccccccc"}
    assert len((await read())["media"]) == 19
