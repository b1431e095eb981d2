"""Objects damaged by hand in every way: the next delivery finds it, has them made again, and says so."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lodestream.demo.clips import Clip
from tests.support.engine import eventually
from tests.support.mining import PATIENCE, Mining, mining
from tests.support.servers import start_minio

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with a bucket."""
    if url := os.environ.get("LODE_TEST_S3"):
        yield url
        return
    with start_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server.url


@pytest.fixture(params=["directory", "s3"])
async def at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mining]:
    """An instance on a directory, and on S3."""
    url = f"file://{tmp_path}/objects" if request.param == "directory" else request.getfixturevalue("s3_url")
    async with mining(tmp_path, url) as made:
        made.start()
        yield made


def path() -> str:
    """A URL's path that no other test has had: the bucket is one for all."""
    return f"/{uuid.uuid4().hex}.mp4"


def clip(name: str) -> bytes:
    """A video of four seconds, other bytes for each name."""
    data = Clip("heal", seconds=4, fps=10, width=64, height=48).encode()
    tail = name.encode()
    return data + (8 + len(tail)).to_bytes(4, "big") + b"free" + tail


DAMAGES = ("deleted", "emptied", "truncated", "swapped", "swapped at the same size")


async def damage(at: Mining, key: str, how: str) -> None:
    """Do to an object what a hand can do."""
    data = await at.objects.get(key)
    if how == "deleted":
        await at.objects.delete(key)
        return
    other = {"emptied": b"", "truncated": data[: len(data) // 2], "swapped": clip("another")}
    await at.objects.put(key, other.get(how, data[:-1] + bytes([data[-1] ^ 1])))


async def test_media_damaged_in_every_way_is_fetched_again_for_a_node_that_needs_it(at: Mining) -> None:
    paths = {how: path() for how in DAMAGES}
    at.files |= {url: clip(url) for url in paths.values()}
    await at.deploy("one")
    await at.mine("one", *paths.values())
    media = {m.url.rpartition("/")[2]: m for m in await at.media("one")}
    assert len(media) == len(DAMAGES)
    for how, url in paths.items():
        await damage(at, media[url[1:]].object_key, how)
    await at.deploy("one", "count: 2")  # another sampler: it needs the videos
    await at.until_whole(*media.values())
    await at.quiet("one")

    async def extracted() -> bool:
        return len(await at.shards("one")) == 2 * len(DAMAGES) and not await at.letters()

    await eventually(extracted, PATIENCE)
    assert all(at.hits[url] == 2 for url in paths.values()), at.hits
    assert all([await at.whole(shard) for shard in await at.shards("one")])
    for each in media.values():
        assert any(line.startswith(f"{each.object_key} is ") and "makes it again" in line for line in at.said)
        assert any(line.startswith(f"{each.object_key} is there: ") for line in at.said)
