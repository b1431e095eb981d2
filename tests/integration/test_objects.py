"""One suite for both stores: a directory, and a real MinIO server (LODE_TEST_S3 names a running one)."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lodestream.errors import LodeError, Outage
from lodestream.objects import Objects, Stat, open_objects
from lodestream.objects.directory import Directory
from tests.support.servers import Running, free_port, start_minio


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with a bucket."""
    if url := os.environ.get("LODE_TEST_S3"):
        yield url
        return
    with start_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server.url


@pytest.fixture(params=["directory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store under test is."""
    return f"file://{tmp_path}/objects" if request.param == "directory" else request.getfixturevalue("s3_url")


@pytest.fixture
def store(url: str, tmp_path: Path) -> Objects:
    """The store under test."""
    return open_objects(url, tmp_path)


@pytest.fixture
def home() -> str:
    """A prefix that no other test uses."""
    return f"test-{uuid.uuid4().hex}"


async def collect(found: AsyncIterator[Stat]) -> list[str]:
    """The keys of a listing."""
    return [stat.key async for stat in found]


def size(found: Stat | None) -> int:
    """Bytes of an object that is there."""
    assert found
    return found.size


async def test_put_get_replace_delete(store: Objects, home: str) -> None:
    key = f"{home}/a/b.bin"
    assert await store.stat(key) is None
    await store.put(key, b"one")
    await store.put(key, b"second")
    assert (await store.get(key), size(await store.stat(key))) == (b"second", 6)
    await store.delete(key)
    await store.delete(key)
    assert await store.stat(key) is None


async def test_an_absent_object_is_a_key_error(store: Objects, home: str) -> None:
    for length in (None, 0, 5):
        with pytest.raises(KeyError):
            await store.get(f"{home}/nothing", length=length)
    with pytest.raises(KeyError):
        async with store.local(f"{home}/nothing"):
            pass


async def test_ranges(store: Objects, home: str) -> None:
    await store.put(f"{home}/r", bytes(range(100)))
    for offset, length in ((0, 10), (90, 10), (95, 50), (50, None), (0, 0), (100, 5), (200, None)):
        end = None if length is None else offset + length
        assert await store.get(f"{home}/r", offset, length) == bytes(range(100))[offset:end]


async def test_an_empty_object_is_an_object(store: Objects, home: str) -> None:
    await store.put(f"{home}/empty", b"")
    assert size(await store.stat(f"{home}/empty")) == 0
    assert await store.get(f"{home}/empty") == b""


async def test_a_version_stays_until_somebody_writes(store: Objects, home: str, tmp_path: Path) -> None:
    key = f"{home}/v"
    first = await store.put(key, b"one")
    for _ in range(2):
        assert await store.get(key) == b"one"
        assert await store.stat(key) == Stat(key, 3, first)
    assert [found async for found in store.list(key)] == [Stat(key, 3, first)]
    second = await store.put(key, b"two")
    (tmp_path / "file").write_bytes(os.urandom(20 << 20))
    third = await store.put_file(key, tmp_path / "file")
    assert await store.stat(key) == Stat(key, 20 << 20, third)
    assert len({first, second, third}) == 3


async def test_what_somebody_does_to_a_file_is_another_version(tmp_path: Path) -> None:
    store, path = Directory(tmp_path / "objects"), tmp_path / "objects" / "a"
    version = await store.put("a", b"one")
    before = path.stat()

    def write_in_place() -> None:
        path.write_bytes(b"two")

    def move_another_there() -> None:
        (tmp_path / "other").write_bytes(b"two")
        (tmp_path / "other").replace(path)

    for change in (write_in_place, move_another_there):
        change()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `touch -r` does
        now = await store.stat("a")
        assert now
        assert now.version != version
        version = now.version


async def test_create_has_one_winner(url: str, store: Objects, home: str) -> None:
    stores = [store, open_objects(url)]
    won = await asyncio.gather(*(stores[n % 2].create(f"{home}/claim", b"%d" % n) for n in range(24)))
    assert sum(won) == 1
    assert await store.get(f"{home}/claim") == b"%d" % won.index(True)
    assert not await store.create(f"{home}/claim", b"late")


RACER = """
import asyncio, os, sys
from lodestream.objects import open_objects

async def main():
    store = open_objects(sys.argv[1])
    won = [await store.create(f"{sys.argv[2]}/{n}", str(os.getpid()).encode()) for n in range(20)]
    print(os.getpid(), sum(won))

asyncio.run(main())
"""


def race(url: str, home: str) -> dict[str, int]:
    """How many of 20 keys each of three processes won."""
    args = [sys.executable, "-c", RACER, url, home]
    racers = [subprocess.Popen(args, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    wins = [racer.communicate()[0].split() for racer in racers]
    return {pid: int(count) for pid, count in wins}


async def test_create_has_one_winner_among_processes(url: str, store: Objects, home: str) -> None:
    wins = await asyncio.to_thread(race, url, home)
    stored = [(await store.get(f"{home}/{n}")).decode() for n in range(20)]
    assert {pid: stored.count(pid) for pid in wins} == wins


async def test_put_file_takes_the_file(store: Objects, home: str, tmp_path: Path) -> None:
    data = os.urandom(40 << 20)
    (tmp_path / "big").write_bytes(data)
    await store.put_file(f"{home}/big", tmp_path / "big")
    assert not (tmp_path / "big").exists()
    async with store.local(f"{home}/big") as path:
        assert path.read_bytes() == data
    assert await store.get(f"{home}/big", 30 << 20, 1000) == data[30 << 20 :][:1000]


async def test_put_file_takes_no_link_and_nothing_absent(store: Objects, home: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "link", tmp_path / "absent", tmp_path):
        with pytest.raises(ValueError, match="regular file"):
            await store.put_file(f"{home}/x", path)
    assert await store.stat(f"{home}/x") is None


async def test_a_list_is_in_order_of_key(store: Objects, home: str) -> None:
    names = ["a", "a-b", "a.b", "b/c", "b/c-d", "b/cc/d", "b0", "B", "ü"]
    for name in reversed(names):
        await store.put(f"{home}/{name}", b"")
    assert await collect(store.list(f"{home}/")) == sorted(f"{home}/{n}" for n in names)
    assert await collect(store.list(f"{home}/b/c")) == [f"{home}/b/{n}" for n in ("c", "c-d", "cc/d")]
    assert await collect(store.list(f"{home}/nothing")) == []
    assert await collect(store.list(f"{home}/nothing/at/all")) == []


async def test_a_long_list_is_whole(store: Objects, home: str) -> None:
    keys = [f"{home}/{n % 7}/{n:05d}" for n in range(1100)]
    await asyncio.gather(*(store.put(key, b"x") for key in keys))
    assert await collect(store.list(home + "/")) == sorted(keys)


async def test_upper_and_lower_case_differ(store: Objects, home: str) -> None:
    await store.put(f"{home}/youtube-aB", b"1")
    assert await store.stat(f"{home}/youtube-Ab") is None


async def test_long_names(store: Objects, home: str) -> None:
    key = f"{home}/" + "n" * 200 + "/" + "m" * 255
    await store.put(key, b"long")
    assert await store.get(key) == b"long"


BAD_KEYS = ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "a/./b", "..", "a\0b", "a\nb", "a\\..\\b", ".tmp/x"]
OVERLONG = ["x" * 256, "/".join(["x" * 200] * 6)]


@pytest.mark.parametrize("key", [*BAD_KEYS, *OVERLONG, "\ud800"])
async def test_a_bad_key_is_refused_everywhere(store: Objects, key: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    calls = [store.put(key, b""), store.create(key, b""), store.get(key), store.stat(key), store.delete(key)]
    for call in [*calls, store.put_file(key, tmp_path / "file"), store.local(key).__aenter__()]:
        with pytest.raises(ValueError, match=r"object key|surrogates"):
            await call


async def test_a_local_copy_does_not_outlive_its_use(s3_url: str, tmp_path: Path, home: str) -> None:
    store = open_objects(s3_url, tmp_path)
    await store.put(f"{home}/v.mp4", b"video")
    async with store.local(f"{home}/v.mp4") as path:
        assert (path.name, path.read_bytes()) == ("v.mp4", b"video")
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_is_away_is_an_outage_and_then_is_not(tmp_path: Path) -> None:
    with start_minio(tmp_path) as server:
        store = open_objects(server.url)
        await store.put("a", b"1")
        server.kill()
        for call in (store.get("a"), store.put("a", b"2"), store.create("b", b""), store.stat("a")):
            with pytest.raises(Outage, match=r"objects in 127\.0\.0\.1"):
                await call
        with pytest.raises(Outage):
            await collect(store.list(""))
        restart(server)
        assert await store.get("a") == b"1"


def restart(server: Running) -> None:
    """Start a server again on its port; its URL, which holds the bucket, stays."""
    url = server.url
    server.start()
    server.url = url


async def test_outages_are_in_words(s3_url: str) -> None:
    wrong_password = s3_url.replace(s3_url.split(":")[2].split("@")[0], "wrong-password")
    for url, words in ((wrong_password, "wrong password"), (s3_url.rpartition("/")[0] + "/absent", "make it")):
        with pytest.raises(Outage, match=words) as told:
            await open_objects(url).put("a", b"")
        assert "wrong-password" not in str(told.value)


async def test_nobody_there_is_an_outage() -> None:
    with pytest.raises(Outage):
        await open_objects(f"s3://a:bcdefghi@127.0.0.1:{free_port()}/bucket").get("x")


@pytest.mark.parametrize(
    "url", ["", "objects", "file://host/x", "ftp://x/y", "s3://host", "s3://u:secret@:x/b", "s3://h/B"]
)
def test_a_url_that_is_no_store_is_told(url: str) -> None:
    with pytest.raises(LodeError) as told:
        open_objects(url)
    assert "secret" not in str(told.value)
