"""Objects damaged by hand in every way: the next delivery finds it, has them made again, and says so."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_asyncio

from lodestream import clearing
from lodestream.errors import CHANGED
from proto import ids, keys
from proto.messages import Media, Message, Rejected
from tests.support.engine import eventually
from tests.support.mining import DAMAGES, PATIENCE, Mining, clip, mining
from tests.support.servers import start_minio

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
RUBBISH = (*DAMAGES, "an index emptied", "an index swapped", "an index of old")


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server with a bucket."""
    if url := os.environ.get("LODE_TEST_S3"):
        yield url
        return
    with start_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server.url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["directory", "s3"])
async def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mining]:
    """An instance on a directory, and on S3: flows and paths are of one test only."""
    folder = tmp_path_factory.mktemp("instance")
    url = f"file://{folder}/objects" if request.param == "directory" else request.getfixturevalue("s3_url")
    async with mining(folder, url) as made:
        made.start()
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def at(instance: Mining) -> Mining:
    """It, without a flow, and without a word of what was before."""
    await instance.forget()
    return instance


def path() -> str:
    """A URL's path that no other test has had: the bucket is one for all."""
    return f"/{uuid.uuid4().hex}.mp4"


async def test_media_damaged_in_every_way_is_fetched_again_for_a_node_that_needs_it(at: Mining) -> None:
    one = names("one")[0]
    paths = {how: path() for how in DAMAGES}
    at.files |= {url: clip(url) for url in paths.values()}
    await at.deploy(one)
    await at.mine(one, *paths.values())
    media = by_path(await at.media(one))
    assert len(media) == len(DAMAGES)
    for how, url in paths.items():
        await at.damage(media[url].object_key, how)
    await at.deploy(one, "count: 2")  # another sampler: it needs the videos
    await at.until_whole(*media.values())
    await at.quiet(one)

    async def extracted() -> bool:
        return len(await at.shards(one)) == 2 * len(DAMAGES) and not await at.letters()

    await eventually(extracted, PATIENCE)
    assert all(at.hits[url] == 2 for url in paths.values()), at.hits
    assert all([await at.whole(shard) for shard in await at.shards(one)])
    for each in media.values():
        assert any(line.startswith(f"{each.object_key} is ") and "makes it again" in line for line in at.said)
        assert any(line.startswith(f"{each.object_key} is there: ") for line in at.said)


async def test_shards_damaged_in_every_way_are_cut_again_byte_by_byte_the_same(at: Mining) -> None:
    one, two = names("one", "two")
    paths = {how: path() for how in DAMAGES}
    at.files |= {url: clip(url) for url in paths.values()}
    await at.deploy(one)
    await at.mine(one, *paths.values())
    shards = await at.shards(one)
    assert len(shards) == len(DAMAGES)
    before = {shard.object_key: await at.objects.get(shard.object_key) for shard in shards}
    for shard, how in zip(shards, DAMAGES, strict=True):
        await at.damage(shard.object_key, how)
    await at.deploy(two)
    await at.mine(two, *paths.values())
    assert {key: await at.bytes_of(key) for key in before} == before
    assert [(s.id, s.object_key, s.offset) for s in await at.shards(two)] == [
        (s.id, s.object_key, s.offset) for s in shards
    ]
    assert set(at.hits.values()) == {1}
    assert at.logged().count("the work is done again") == len(DAMAGES)


async def test_a_manifest_that_somebody_has_touched_is_none(at: Mining) -> None:
    one, two = names("one", "two")
    paths = [path() for _ in range(5)]
    at.files |= {url: clip(url) for url in paths}
    await at.deploy(one)
    await at.mine(one, *paths)
    mine = tuple(f"/{media.id}.json" for media in await at.media(one))
    for kind in ("fetch", "extract"):
        first, second, third, fourth, fifth = [key for key in await at.keys(f"memo/{kind}/") if key.endswith(mine)]
        await at.objects.put(first, b"")
        await at.damage(second, "truncated")
        await at.objects.put(third, (await at.objects.get(third)).replace(b'"width":64', b'"width":65'))
        await at.objects.put(fourth, await at.objects.get(fifth))
        await at.objects.delete(fifth)
    await at.deploy(two)
    await at.mine(two, *paths)
    assert set(at.hits.values()) == {1}, "what was downloaded is found without a manifest"
    assert [without(m) for m in await at.media(two)] == [without(m) for m in await at.media(one)]
    assert [without(s) for s in await at.shards(two)] == [without(s) for s in await at.shards(one)]
    assert not await at.letters()


async def test_a_new_video_is_no_alias_of_rubbish(at: Mining) -> None:
    one, two = names("one", "two")
    first, second = ({how: path() for how in RUBBISH} for _ in range(2))
    other = path()
    at.files |= {url: clip(first[how]) for urls in (first, second) for how, url in urls.items()} | {other: clip(other)}
    await at.deploy(one)
    await at.mine(one, *first.values(), other)
    media = by_path(await at.media(one))
    for how in RUBBISH:
        await spoil(at, media[first[how]], media[other], how)
    await at.deploy(two)
    await at.mine(two, *second.values())
    new = by_path(await at.media(two))
    assert {how: new[second[how]].sha256 for how in RUBBISH} == {how: media[first[how]].sha256 for how in RUBBISH}
    assert all([await at.whole(each) for each in new.values()])
    assert len(await at.shards(two)) == len(new) == len(RUBBISH)


async def test_an_alias_is_believed_only_where_it_leads_to_the_bytes(at: Mining) -> None:
    one, two = names("one", "two")
    first, second = path(), path()
    at.files |= {first: clip(first), second: clip(first)}
    await at.deploy(one)
    await at.mine(one, first)
    await at.deploy(two)
    await at.mine(two, second)
    (alias,) = [key for key in await at.keys("media/") if key.endswith(".same") and (await at.media(two))[0].id in key]
    assert (await at.media(two))[0].object_key == (await at.media(one))[0].object_key
    for number, bad in enumerate((b"", b"{}", (await at.objects.get(alias)).replace(b'"id":"web-', b'"id":"wob-'))):
        await at.objects.put(alias, bad)
        third = f"{two}{number}"
        await at.deploy(third, fetch=f"max_duration: {100 + number}")
        await at.mine(third, second)
        (media,) = await at.media(third)
        assert await at.whole(media)
    assert at.hits[second] == 4


async def test_the_same_bytes_are_one_video_in_every_flow_and_after_a_restart(at: Mining) -> None:
    one, two = names("one", "two")
    first, second, third = path(), path(), path()
    at.files |= dict.fromkeys((first, second, third), clip(first))
    await at.deploy(one)
    await at.mine(one, first)
    await at.mine(one, second)
    at.kill()
    at.start()
    await at.mine(one, third)
    (media,) = await at.media(one)
    refused = [no for no in await at.outputs(one, Rejected) if no.reason == "duplicate"]
    assert len(refused) == 2
    assert {no.repeats for no in refused} == {media.id}
    assert len(await at.shards(one)) == 1
    at.kill()
    at.start()
    await at.deploy(two)
    await at.mine(two, third)
    await at.mine(two, first, second)
    (other,) = await at.media(two)
    assert other.object_key == media.object_key
    assert len(await at.shards(two)) == 1
    assert {no.repeats for no in await at.outputs(two, Rejected) if no.reason == "duplicate"} == {other.id}
    assert at.hits == {first: 1, second: 1, third: 1}


async def test_other_bytes_at_the_source_are_said_and_never_put_in_place_of_the_old(at: Mining) -> None:
    one = names("one")[0]
    changed, gone = path(), path()
    at.files |= {changed: clip(changed), gone: clip(gone)}
    await at.deploy(one)
    await at.mine(one, changed, gone)
    media = by_path(await at.media(one))
    for each in media.values():
        await at.damage(each.object_key, "swapped")
    at.files[changed] = clip("something new")
    del at.files[gone]
    await at.deploy(one, "count: 2")

    async def told() -> bool:
        return {dead.letter.reason for dead in await at.letters() if dead.letter.flow == one} == {CHANGED}

    await eventually(told, PATIENCE)
    letters = {dead.letter.id: dead.letter for dead in await at.letters() if dead.letter.flow == one}
    assert "its source has other bytes now" in letters[entity(media[changed])].detail
    assert "refuses it now: gone" in letters[entity(media[gone])].detail
    assert [await at.bytes_of(each.object_key) for each in media.values()] == [None, None]
    assert {m.sha256 for m in await at.media(one)} == {m.sha256 for m in media.values()}


async def test_a_video_that_nobody_needs_is_removed_and_known_for_ever(at: Mining) -> None:
    one, two, three = names("one", "two", "three")
    first, second = path(), path()
    at.files |= {first: clip(first), second: clip(first)}
    await at.deploy(one, "every: 1s, keep_media: false")
    await at.mine(one, first)
    (media,) = await at.media(one)

    async def cleared() -> bool:
        return await at.bytes_of(media.object_key) is None

    await eventually(cleared, PATIENCE)
    assert await at.bytes_of(keys.gone(media.object_key))
    await at.mine(one, second)  # the same bytes: a duplicate still
    assert [no.repeats for no in await at.outputs(one, Rejected)] == [media.id]
    await at.deploy(two, "every: 1s, keep_media: false")
    await at.mine(two, first)
    assert [without(s) for s in await at.shards(two)] == [without(s) for s in await at.shards(one)]
    assert at.hits == {first: 1, second: 1}, "its shards are there: nobody needs it"
    assert not await at.letters()
    await at.deploy(three, "count: 2, keep_media: false")
    await at.mine(three, first)

    async def extracted() -> bool:
        return len(await at.shards(three)) == 1 and not await at.letters()

    await eventually(extracted, PATIENCE)
    assert at.hits[first] == 2
    await eventually(cleared, PATIENCE)


async def test_a_video_stays_while_a_node_of_any_flow_wants_it(at: Mining) -> None:
    one, two = names("one", "two")
    url = path()
    at.files[url] = clip(url)
    await at.deploy(two, "count: 2")
    await at.mine(two, url)
    await at.deploy(one, "every: 1s, keep_media: false")
    await at.mine(one, url)
    (media,) = await at.media(one)
    await asyncio.sleep(3 * clearing.EVERY)
    assert await at.whole(media)
    await at.deploy(two, "count: 2, keep_media: false")

    async def cleared() -> bool:
        return await at.bytes_of(media.object_key) is None

    await eventually(cleared, PATIENCE)


async def spoil(at: Mining, video: Media, other: Media, how: str) -> None:
    """Damage a video, or the index of its content."""
    index = keys.content(video.sha256)
    if how == "an index emptied":
        await at.objects.put(index, b"")
    elif how == "an index swapped":
        await at.objects.put(index, await at.objects.get(keys.content(other.sha256)))
    elif how == "an index of old":
        await at.objects.put(index, other.object_key.encode())
    else:
        await at.damage(video.object_key, how)


def by_path(media: list[Media]) -> dict[str, Media]:
    """Videos by the paths of their URLs."""
    return {"/" + each.url.rpartition("/")[2]: each for each in media}


def names(*wanted: str) -> list[str]:
    """Names of flows that no other test has had."""
    tail = uuid.uuid4().hex[:8]
    return [f"{name}-{tail}" for name in wanted]


def without(message: Message) -> Message:
    """A message as it is in every flow."""
    return msgspec.structs.replace(message, cause="", digest="")


def entity(media: Media) -> str:
    """The id of a dead letter about it."""
    return ids.entity(media.id, media.recipe)
