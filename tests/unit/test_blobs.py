"""What a manifest says of objects against what is there: read where somebody wrote, believed where it holds."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from lodestream.blobs import Blob, given, look, remove, was_removed
from lodestream.errors import Missing
from lodestream.memo import Manifest, Memo, Noted, sealed, unsealed
from lodestream.objects.directory import Directory
from proto import keys

KEY = "media/web-1/00000000-0.mp4"
DATA = b"a whole video"


class Counting(Directory):
    """A store that counts how often objects are read as files."""

    reads = 0

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See Objects."""
        self.reads += 1
        async with super().local(key) as path:
            yield path


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "objects")


async def kept(store: Counting) -> Memo:
    """A memo with one manifest, of input `web-1`, that names one object."""
    noted, memo = Noted(store), Memo(store, "probe", "12345678")
    await noted.put(KEY, DATA)
    await memo.keep("web-1", 1.0, [], list(noted.written.values()), None)
    return memo


async def test_what_nobody_wrote_is_not_read(store: Counting) -> None:
    memo = await kept(store)
    assert await memo.find("web-1")
    assert await memo.find("web-2") is None
    assert store.reads == 0


async def test_what_was_touched_is_read_once(store: Counting) -> None:
    memo = await kept(store)
    (store.root / KEY).touch()
    for _ in range(3):
        assert await memo.find("web-1")
    assert store.reads == 1


@pytest.mark.parametrize("other", [b"", DATA[:-1], DATA[:-1] + b"!", DATA + b"!"])
async def test_what_is_something_else_is_removed_and_not_found(store: Counting, other: bytes) -> None:
    memo, path = await kept(store), store.root / KEY
    before = path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await memo.find("web-1") is None
    assert not path.exists()


async def test_an_object_removed_on_purpose_counts_and_one_that_is_lost_does_not(store: Counting) -> None:
    memo = await kept(store)
    (blob,) = (await memo.find("web-1") or Manifest(type="", recipe="", input="", at="", seconds=0)).blobs
    await remove(store, blob)
    assert await store.stat(KEY) is None
    assert await was_removed(store, blob)
    assert await memo.find("web-1")
    assert await memo.find("web-1", wanted=KEY)
    assert await memo.find("web-1", wanted="another") is None
    for bad in (b"", b"{}", b'{"sha256":"0","size":1,"at":""}'):
        await store.put(keys.gone(KEY), bad)
        assert await memo.find("web-1") is None


async def test_no_byte_of_a_manifest_can_be_changed(store: Counting) -> None:
    memo = await kept(store)
    (key,) = [stat.key async for stat in store.list("memo/")]
    data = await store.get(key)
    assert unsealed(data)
    for place in range(len(data)):
        assert unsealed(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]) is None, data[: place + 1]
        assert unsealed(data[:place]) is None
    await store.put(keys.memo("probe", "12345678", "web-2"), data)
    assert await memo.find("web-2") is None, "it is of another input"


async def test_a_manifest_of_before_there_were_digests_is_believed_where_the_size_is_right(store: Counting) -> None:
    memo = Memo(store, "probe", "12345678")
    await store.put(KEY, DATA)
    old = {"type": "probe", "recipe": "12345678", "input": "web-1", "at": "", "seconds": 1.0}
    key = keys.memo("probe", "12345678", "web-1")
    await store.put(key, msgspec.json.encode({**old, "blobs": [{"key": KEY, "size": len(DATA)}]}))
    found = await memo.find("web-1")
    assert found
    assert found.blobs[0].sha256 == hashlib.sha256(DATA).hexdigest()
    assert await memo.find("web-1")
    assert store.reads == 1
    await store.put(key, msgspec.json.encode({**old, "blobs": [{"key": KEY, "size": 1}]}))
    assert await memo.find("web-1") is None


async def test_sealing_again_gives_the_same_bytes() -> None:
    manifest = Manifest(type="probe", recipe="r", input="i", at="t", seconds=1.0, blobs=[Blob(KEY, 1, "2", "3")])
    data = sealed(manifest)
    again = unsealed(data)
    assert again
    assert sealed(again) == data


async def test_an_input_is_given_only_as_it_was_announced(store: Counting) -> None:
    await store.put(KEY, DATA)
    right = hashlib.sha256(DATA).hexdigest()
    async with given(store, KEY, len(DATA), right) as path:
        assert path.read_bytes() == DATA
    for key, size, sha256 in ((KEY, 1, right), (KEY, len(DATA), "0" * 64), ("media/none", len(DATA), right)):
        with pytest.raises(Missing) as told:
            async with given(store, key, size, sha256):
                pass
        assert told.value.detail == key
    assert (await look(store, Blob("media/none", 1)))[0] == "missing"


async def test_a_handler_that_reads_what_is_gone_names_it(store: Counting) -> None:
    noted = Noted(store)
    with pytest.raises(Missing) as told:
        await noted.get(KEY)
    assert (told.value.reason, told.value.detail) == ("object missing", KEY)
    with pytest.raises(Missing):
        async with noted.local(KEY):
            pass
    await store.put(KEY, DATA)
    with pytest.raises(KeyError) as other:
        async with noted.local(KEY):
            raise KeyError("of its own")
    assert not isinstance(other.value, Missing)
