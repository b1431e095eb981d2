"""`lode doctor` on objects: it finds exactly what was damaged, and has all of it put right."""

import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
import pytest_asyncio

from lodestream.audit import Audit, Found
from lodestream.blobs import remove
from lodestream.ledger.log import Log
from lodestream.ledger.pack import packed
from lodestream.makers import said
from lodestream.repair import Done, Repair
from proto import keys, subjects
from proto.messages import encode
from tests.support.mining import DAMAGES, Mining, clip, mining
from tests.support.servers import start_minio

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["directory", "s3"])
async def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mining]:
    """An instance on a directory, and on S3."""
    folder = tmp_path_factory.mktemp("instance")
    with start_minio(folder) if request.param == "s3" else nullcontext() as server:
        async with mining(folder, server.url if server else f"file://{folder}/objects") as made:
            made.start()
            yield made


@pytest.fixture
def one() -> str:
    """The name of a flow that no other test has had."""
    return f"one-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(loop_scope="module")
async def at(instance: Mining, one: str) -> Mining:
    """It, with nothing but a few videos and their shards, each of which the site has been asked for once."""
    await instance.forget()
    for key in await instance.keys(""):
        await instance.objects.delete(key)
    instance.files = {path: clip(path) for path in (f"/{one}-{how.replace(' ', '-')}.mp4" for how in DAMAGES)}
    await instance.deploy(one)
    await instance.mine(one, *instance.files)
    return instance


async def audit(at: Mining, *, deep: bool = False) -> list[Found]:
    """What is not as it should be."""
    work = at.folder / f"audit-{os.urandom(4).hex()}"
    work.mkdir()
    looked = Audit(at.bus, at.objects, work, deep=deep)
    await looked.gather()
    found = [each async for each in looked.findings()]
    looked.close()
    return found


async def repair(at: Mining, *, deep: bool = False) -> list[Done]:
    """What was done about it."""
    work = at.folder / f"repair-{os.urandom(4).hex()}"
    work.mkdir()
    looked = Audit(at.bus, at.objects, work, deep=deep)
    await looked.gather()
    healer = Repair(at.bus, at.objects, looked)
    done = [made async for found in looked.findings() if (made := await healer.put_right(found))]
    done += await healer.wait(lambda said: None)
    looked.close()
    return done


def counted(found: list[Found]) -> Counter[str]:
    """How many of each kind."""
    return Counter(each.kind for each in found)


async def contents(at: Mining, flow: str) -> dict[str, bytes]:
    """Every video and shard."""
    messages = [*await at.media(flow), *await at.shards(flow)]
    return {message.object_key: await at.objects.get(message.object_key) for message in messages}


async def test_all_that_was_damaged_is_found_and_made_again_byte_by_byte(at: Mining, one: str) -> None:
    assert await audit(at, deep=True) == []
    before = await contents(at, one)
    assert len(before) == 2 * len(DAMAGES)
    media, shards = await at.media(one), await at.shards(one)
    for video, shard, how in zip(media, reversed(shards), DAMAGES, strict=True):
        await at.damage(video.object_key, how)
        await at.damage(shard.object_key, how)
    manifests = await at.keys("memo/extract/")
    await at.objects.put(manifests[0], b"")
    await at.damage(manifests[1], "truncated")
    await at.objects.put(keys.content(media[0].sha256), b"{}")
    found = await audit(at)
    assert counted(found) == {"missing": 2, "wrong": 2 * (len(DAMAGES) - 1), "unreadable": 3}
    assert {each.key for each in found if each.subject} == set(before)
    assert counted(await audit(at)) == counted(found), "a look changes nothing"
    done = await repair(at)
    assert [each for each in done if not each.healed] == []
    assert await contents(at, one) == before
    assert await audit(at) == []
    assert set(at.hits.values()) == {2}
    assert len(await at.media(one)) == len(await at.shards(one)) == len(DAMAGES)
    assert not await at.letters()


async def test_what_can_not_be_had_again_is_said(at: Mining, one: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lodestream.repair.LOOKS", 0.2)
    media = await at.media(one)
    first, second = media[0], media[1]
    for each in (first, second):
        await at.objects.delete(each.object_key)
    changed, gone = "/" + first.url.rpartition("/")[2], "/" + second.url.rpartition("/")[2]
    at.files[changed] = clip("another one")
    del at.files[gone]
    done = {each.found.key: each for each in await repair(at)}
    assert not done[first.object_key].healed
    assert "has other bytes now" in done[first.object_key].said
    assert not done[second.object_key].healed
    assert "refuses it now: gone" in done[second.object_key].said
    assert await at.bytes_of(first.object_key) is None
    assert counted(await audit(at))["missing"] == 2


async def test_what_dedup_has_said_is_looked_at_and_left_to_people(at: Mining, one: str) -> None:
    log = Log(at.objects, keys.ledger(one, "new", "f0f0f0f0"))
    assert [each async for each in log.read()] == []
    data = {number: packed(log.origin, number, number, [], {"vectors": ([b"x" * 64], 64)}) for number in range(3)}
    for number, made in data.items():
        await log.append(number, made)
    assert await audit(at, deep=True) == []
    cut, flipped = (keys.ledger_entry(log.prefix, number) for number in (0, 1))
    await at.objects.put(cut, data[0][:-32])
    await at.objects.put(flipped, data[1][:-1] + b"y")
    assert [(each.kind, each.key) for each in await audit(at)] == [("ledger", cut)]
    done = await repair(at, deep=True)
    assert [(each.found.key, each.healed) for each in done] == [(cut, False), (flipped, False)]
    assert {each.said.partition("until: ")[2] for each in done} == {f"lode flow reset {one} new"}


async def test_what_was_made_again_since_it_was_found_stays(at: Mining, one: str) -> None:
    before, media = await contents(at, one), (await at.media(one))[0]
    await at.damage(media.object_key, "swapped")
    looked = Audit(at.bus, at.objects, at.folder, deep=False)
    await looked.gather()
    healer = Repair(at.bus, at.objects, looked)
    (found,) = [each async for each in looked.findings()]
    await at.objects.put(media.object_key, before[media.object_key])
    assert await healer.put_right(found) is None
    assert [each.healed for each in await healer.wait(lambda said: None)] == [True]
    looked.close()
    await at.quiet(one)
    assert await contents(at, one) == before
    assert set(at.hits.values()) == {1}


async def test_what_was_removed_on_purpose_is_not_missed_but_had_again_where_it_is_needed(at: Mining, one: str) -> None:
    before = await contents(at, one)
    media = {message.id: message for message in await at.media(one)}
    for message in media.values():
        await remove(at.objects, said(encode(message)).blob)
    assert await audit(at, deep=True) == []
    shard = (await at.shards(one))[0]
    await at.objects.delete(shard.object_key)
    assert [each.key for each in await audit(at)] == [shard.object_key]
    assert [each.healed for each in await repair(at)] == [True]
    assert await at.bytes_of(shard.object_key) == before[shard.object_key]
    assert sum(at.hits.values()) == len(DAMAGES) + 1
    await at.objects.put(keys.gone(media[shard.media_id].object_key), b"")
    others = [message for message in media.values() if message.id != shard.media_id]
    await at.objects.put(keys.gone(others[0].object_key), b"{}")
    assert [each.key for each in await audit(at)] == [others[0].object_key], "a mark that says nothing is none"


async def test_strays_and_touched_objects_are_told_from_damage(at: Mining, one: str) -> None:
    shards = await at.shards(one)
    await at.objects.put("frames/12345678/web-0/web-0_s0000-0.tar", b"nobody speaks of it")
    await at.objects.put(shards[0].object_key, await at.objects.get(shards[0].object_key))
    touched = 1 if at.url.startswith("file:") else 0  # S3 tells the same bytes by their tag
    assert counted(await audit(at)) == counted_as(stray=1, touched=touched)
    assert [each for each in await repair(at) if not each.healed] == []
    assert counted(await audit(at)) == {"stray": 1}
    orphan = (await at.media(one))[0].object_key
    await at.bus.nc.jetstream().delete_stream(subjects.stream(one))
    await at.objects.delete(orphan)
    done = {each.found.key: each for each in await repair(at)}
    assert "no message speaks of it" in done[orphan].said
    assert counted(await audit(at)) == {"stray": 1}, "its manifest is gone, too"


def counted_as(**kinds: int) -> Counter[str]:
    """As `counted` gives it."""
    return +Counter(kinds)
