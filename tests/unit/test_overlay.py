"""An overlay: what is written is seen through it and nowhere else."""

from pathlib import Path

import pytest

from lodestream.debug.overlay import Overlay
from lodestream.objects.directory import Directory


@pytest.fixture
async def below(tmp_path: Path) -> Directory:
    made = Directory(tmp_path / "below")
    await made.put("a/one", b"1")
    await made.put("a/two", b"2")
    return made


@pytest.fixture
def over(below: Directory, tmp_path: Path) -> Overlay:
    return Overlay(below, tmp_path / "above")


async def everything(store: Directory | Overlay) -> dict[str, bytes]:
    return {stat.key: await store.get(stat.key) async for stat in store.list("")}


async def test_reads_fall_through_and_writes_do_not(below: Directory, over: Overlay, tmp_path: Path) -> None:
    before = await everything(below)
    (tmp_path / "file").write_bytes(b"4")
    await over.put("a/one", b"3")
    await over.put_file("b/four", tmp_path / "file")
    await over.delete("a/two")
    assert await everything(over) == {"a/one": b"3", "b/four": b"4"}
    assert await everything(below) == before
    assert [stat.key for stat in await over.written()] == ["a/one", "b/four"]


async def test_what_was_deleted_is_absent_until_it_is_written_again(over: Overlay) -> None:
    await over.delete("a/one")
    assert await over.stat("a/one") is None
    with pytest.raises(KeyError):
        await over.get("a/one")
    with pytest.raises(KeyError):
        async with over.local("a/one"):
            pass
    assert await over.create("a/one", b"9")
    assert await over.get("a/one") == b"9"


async def test_a_key_that_is_below_is_not_free(over: Overlay) -> None:
    assert not await over.create("a/two", b"9")
    async with over.local("a/two") as path:
        assert path.read_bytes() == b"2"
