"""Fakes on their way through fetch: by URL before a byte, by bytes with nothing kept, and learned from repetition."""

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.demo.clips import Clip
from lodestream.errors import Reject
from lodestream.fakes import builtin
from lodestream.fakes.entries import read
from lodestream.fakes.shelf import SUSPECT, Shelf
from lodestream.memo import Memo
from lodestream.objects import Objects
from proto import keys
from proto.messages import Media
from services.fetch import known
from tests.support.faulty_site import MP4, FaultySite, clip, faulty_site, fixed
from tests.support.fetching import Fetching, fetching

SORRY = clip(Clip("sorry", seconds=1))
SHA256 = hashlib.sha256(SORRY).hexdigest()
GIF = base64.b64decode(builtin.BYTES["transparent GIF of 1x1, 42 bytes"])
for n in range(SUSPECT + 2):
    fixed(f"v{n}.mp4", lambda: SORRY)
fixed("gone.html", lambda: f"<html><video src=/v{0}.mp4></video></html>", "text/html")
fixed("pixel.mp4", lambda: GIF)
fixed("pixel", lambda: GIF, "image/gif")


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fetching]:
    monkeypatch.setattr(known, "FRESH_S", 0.0)
    monkeypatch.setattr(known, "SHARE", 0)
    async with fetching(tmp_path) as running:
        yield running


@pytest.fixture
def shelf(node: Fetching) -> Shelf:
    return Shelf(node.parts.objects)


@pytest.fixture
async def site() -> AsyncIterator[FaultySite]:
    async with faulty_site() as running:
        yield running


async def get(node: Fetching, site: FaultySite, path: str, **more: object) -> Media:
    ident = "web-" + hashlib.sha256(path.encode()).hexdigest()[:12]
    hosts = [f"127.0.0.1:{site.port}"]
    return await node.fetch(site.url(path), ident, allow_hosts=hosts, **{"flow": ident, **more})  # type: ignore[arg-type]


async def refused(node: Fetching, site: FaultySite, path: str, **more: object) -> Reject:
    """The no, which left nothing on disk, and no new media in the store."""
    before = await node.keys()
    with pytest.raises(Reject) as caught:
        await get(node, site, path, **more)
    assert caught.value.reason == "fake"
    assert node.left() == []
    assert await node.keys() == before
    return caught.value


async def test_a_known_url_is_refused_before_a_byte_is_asked_for(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    why = await refused(node, site, "/v0.mp4?text=Photo+12")
    assert (why.detail, why.lasting) == ("known fake: ?text=photo+# (the caption of a placeholder)", False)
    await shelf.add(read(f"127.0.0.1:{site.port}/v*", note="sorry clips"))
    why = await refused(node, site, "/v1.mp4")
    assert why.detail == f"known fake: 127.0.0.1:{site.port}/v* (sorry clips)"
    assert site.asked == []
    await shelf.withdraw(read(f"127.0.0.1:{site.port}/v*"))
    assert (await get(node, site, "/v1.mp4")).sha256 == SHA256


@pytest.mark.parametrize("path", ["/v0.mp4", "/gone.html"])
@pytest.mark.parametrize("what", [SHA256, str(len(SORRY))])
async def test_a_known_clip_is_refused_and_nothing_of_it_is_kept(
    node: Fetching, site: FaultySite, shelf: Shelf, what: str, path: str
) -> None:
    entry = read(what, note="sorry")
    await shelf.add(entry)
    why = await refused(node, site, path)
    assert (why.detail, why.lasting) == (f"known fake: {entry}", True)
    assert site.asked
    assert await node.keys("memo/fetch/content/") == []


@pytest.mark.parametrize("path", ["/pixel.mp4", "/pixel"])
async def test_a_known_picture_in_place_of_a_video_is_named(node: Fetching, site: FaultySite, path: str) -> None:
    why = await refused(node, site, path)
    assert why.detail.endswith(" (transparent GIF of 1x1, 42 bytes)")


async def test_what_was_fetched_before_it_was_known_is_refused_from_then_on(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    await get(node, site, "/v0.mp4")
    await shelf.add(read(SHA256))
    asked = len(site.asked)
    await refused(node, site, "/v0.mp4", flow="another", recipe="r2")
    assert len(site.asked) == asked


async def test_what_is_remembered_of_a_refusal_goes_with_its_entry(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    await shelf.add(read(SHA256))
    why = await refused(node, site, "/v0.mp4", recipe="r1")
    memo = Memo(node.parts.objects, "fetch", "r1")
    await memo.keep("e", 0.1, [], [], why)
    assert await memo.find("e")
    assert await shelf.withdraw(read(SHA256)) == "removed"
    assert await memo.find("e") is None
    assert (await get(node, site, "/v0.mp4")).sha256 == SHA256


async def remembered(node: Fetching, media: Media) -> None:
    """As the engine does once a handler is done."""
    await Memo(node.parts.objects, "fetch", "r1").keep(media.id, 0.1, [("media", media)], [], None)


async def test_bytes_from_many_origins_are_suspected_and_blocked_once_confirmed(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    await remembered(node, await get(node, site, "/v0.mp4"))
    for path in ("/v0.mp4?token=1", "/v0.mp4?token=2", "/v1.mp4", *(f"/v{n}.mp4?x" for n in range(1, SUSPECT))):
        await get(node, site, path)
    sightings = await shelf.sightings()
    assert {sha256: len(found) for sha256, found in sightings.items()} == {SHA256: SUSPECT}
    await get(node, site, f"/v{SUSPECT}.mp4")
    [(sha256, found)] = (await shelf.sightings()).items()
    suspect = await shelf.suspect(sha256, found)
    assert suspect
    assert (suspect.sha256, suspect.size, suspect.origins) == (SHA256, len(SORRY), SUSPECT + 1)
    assert (await get(node, site, f"/v{SUSPECT + 1}.mp4")).sha256 == SHA256
    await shelf.add(read(SHA256))
    await refused(node, site, "/v0.mp4?token=3")


async def test_the_first_video_counts_though_nobody_remembers_its_url_yet(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    first = await get(node, site, "/v0.mp4")
    await get(node, site, "/v1.mp4")
    assert len(await shelf.origins(SHA256, 9)) == 2
    await remembered(node, first)
    await get(node, site, "/v2.mp4")
    found = await shelf.origins(SHA256, 9)
    assert len(found) == 3
    assert not any(key.endswith(first.id) for key in found)


async def test_a_node_may_refuse_what_comes_from_too_many_origins(
    node: Fetching, site: FaultySite, shelf: Shelf
) -> None:
    await remembered(node, await get(node, site, "/v0.mp4", max_origins=2))
    await get(node, site, "/v0.mp4?token=1", max_origins=2)
    await get(node, site, "/v1.mp4", max_origins=2)
    why = await refused(node, site, "/v2.mp4", max_origins=2)
    assert (why.detail, why.lasting) == (f"the same bytes from more than 2 unrelated URLs: sha256 {SHA256}", False)
    await get(node, site, "/v3.mp4")
    await refused(node, site, "/v4.mp4", max_origins=2)
    await shelf.withdraw(read(SHA256))
    await shelf.add(read(SHA256, fine=True))
    await get(node, site, "/v4.mp4", max_origins=2)


class Counted:
    """An object store that counts what it is asked."""

    def __init__(self, objects: Objects):
        self._objects, self.listings, self.writes = objects, list[str](), list[str]()

    def list(self, prefix: str) -> object:
        """Noted when it is about fakes."""
        if prefix.startswith("fakes/"):
            self.listings.append(prefix)
        return self._objects.list(prefix)

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Noted when it is about fakes."""
        if key.startswith("fakes/"):
            self.writes.append(key)
        return await self._objects.create(key, data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


async def test_an_ordinary_video_costs_nothing_more(
    node: Fetching, site: FaultySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "FRESH_S", 3600.0)
    counted = Counted(node.parts.objects)
    node.state.fakes = known.Known(counted)  # type: ignore[arg-type]
    for path in ("/ok.mp4", "/ok.webm", "/rotated.mp4", "/segment.ts"):
        assert (await get(node, site, path)).bytes
    assert counted.listings == [keys.FAKES]
    assert counted.writes == []
    assert (await get(node, site, "/same.mp4")).sha256 == hashlib.sha256(clip(MP4)).hexdigest()
    assert len(counted.writes) == 2  # for this URL, and for the first
