"""What the demo's web site holds: every kind of video that the web has, encoded on the spot, and its usual mishaps."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av

from lodestream.demo.clips import Clip
from lodestream.demo.shapes import Film, blue_square, red_ball, still
from lodestream.local.home import write_whole

CLIPS: dict[str, Clip] = {
    "/videos/harbour.mp4": Clip("harbour", seconds=8),
    "/videos/meadow.mp4": Clip("meadow", seconds=9, bframes=3),
    "/videos/market.webm": Clip("market", seconds=6, container="webm", codec="libvpx-vp9"),
    "/videos/kite.mp4": Clip("kite", seconds=7, gaps_ms=(20, 50, 110)),
    "/videos/ladder.mp4": Clip("ladder", seconds=6, width=180, height=320, rotation=90),
    "/videos/rain.mp4": Clip("rain", seconds=8, fragmented=True),
    "/videos/torn.mp4": Clip("torn", seconds=10),
    "/clips/potter.mp4": Clip("potter", seconds=6, fps=30, bframes=2),
    "/podcast/one.mp4": Clip("one", seconds=5),
    "/podcast/two.mp4": Clip("two", seconds=7, fps=24),
}
TOYS = Film.of("table", red_ball(), still(seconds=3.0), blue_square(seconds=3.0))
TABLE, TABLE_SMALL = "/toys/table.mp4", "/toys/table-small.mp4"
FILMS = {
    TABLE: TOYS,
    TABLE_SMALL: TOYS.again("table-small", width=256, height=144),
    "/toys/night.mp4": Film.of("night", red_ball(light=0.08)),
}
"""What the project looks for: toys on a table, the same film once more, and one that is too dark."""
CLIPS |= FILMS
PLAYLIST, PLAYLIST_CLIP = "/live/tram/index.m3u8", Clip("tram", seconds=8)
"""An HLS playlist, and what its segments show."""
PAGE, PAGE_CLIP = "/watch/potter.html", CLIPS["/clips/potter.mp4"]
"""A page with a <video> tag, and what it plays."""
TORN, TORN_SECONDS = "/videos/torn.mp4", 5.5
"""A video that ends in its middle, and how many of its seconds are there."""
ORIGINAL, COPY = "/videos/meadow.mp4", "/mirror/meadow.mp4"
"""Two paths with the same bytes."""
PLAIN, TRACKED = "/videos/harbour.mp4", "/videos/harbour.mp4?utm_source=newsletter&fbclid=IwAR0"
"""Two spellings of one URL."""
FEED, FAKE, GONE = "/feed.xml", "/videos/page.mp4", "/videos/gone.mp4"
"""An RSS feed; a web page called .mp4; nothing."""
NO_SEED = '{"kind": "vidoe", "value": "no kind of seed"}'
"""What is published among the seeds, and is none."""

_VIDEO_PAGE = """<!doctype html><title>At the wheel</title><h1>At the wheel</h1>
<video controls src="../clips/potter.mp4"></video>
"""
_NO_VIDEO = "<!doctype html><title>Sign in</title><p>Please sign in to watch this video.</p>\n"
_FEED = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Small films</title><link>{base}/</link><description>Two new, one known</description>
<item><title>One</title><enclosure url="{base}/podcast/one.mp4" type="video/mp4" length="1"/></item>
<item><title>Two</title><enclosure url="{base}/podcast/two.mp4" type="video/mp4" length="1"/></item>
<item><title>Harbour</title><enclosure url="{base}{tracked}" type="video/mp4" length="1"/></item>
</channel></rss>
"""


def write_site(folder: Path, base: str) -> None:
    """Make every file of the site under `folder`, those aside that are there already. `base` is the site's own URL."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda path: _keep(folder, path, lambda: _video(path)), CLIPS))
    _write_stream(folder)
    _keep(folder, COPY, lambda: _file(folder, ORIGINAL).read_bytes())
    texts = {PAGE: _VIDEO_PAGE, FAKE: _NO_VIDEO, FEED: _FEED.format(base=base, tracked=TRACKED.replace("&", "&amp;"))}
    for path, text in texts.items():
        _keep(folder, path, text.encode)


def _keep(folder: Path, path: str, make: Callable[[], bytes]) -> None:
    file = _file(folder, path)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, make())


def _file(folder: Path, path: str) -> Path:
    return folder / path.removeprefix("/")


def _video(path: str) -> bytes:
    whole = CLIPS[path].encode()
    return _tear(whole, TORN_SECONDS) if path == TORN else whole


def _write_stream(folder: Path) -> None:
    """The segments, then the playlist: where it is, they are."""
    if not _file(folder, PLAYLIST).exists():
        above = PLAYLIST.rpartition("/")[0]
        for name, data in sorted(PLAYLIST_CLIP.hls().items(), key=lambda item: item[0].endswith(".m3u8")):
            _keep(folder, f"{above}/{name}", lambda data=data: data)  # type: ignore[misc]


def _tear(mp4: bytes, seconds: float) -> bytes:
    """The file up to its first packet that is due at `seconds` or later."""
    with av.open(io.BytesIO(mp4)) as container:
        video = container.streams.video[0]
        return mp4[: next(p.pos for p in container.demux(video) if p.pts and p.pts * video.time_base >= seconds)]
