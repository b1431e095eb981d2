"""Fetch against a site with everything wrong: exact verdicts, nobody reached who must not be, nothing left on disk."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lodestream.blobs import Blob, remove
from lodestream.demo.clips import Clip
from lodestream.errors import Postpone, Reject, Retry
from proto import keys
from proto.messages import Media
from services.fetch import pace, web
from tests.support.faulty_site import MP4, FaultySite, clip, faulty_site
from tests.support.fetching import Fetching, fetching

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOM = 4 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fetching]:
    async with fetching(tmp_path_factory.mktemp("fetch")) as running:
        yield running
        assert running.left() == []


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[FaultySite]:
    async with faulty_site() as running:
        yield running
        assert running.reached == []


@pytest.fixture(autouse=True)
def trusting(node: Fetching) -> None:
    """No test suffers from what another has done to the site's name."""
    node.state._web._breakers.clear()


@pytest.fixture
def ident(request: pytest.FixtureRequest) -> str:
    """An id of its own, and a flow of its own, for each test."""
    return "web-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]


async def get(node: Fetching, site: FaultySite, path: str, ident: str, **settings: object) -> Media:
    given = {"allow_hosts": [f"127.0.0.1:{site.port}"], "max_bytes": ROOM, "flow": ident, **settings}
    return await node.fetch(site.url(path), ident, **given)  # type: ignore[arg-type]


async def refused(node: Fetching, site: FaultySite, path: str, ident: str, **settings: object) -> Reject | Retry:
    """The no, which left nothing behind."""
    with pytest.raises((Reject, Retry)) as caught:
        await get(node, site, path, ident, **settings)
    assert node.left() == []
    assert await node.keys(f"media/{ident}/") == []
    return caught.value


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/ok.mp4", ("mp4", "h264", 320, 180, 0, "")),
        ("/ok.webm", ("webm", "vp9", 320, 180, 0, "")),
        ("/mislabelled", ("mp4", "h264", 320, 180, 0, "")),
        ("/rotated.mp4", ("mp4", "h264", 320, 180, 90, "")),
        ("/fragmented.mp4", ("mp4", "h264", 320, 180, 0, "")),
        ("/page", ("mp4", "h264", 320, 180, 0, "")),
        ("/hls.m3u8", ("mpegts", "h264", 320, 180, 0, "")),
        ("/playlist", ("mpegts", "h264", 320, 180, 0, "")),
        ("/to?u=/ok.mp4", ("mp4", "h264", 320, 180, 0, "")),
    ],
)
async def test_video(node, site, ident, path, wanted):
    media = await get(node, site, path, ident)
    assert (media.container, media.codec, media.width, media.height, media.rotation, media.damage) == wanted
    assert (media.fps, media.duration_s) == (25.0, 4.0)
    stored = await node.parts.objects.get(media.object_key)
    assert media.sha256 == hashlib.sha256(stored).hexdigest()
    assert media.bytes == len(stored)
    assert node.left() == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/fake.mp4", "fake"),
        ("/page.mp4", "fake"),
        ("/junk.mp4", "fake"),
        ("/hollow.mp4", "fake"),
        ("/empty.mp4", "empty"),
        ("/sound.m4a", "audio"),
        ("/sound.mp4", "audio"),
        ("/song.mp3", "audio"),
        ("/picture.mp4", "image"),
        ("/text.txt", "not a video"),
        ("/data", "not a video"),
        ("/none", "unsupported"),
        ("/encoded.mp4", "unsupported"),
        ("/two", "a list"),
        ("/no-index.mp4", "damaged"),
        ("/wide.mov", "too big"),
        ("/endless.mp4", "too big"),
        ("/big.mp4", "too big"),
        ("/endless", "too big"),
        ("/bomb", "too big"),
        ("/404", "gone"),
        ("/410", "gone"),
        ("/401", "login"),
        ("/402", "members"),
        ("/451", "legal"),
        ("/418", "refused"),
        ("/holes.m3u8", "gone"),
        ("/loop", "redirect loop"),
        ("/to?u=file:///etc/passwd", "scheme"),
        ("/to?u=ftp://{inner}/x.mp4", "scheme"),
        ("/segment.m3u8?u=file:///etc/passwd", "scheme"),
        ("data:video/mp4,x", "scheme"),
        ("ftp://{inner}/x.mp4", "scheme"),
    ],
)
async def test_rejected(node, site, ident, path, reason):
    why = await refused(node, site, path, ident)
    assert isinstance(why, Reject)
    assert (why.reason, why.repeats) == (reason, "")
    assert why.detail


@pytest.mark.parametrize(
    "path",
    [
        "http://{inner}/x.mp4",
        "http://localhost:{port}/x.mp4",
        "http://2130706433:{port}/x.mp4",
        "http://[::ffff:127.0.0.1]:{port}/x.mp4",
        "http://[64:ff9b::7f00:2]:{port}/x.mp4",
        "http://0.0.0.0:{port}/x.mp4",
        "http://user:secret@{inner}/x.mp4",
        "/to?u=http://{inner}/x.mp4",
        "/to?u=http://{here}/to?u=http://{inner}/x.mp4",
        "/video?u=http://{inner}/x.mp4",
        "/segment.m3u8?u=http://{inner}/x.ts",
        "/segment.m3u8?u=http://169.254.169.254/latest/meta-data/",
        "/key.m3u8?u=http://{inner}/key",
        "file:///etc/passwd",
    ],
)
async def test_forbidden_address(node, site, ident, path):
    why = await refused(node, site, path, ident)
    assert isinstance(why, Reject)
    assert why.reason == "forbidden address"
    assert not why.lasting


@pytest.mark.parametrize("path", ["http://{inner}/watch", "http://localhost:{port}/watch", "http://{inner}/list.m3u8"])
async def test_forbidden_address_by_way_of_yt_dlp_alone(node, site, path):
    why = await refused(node, site, path, "some-id-of-a-site")
    assert isinstance(why, Reject)
    assert why.reason == "forbidden address"


@pytest.mark.parametrize(
    ("path", "reason", "after"),
    [
        ("/403", "forbidden", None),
        ("/500", "server", 7.0),
        ("/503", "server", 7.0),
        ("/429", "rate limited", 7.0),
        ("/breaks.mp4", "network", None),
        ("https://{here}/ok.mp4", "network", None),
    ],
)
async def test_to_be_tried_again(node, site, ident, path, reason, after):
    why = await refused(node, site, path, ident)
    assert isinstance(why, Retry)
    assert (why.reason, why.after) == (reason, after)


@pytest.mark.parametrize("path", ["/drip.mp4", "/silent.mp4", "/video?u=/drip.mp4"])
async def test_too_slow(node, site, ident, path, monkeypatch):
    monkeypatch.setattr(pace, "STALL_S", 1.0)
    monkeypatch.setattr(web, "FIRST_BYTE_S", 1.0)
    monkeypatch.setattr(web, "FIRST_BYTE_OF_PAGE_S", 1.0)
    why = await refused(node, site, path, ident)
    assert isinstance(why, Retry)
    assert why.reason == "too slow"


async def test_forbidden_twice_is_a_no(node, site, ident):
    why = await refused(node, site, "/403", ident, attempt=2)
    assert isinstance(why, Reject)
    assert why.reason == "forbidden"


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        ("/truncated.mp4", "cut short: "),
        ("/claims-less.mp4", "cut short: "),
        ("/claims-more.mp4", "the server broke off at "),
    ],
)
async def test_what_is_damaged_is_kept_and_says_so(node, site, ident, path, damage):
    media = await get(node, site, path, ident, attempt=3)
    assert media.damage.startswith(damage)
    assert len(await node.keys(f"media/{ident}/")) == 1
    assert await node.parts.objects.stat(media.object_key)


async def test_what_always_breaks_off_is_kept_in_the_end(node, site, ident):
    media = await get(node, site, "/breaks.mp4", ident, attempt=3)
    assert media.damage.startswith("the server broke off at ")
    assert "cut short: " in media.damage


async def test_resumes_where_it_broke_off(node, site, ident):
    media = await get(node, site, "/resets.mp4", ident)
    assert media.sha256 == hashlib.sha256(clip(MP4)).hexdigest()
    step = len(clip(MP4)) // 5 + 1
    assert [ranged for _, ranged in site.asked] == ["", *(f"bytes={n * step}-" for n in range(1, 5))]


async def test_resumes_after_a_reset(node, site, ident):
    media = await get(node, site, "/aborts.mp4", ident)
    assert media.sha256 == hashlib.sha256(clip(MP4)).hexdigest()
    assert len(site.asked) > 1


async def test_a_file_that_changed_is_no_splice_of_two(node, site, ident):
    media = await get(node, site, "/changes.mp4", ident)
    assert media.sha256 == hashlib.sha256(clip(Clip("site", seconds=3))).hexdigest()


@pytest.mark.parametrize("path", ["/ok.mp4", "/hls.m3u8"])
async def test_too_long(node, site, ident, path):
    assert (await refused(node, site, path, ident, max_duration="3s")).reason == "too long"


async def test_too_big_is_known_before_a_byte_is_kept(node, site, ident):
    assert (await refused(node, site, "/page", ident, max_bytes=1000)).reason == "too big"
    assert (await refused(node, site, "/ok.mp4", ident, max_bytes=1000)).reason == "too big"


async def test_same_bytes_under_another_id_are_a_duplicate_within_a_flow(node, site, ident):
    first = await get(node, site, "/ok.mp4", ident)
    with pytest.raises(Reject) as caught:
        await get(node, site, "/same.mp4", ident + "-b", flow=ident)
    assert (caught.value.reason, caught.value.repeats) == ("duplicate", first.id)
    elsewhere = await get(node, site, "/same.mp4", ident + "-b", flow="another")
    assert (elsewhere.sha256, elsewhere.object_key) == (first.sha256, first.object_key)
    assert [key.endswith(".same") for key in await node.keys(f"media/{ident}-b/")] == [True]


async def test_what_is_stored_is_not_asked_for_again(node, site, ident):
    first = await get(node, site, "/ok.mp4", ident)
    asked = len(site.asked)
    again = await get(node, site, "/ok.mp4", ident, flow="another", recipe="r2", max_duration="10m")
    assert again == first
    assert len(site.asked) == asked
    assert len(await node.keys(f"media/{ident}/")) == 1
    with pytest.raises(Reject, match="too long"):
        await get(node, site, "/ok.mp4", ident, recipe="r3", max_duration="1s")


async def test_what_a_page_said_is_known_with_what_is_stored(node, site, ident):
    first = await get(node, site, "/page", ident, title="")
    assert first.title
    asked = len(site.asked)
    assert await get(node, site, "/page", ident, title="", flow=ident + "2") == first
    assert len(site.asked) == asked


async def test_what_was_damaged_when_it_was_stored_is_still_said_to_be(node, site, ident):
    first = await get(node, site, "/claims-more.mp4", ident, attempt=3)
    assert first.damage.startswith("the server broke off at ")
    assert await get(node, site, "/claims-more.mp4", ident, flow=ident + "2") == first


async def test_one_download_at_a_time_serves_all_who_want_it(node, site, ident):
    wanted = [get(node, site, "/resets.mp4", ident, flow=f"{ident}{n}") for n in range(4)]
    got = await asyncio.gather(*wanted)
    assert got == [got[0]] * 4
    assert [ranged for _, ranged in site.asked].count("") == 1


async def test_what_was_stored_used_and_removed_while_it_was_waited_for_is_not_downloaded_again(node, site, ident):
    for index in await node.keys(keys.content("")):
        await node.parts.objects.delete(index)  # no other test's file serves for it
    first = await get(node, site, "/ok.mp4", ident)
    asked = len(site.asked)
    async with node.parts.leases.hold("media", ident):
        waits = asyncio.create_task(get(node, site, "/ok.mp4", ident))
        await asyncio.sleep(0.3)
        assert not waits.done()
        await remove(node.parts.objects, Blob(first.object_key, first.bytes, first.sha256))
    with pytest.raises(Postpone, match="done meanwhile"):
        await waits
    assert len(site.asked) == asked
    assert (await get(node, site, "/ok.mp4", ident)).sha256 == first.sha256, "who asks later needs it"


async def test_what_is_wanted_again_by_several_is_downloaded_once(node, site, ident):
    first = await get(node, site, "/ok.mp4", ident)
    whole, asked = await node.parts.objects.get(first.object_key), len(site.asked)
    await node.parts.objects.put(first.object_key, whole[:-1] + b"?")
    again = [get(node, site, "/ok.mp4", ident, wanted=first.object_key) for _ in range(3)]
    assert {media.object_key for media in await asyncio.gather(*again)} == {first.object_key}
    assert await node.parts.objects.get(first.object_key) == whole
    assert len(site.asked) == asked + 1


async def test_cancelled_at_any_moment_it_leaves_nothing(node, site, ident):
    for path in ("/drip.mp4", "/page", "/hls.m3u8", "/ok.mp4"):
        for n in range(6):
            task = asyncio.create_task(get(node, site, path, f"{ident}-{n}"))
            await asyncio.sleep(0.02 * n)
            task.cancel()
            await asyncio.wait([task])
            assert node.left() == []
    assert (await get(node, site, "/ok.mp4", ident)).damage == ""


async def test_local_file(node, site, ident, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a b.mp4").write_bytes(clip(MP4))
    (folder / "out.mp4").symlink_to("/etc/passwd")
    (folder / "page.mp4").write_text("<html>")
    given = {"allow_folders": [str(folder)], "flow": ident}
    media = await node.fetch((folder / "a b.mp4").as_uri(), ident, **given)
    assert media.sha256 == hashlib.sha256(clip(MP4)).hexdigest()
    assert (folder / "a b.mp4").read_bytes() == clip(MP4)
    for url, reason in (
        (f"file://{folder}/out.mp4", "forbidden address"),
        (f"file://{folder}/../other.mp4", "forbidden address"),
        (f"file://{folder}/%2e%2e/other.mp4", "forbidden address"),
        (f"file://elsewhere{folder}/a%20b.mp4", "forbidden address"),
        (f"file://{folder}/none.mp4", "gone"),
        (f"file://{folder}", "not a video"),
        (f"file://{folder}/page.mp4", "fake"),
    ):
        with pytest.raises(Reject) as caught:
            await node.fetch(url, ident + "-x", **given)
        assert caught.value.reason == reason, url


async def test_folders_are_forbidden_until_they_are_allowed(node, tmp_path, ident):
    path = Path(tmp_path, "a.mp4")
    path.write_bytes(clip(MP4))
    with pytest.raises(Reject, match="forbidden address"):
        await node.fetch(path.as_uri(), ident)
