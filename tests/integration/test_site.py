"""The demo's site over real HTTP: what it serves, that it counts, and that it stays where it was."""

import contextlib
import io
import socket
from itertools import pairwise
from pathlib import Path

import av
import pytest
from aiohttp import ClientSession

from lodestream.demo import pages
from lodestream.demo.clips import Clip
from lodestream.demo.expect import times
from lodestream.demo.site import HOST, Site, serve
from lodestream.errors import LodeError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: the clips are encoded once."""
    return tmp_path_factory.mktemp("demo")


async def get(site: Site, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    async with ClientSession() as session, session.get(site.url(path)) as answer:
        return answer.status, answer.content_type, await answer.read()


def shown(data: bytes) -> list[float]:
    """The presentation time of every frame that can be decoded."""
    found: list[float] = []
    with av.open(io.BytesIO(data)) as container, contextlib.suppress(av.error.InvalidDataError):
        found.extend(float(frame.time or 0) for frame in container.decode(video=0))
    return found


@pytest.mark.parametrize("path", [path for path in pages.CLIPS if path != pages.TORN])
async def test_every_clip_is_a_video_with_its_own_frame_times(folder: Path, path: str) -> None:
    async with serve(folder) as site:
        status, kind, body = await get(site, path)
    assert (status, kind) == (200, "video/webm" if path.endswith("webm") else "video/mp4")
    assert shown(body) == pytest.approx([float(time) for time in pages.CLIPS[path].times()], abs=0.001)


async def test_what_is_special_about_each(folder: Path) -> None:
    async with serve(folder) as site:
        bodies = {path: (await get(site, path))[2] for path in pages.CLIPS}
    with av.open(io.BytesIO(bodies["/videos/rain.mp4"])) as rain:
        assert rain.streams.video[0].frames == 0
    with av.open(io.BytesIO(bodies[pages.ORIGINAL])) as meadow:
        assert meadow.streams.video[0].codec_context.has_b_frames
    with av.open(io.BytesIO(bodies["/videos/ladder.mp4"])) as ladder:
        assert next(ladder.decode(video=0)).rotation % 180
    kite = shown(bodies["/videos/kite.mp4"])
    assert {round(after - before, 2) for before, after in pairwise(kite)} == {0.02, 0.05, 0.11}


async def test_the_torn_video_ends_in_its_middle(folder: Path) -> None:
    async with serve(folder) as site:
        _, _, body = await get(site, pages.TORN)
    whole = pages.CLIPS[pages.TORN]
    there = [float(time) for time in whole.times() if time < pages.TORN_SECONDS]
    assert shown(body) == pytest.approx(there, abs=0.001)
    assert body == whole.encode()[: len(body)]


async def test_the_playlist_leads_to_its_segments(folder: Path) -> None:
    async with serve(folder) as site:
        _, kind, playlist = await get(site, pages.PLAYLIST)
        names = [line for line in playlist.decode().splitlines() if not line.startswith("#")]
        segments = [(await get(site, f"/live/tram/{name}"))[2] for name in names]
    assert kind == "application/vnd.apple.mpegurl"
    assert len(shown(b"".join(segments))) == len(pages.PLAYLIST_CLIP.times())


async def test_pages_feeds_and_mishaps(folder: Path) -> None:
    async with serve(folder) as site:
        _, kind, page = await get(site, pages.PAGE)
        assert (kind, b"<video" in page) == ("text/html", True)
        _, kind, feed = await get(site, pages.FEED)
        assert kind == "application/rss+xml"
        assert feed.count(site.base.encode() + b"/podcast/") == 2
        _, kind, fake = await get(site, pages.FAKE)
        assert (kind, fake[:9]) == ("video/mp4", b"<!doctype")
        assert (await get(site, pages.GONE))[0] == 404
        assert (await get(site, "/../../site.json"))[0] == 404
        assert (await get(site, pages.COPY))[2] == (await get(site, pages.ORIGINAL))[2]
        assert (await get(site, pages.TRACKED))[2] == (await get(site, pages.PLAIN))[2]


async def test_it_counts_what_it_gives(folder: Path) -> None:
    async with serve(folder) as site:
        assert (site.sent, site.hits) == (0, {})
        _, _, body = await get(site, pages.PLAIN)
        await get(site, pages.TRACKED)
        await get(site, pages.GONE)
        assert site.hits == {pages.PLAIN: 2}
        assert site.sent == 2 * len(body)


async def test_it_stays_on_its_port_and_says_so_when_that_is_taken(folder: Path) -> None:
    async with serve(folder) as site:
        first = site.base
    async with serve(folder) as site:
        assert site.base == first
        with pytest.raises(LodeError, match=f"port {site.base.rpartition(':')[2]}.*is taken"):
            async with serve(folder):
                pass
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((HOST, int(first.rpartition(":")[2])))


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (Clip("plain", seconds=3), [0, 1000, 2000]),
        (Clip("a little more", seconds=3.04), [0, 1000, 2000, 3000]),
        (Clip("uneven", seconds=3, gaps_ms=(400, 300)), [0, 1100, 2100]),
    ],
)
def test_expected_times_are_those_of_the_first_frame_in_each_second(clip: Clip, expected: list[int]) -> None:
    assert times(clip) == expected
