"""What only a directory has: crashes half way, other file systems, mounts that go away."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from lodestream.errors import LodeError, Outage
from lodestream.objects.directory import Directory

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from lodestream.objects.directory import Directory

os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(Directory(Path(sys.argv[1])).put("a/b", b"half"))
"""


async def test_a_killed_writer_leaves_nothing_under_the_key(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, tmp_path)
    assert await writer.wait() == -9
    store = Directory(tmp_path)
    assert await store.stat("a/b") is None
    assert [stat async for stat in store.list("")] == []
    assert (store.sweep(), store.sweep(older_than_s=-1)) == (0, 1)


async def test_put_file_from_another_file_system(tmp_path: Path) -> None:
    away = Path("/dev/shm") / f"lode-test-{os.getpid()}"
    if not away.parent.is_dir() or away.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    away.write_bytes(b"moved")
    store = Directory(tmp_path)
    await store.put_file("a/b", away)
    assert await store.get("a/b") == b"moved"
    assert not away.exists()
    assert list((tmp_path / ".tmp").iterdir()) == []


async def test_a_store_that_went_away_is_an_outage_not_an_empty_store(tmp_path: Path) -> None:
    store = Directory(tmp_path / "mount")
    await store.put("a/b", b"1")
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    (tmp_path / "mount").mkdir()
    for call in (
        store.get("a/b"),
        store.stat("a/b"),
        store.delete("a/b"),
        store.put("x/y", b""),
        store.create("z", b""),
    ):
        with pytest.raises(Outage, match="mounted"):
            await call
    assert list((tmp_path / "mount").iterdir()) == []


async def test_a_full_disk_is_an_outage_that_says_so(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(Outage, match="disk is full"):
        await store._threads.run(lambda: (tmp_path / "full").write_bytes(b"x" * 100_000))


async def test_an_object_cannot_lie_below_another(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    await store.put("a", b"1")
    with pytest.raises(ValueError, match="below another"):
        await store.put("a/b/c", b"2")
    await store.put("d/e", b"3")
    with pytest.raises(ValueError, match="below another"):
        await store.put("d", b"4")
    with pytest.raises(KeyError):
        await store.get("d")


async def test_a_link_planted_in_the_store_is_no_object(tmp_path: Path) -> None:
    store = Directory(tmp_path / "store")
    (tmp_path / "store/link").symlink_to("/etc/hostname")
    assert await store.stat("link") is None
    assert [stat async for stat in store.list("")] == []


async def test_sweep_keeps_what_is_being_written(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    old, new = tmp_path / ".tmp/old", tmp_path / ".tmp/new"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    assert store.sweep() == 1
    assert new.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LodeError, match="objects in"):
        Directory(tmp_path / "file" / "store")
