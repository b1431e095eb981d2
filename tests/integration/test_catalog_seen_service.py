"""What filter, dedup and detect say, through a real server into the tables, and out of them again."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest

from lodestream.catalog import Ways, ask
from lodestream.objects import open_objects
from lodestream.stages import Stage, stages
from proto import keys, subjects
from proto.messages import Forgotten, encode
from services.catalog.schema import OF_FLOWS
from tests.support.catalog import Stage as Catalog
from tests.support.catalog import stage
from tests.support.seen import one_video
from tests.support.seen_home import seeing
from tests.support.servers import start_nats

VIEWS = ("judged", "kept", "dropped", "uniques", "duplicates", "boxes", "stages", "prompts", "saved")
VIDEOS = 20


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Catalog]:
    """A catalog of a flow that has seen some videos."""
    with start_nats(tmp_path) as server:
        async with stage(server.url, tmp_path) as made:
            await made.deploy(seeing())
            made.start()
            for number in range(VIDEOS):
                await made.publish("demo", one_video(f"v{number}"))
            await made.settled()
            yield made


async def everything(made: Catalog) -> dict[str, list[list[object]]]:
    """Every row of every table and view."""
    return {name: await made.ask(f"from {name} order by all") for name in (*OF_FLOWS, *VIEWS, "main.dead")}


async def test_rebuilt_they_are_the_same(made: Catalog) -> None:
    before = await everything(made)
    assert [len(before[name]) for name in VIEWS[:6]] == [n * VIDEOS for n in (6, 4, 2, 2, 1, 3)]
    await ask(made.nc, subjects.CATALOG_REBUILD)
    await made.settled()
    assert await everything(made) == before
    made.kill()
    for file in made.folder.glob("catalog.duckdb*"):
        file.unlink()
    made.start()
    await made.settled()
    assert await everything(made) == before
    assert made.log() == ""


async def test_forgotten_they_leave_nothing_also_after_a_rebuild(made: Catalog) -> None:
    stream = subjects.stream("demo")
    gone = list(range(1, 5))
    notice = Forgotten(id="notice-1", at="", sequences=gone)
    await made.nc.request(subjects.forgotten(stream, notice.id), encode(notice))
    for seq in gone:
        await made.nc.jetstream().delete_msg(stream, seq)
    await made.settled()
    left = await everything(made)
    assert all("'v0" not in repr(rows) for rows in left.values())
    assert len(left["kept"]) == 4 * (VIDEOS - 1)
    await ask(made.nc, subjects.CATALOG_REBUILD)
    await made.settled()
    assert await everything(made) == left


async def test_status_is_told_what_becomes_of_frames(made: Catalog) -> None:
    assert (await stages(Ways(made.nc), 10))["demo"] == [
        Stage("good", 120, 80, None, {"below threshold": 20, "blurred": 20}),
        Stage("new", 80, 40, None, {"broken": 20, "duplicate": 20}),
        Stage("things", 60, 40, 60, {"no box": 20}),
    ]


async def test_any_engine_reads_them_from_a_snapshot(made: Catalog) -> None:
    await ask(made.nc, subjects.CATALOG_SNAPSHOT)
    store = open_objects((made.root / "objects").as_uri())
    manifest = msgspec.json.decode(await store.get(keys.snapshot("manifest.json")))
    read = {}
    for file in manifest["files"]:
        async with store.local(file["key"]) as path:
            read.setdefault(file["table"], []).extend(pyarrow.parquet.read_table(path).to_pylist())
    counts = {table: len(read[table]) for table in ("judged", "uniques", "duplicates", "boxes")}
    assert counts == {"judged": 6 * VIDEOS, "uniques": 2 * VIDEOS, "duplicates": VIDEOS, "boxes": 3 * VIDEOS}
    [best] = [row for row in read["judged"] if row["frame_id"] == "v7_0"]
    assert (best["kept"], dict(best["scores"])) == (True, {"a red ball": 0.9, "text": 0.1})
