"""Seeds of every kind against a real site on loopback, listed by yt-dlp in a real child."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from lodestream.children import Children
from lodestream.errors import Reject, Retry
from lodestream.job import Job
from proto import ids
from proto.messages import Candidate, Listing, Seed, SeedKind
from services.discover import node
from services.discover.node import NODE
from tests.support.listing_site import ListingSite, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def site() -> Iterator[ListingSite]:
    with serve() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def children(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Children]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LODE_YTDLP_PLUGINS", str(Path(__file__).parents[1] / "support"))
        async with Children("services.discover.child", tmp_path_factory.mktemp("work")) as running:
            yield running


class Discover:
    """The node with its settings; keeps what it gave."""

    def __init__(self, site: ListingSite, children: Children):
        self.site, self.children = site, children
        self.settings: dict[str, Any] = {"allow_hosts": [site.address], "search": "loopsearch"}
        self.candidates: list[Candidate] = []
        self.listing: Listing | None = None

    async def __call__(self, kind: SeedKind, value: str, attempt: int = 1, **seed: Any) -> None:
        """Handle one seed; `/path` is one of the site. Raises what the handler raises."""
        self.candidates, self.listing = [], None
        self.site.asked.clear()
        given = Seed(id="s", kind=kind, value=value, **seed)
        async for port, message in NODE.handler(given, self.job(attempt)):
            if port == "candidates":
                self.candidates.append(cast(Candidate, message))
            else:
                assert self.listing is None
                self.listing = cast(Listing, message)

    def job(self, attempt: int = 1) -> Job:
        nothing = cast(Any, None)
        settings = NODE.read_settings(self.settings)
        return Job("f", "find", NODE.type, settings, "", "s", "flow.f", attempt, nothing, nothing, self.children)

    def url(self, path: str) -> str:
        return self.site.base + path

    @property
    def paths(self) -> list[str]:
        """Where the candidates are, within the site."""
        return [candidate.url.removeprefix(self.site.base) for candidate in self.candidates]

    @property
    def end(self) -> tuple[int, bool, str]:
        """What the listing says."""
        assert self.listing
        return self.listing.offered, self.listing.complete, self.listing.detail


@pytest.fixture
def discover(site: ListingSite, children: Children) -> Discover:
    return Discover(site, children)


async def test_a_page_with_one_video_is_one_candidate(discover):
    await discover("url", discover.url("/one.html"), labels={"task": "x"})
    (found,) = discover.candidates
    assert found.url == discover.url("/one.html")
    assert found.id == ids.web_id(discover.url("/one.html"))
    assert (found.source, found.seed, found.labels) == (discover.site.address, "s", {"task": "x"})
    assert discover.end == (1, True, "")


async def test_a_page_with_several_videos_gives_each_once(discover):
    await discover("url", discover.url("/three.html"))
    assert discover.paths == ["/clips/a.mp4", "/clips/b.mp4", "/clips/c.mp4"]
    assert discover.candidates[2].id == ids.web_id(discover.url("/clips/c.mp4"))
    assert "left out 1 without a video" in discover.end[2]


async def test_an_embedded_video_of_a_known_site_is_known_by_its_id(discover):
    await discover("url", discover.url("/embed.html"))
    assert [c.id for c in discover.candidates] == ["loopclip-abc"]
    assert discover.paths == ["/watch/abc"]


@pytest.mark.parametrize("path", ["/clips/one.mp4", "/live.m3u8?x=1", "/watch/abc"])
async def test_what_is_one_video_by_its_url_is_not_asked_for(discover, path):
    await discover("url", discover.url(path))
    assert discover.paths == [path]
    assert discover.site.asked == []


@pytest.mark.parametrize("path", ["/none.html", "/404.html", "/clips/one", "/endless.html"])
async def test_what_is_no_list_is_left_to_fetch_to_decide(discover, path):
    await discover("url", discover.url(path))
    assert discover.paths == [path]


@pytest.mark.parametrize("kind", ["feed", "url"])
async def test_rss_gives_the_file_or_the_page_of_each_item(discover, kind):
    await discover(kind, discover.url("/feed.xml"))
    assert discover.paths == ["/clips/one.mp4", "/page.html", "/clips/large.mp4", "/talk.html", "/watch/abc"]
    first, last = discover.candidates[0], discover.candidates[-1]
    assert (first.title, first.uploader, first.duration_s) == ("File & all", "Ann", 65.0)
    assert first.published == "2026-01-31T12:00:00+00:00"
    assert last.id == "loopclip-abc"
    assert discover.end == (5, True, "")


@pytest.mark.parametrize("kind", ["feed", "url"])
async def test_atom_too(discover, kind):
    await discover(kind, discover.url("/atom"))
    assert discover.paths == ["/clips/atom.mp4", "/page.html"]


async def test_a_broken_feed_gives_what_can_be_read_and_says_so(discover):
    await discover("feed", discover.url("/torn.xml"))
    assert len(discover.candidates) == 3
    assert discover.end[:2] == (3, False)
    assert discover.end[2].startswith("broken feed: ")


@pytest.mark.parametrize(
    ("kind", "path", "reason"),
    [
        ("feed", "/one.html", "unsupported"),
        ("feed", "/404.xml", "gone"),
        ("feed", "/endless.xml", "too big"),
        ("feed", "/to?u=file:///etc/passwd", "unsupported"),
        ("list", "/one.html", "unsupported"),
        ("channel", "/channel/gone/videos", "gone"),
        ("channel", "/channel/hollow/videos", "nothing found"),
        ("gallery", "/one.html", "unsupported"),
    ],
)
async def test_a_seed_that_leads_to_nothing_is_rejected_with_the_reason(discover, kind, path, reason):
    with pytest.raises(Reject) as no:
        await discover(kind, discover.url(path))
    assert no.value.reason == reason
    assert discover.candidates == []
    assert kind == "gallery" or discover.end[0] == 0


async def test_a_list_of_urls(discover):
    await discover("list", discover.url("/list.txt"))
    assert discover.paths[:3] == ["/clips/one.mp4", "/clips/two.mp4", "/watch/abc"]
    assert discover.paths[3:] == [f"/watch/small-videos-{n}" for n in range(20)]
    assert discover.end == (23, True, "left out 1 lines that are no URL, the first: line 6")


async def test_a_local_list_and_a_folder_are_read_in_allowed_folders_only(discover, tmp_path):
    inner = tmp_path / "in"
    (inner / "sub").mkdir(parents=True)
    for name in ("in/b.mp4", "in/sub/a b.webm", "in/notes.txt", "in/.hidden.mp4", "out.mp4"):
        (tmp_path / name).write_text(discover.url("/clips/one.mp4"))
    (inner / "way out.mp4").symlink_to(tmp_path / "out.mp4")
    discover.settings["allow_folders"] = [str(inner)]

    await discover("folder", str(inner))
    assert [c.url for c in discover.candidates] == [(inner / n).as_uri() for n in ("b.mp4", "sub/a b.webm")]
    assert {c.source for c in discover.candidates} == {"local"}
    await discover("folder", str(inner / "b.mp4"))
    assert [c.title for c in discover.candidates] == ["b"]
    await discover("list", str(inner / "notes.txt"))
    assert discover.paths == ["/clips/one.mp4"]

    for kind, path in (("folder", tmp_path), ("folder", inner / ".."), ("list", inner / "way out.mp4")):
        with pytest.raises(Reject) as no:
            await discover(kind, str(path))
        assert no.value.reason == "forbidden folder"


async def test_a_search_asks_for_no_more_than_its_limit(discover):
    port = discover.site.base.rpartition(":")[2]
    await discover("query", f"big @{port}", limit=25)
    assert discover.paths == [f"/watch/big-search-{n}" for n in range(25)]
    assert discover.site.asked == ["/api/big/search?page=1", "/api/big/search?page=2"]
    assert discover.end == (25, True, "stopped at the limit of 25")
    first = discover.candidates[0]
    assert (first.id, first.source, first.title) == ("loopclip-big-search-0", "loopclip", "Clip big-search-0")
    assert (first.duration_s, first.views, first.published) == (12.0, 3, "2026-01-31T12:00:00+00:00")


async def test_a_search_may_name_its_engine(discover):
    discover.settings["search"] = "nosearch"
    with pytest.raises(Reject, match="yt-dlp has no search 'nosearch'"):
        await discover("query", "words")
    await discover("query", f"loopsearch7:big @{discover.site.base.rpartition(':')[2]}")
    assert len(discover.candidates) == 7


async def test_a_channel_is_all_its_tabs_and_pages(discover):
    await discover("channel", discover.url("/channel/big"), limit=5000)
    assert len({c.id for c in discover.candidates}) == 2000
    assert discover.end == (2000, True, "")
    assert len(discover.site.asked) == 100


async def test_what_was_listed_before_a_failure_stays(discover):
    with pytest.raises(Retry) as again:
        await discover("channel", discover.url("/channel/flaky/videos"))
    assert again.value.after == 7
    assert len(discover.candidates) == 60
    assert discover.listing is None

    await discover("channel", discover.url("/channel/flaky/videos"), attempt=4)
    assert len(discover.candidates) == 60
    assert discover.end == (60, False, "server: HTTP 503")


async def test_going_in_circles_ends(discover):
    await discover("channel", discover.url("/channel/circle/videos"))
    assert len(discover.candidates) == 20
    assert discover.end == (220, False, "stopped after 200 repeats in a row")


async def test_a_listing_ends_at_its_timeout(discover):
    await discover("channel", discover.url("/channel/endless/videos"), timeout=0.5, limit=100_000)
    assert discover.end == (len(discover.candidates), False, "stopped after 0.5 s")
    assert discover.candidates


async def test_a_child_that_hangs_is_killed_at_its_timeout_and_its_videos_stay(discover, monkeypatch):
    monkeypatch.setattr(node, "GRACE_S", 0.2)
    await discover("channel", discover.url("/channel/silent/videos"), timeout=3)
    assert discover.end == (20, False, "stopped after 3 s")


async def test_a_silent_site_is_tried_again(discover, monkeypatch):
    monkeypatch.setattr(node, "STALL_S", 2.0)
    with pytest.raises(Retry, match="stalled"):
        await discover("channel", discover.url("/channel/silent/videos"))
    await discover("channel", discover.url("/channel/silent/videos"), attempt=4)
    assert discover.end[:2] == (20, False)


async def test_private_addresses_are_never_asked(discover):
    inner = discover.site.next_door
    for kind, value in [
        ("url", f"{inner}/x.html"),
        ("feed", f"{inner}/feed.xml"),
        ("url", discover.url(f"/to?u={inner}/x.html")),
        ("feed", discover.url(f"/to?u={inner}/feed.xml")),
        ("list", discover.url(f"/to?u={inner}/list.txt")),
    ]:
        with pytest.raises(Reject) as no:
            await discover(kind, value)
        assert no.value.reason == "forbidden address"
    assert discover.site.asked_next_door == []


async def test_leaving_in_the_middle_leaves_nothing_behind(discover):
    seed = Seed(id="s", kind="channel", value=discover.url("/channel/silent/videos"))
    async with aclosing(cast(Any, NODE.handler(seed, discover.job()))) as outputs:
        await anext(outputs)
        assert _forked(discover.children)
    assert not _forked(discover.children)
    assert list(discover.children.work.iterdir()) == []


def _forked(children: Children) -> list[str]:
    """The children that live."""
    assert children._link
    pid = children._link.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
