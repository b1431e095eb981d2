"""What is said of a found video: its identity, and words and numbers that every part can store."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestream.web import ytdlp
from proto import ids
from proto.messages import Candidate, encode
from services.discover.feeds import is_feed, is_video_file, items
from services.discover.files import lines, videos
from services.discover.listing import Lister
from services.discover.node import NODE
from services.discover.rows import LONGEST_TEXT, published, row
from tests.support.listing_site import ATOM, RSS


@pytest.fixture(scope="module")
def downloader() -> Any:
    return ytdlp.Downloader({"noplaylist": True})


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=5s&pp=x",
        "http://m.youtube.com/watch?feature=share&v=dQw4w9WgXcQ",
        "https://music.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://youtu.be/dQw4w9WgXcQ?si=abc",
        "https://youtu.be/dQw4w9WgXcQ?list=PL1234567890abcdef",
        "https://www.youtube.com/shorts/dQw4w9WgXcQ",
        "https://www.youtube.com/live/dQw4w9WgXcQ",
        "https://www.youtube.com/embed/dQw4w9WgXcQ",
        "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ",
        "https://www.youtube.com/v/dQw4w9WgXcQ?version=3",
    ],
)
def test_every_spelling_of_a_sites_url_has_the_sites_id(downloader: Any, url: str) -> None:
    found = row(downloader, url, {})
    assert found
    assert (found["id"], found["source"]) == ("youtube-dQw4w9WgXcQ", "youtube")


def test_a_video_within_a_list_is_that_video_for_a_url_seed(downloader: Any) -> None:
    url = "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PL1234567890abcdef"
    (found,) = Lister(downloader, "ytsearch", 5, []).rows("url", url)
    assert (found["id"], downloader.requests) == ("youtube-dQw4w9WgXcQ", 0)


def test_sites_that_share_numbers_are_told_apart(downloader: Any) -> None:
    urls = [
        "https://vimeo.com/123456",
        "https://www.dailymotion.com/video/123456",
        "https://www.twitch.tv/videos/123456",
    ]
    found = [row(downloader, url, {}) for url in urls]
    assert [r["source"] for r in found if r] == ["vimeo", "dailymotion", "twitch"]
    assert len({r["id"] for r in found if r}) == 3


def test_two_videos_of_one_post_stay_two(downloader: Any) -> None:
    found = [row(downloader, f"https://x.com/me/status/1876543210987654321/video/{n}", {}) for n in (1, 2)]
    assert [r["source"] for r in found if r] == ["twitter", "twitter"]
    assert len({r["id"] for r in found if r}) == 2


@pytest.mark.parametrize("url", ["", "x", "kaltura:1:2", "ftp://example.com/a.mp4", "//example.com/a.mp4", "http://["])
def test_what_cannot_be_asked_for_over_http_is_no_row(downloader: Any, url: str) -> None:
    assert row(downloader, url, {}) is None


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
infos = st.dictionaries(
    st.sampled_from(["title", "uploader", "channel", "duration", "view_count", "timestamp", "upload_date"]), anything
)


@given(infos)
def test_whatever_a_site_says_makes_a_candidate(downloader: Any, info: dict[str, Any]) -> None:
    found = row(downloader, "https://example.com/a", info)
    assert found
    sent = encode(Candidate(**msgspec.json.decode(msgspec.json.encode(found)), seed="s"))
    again = msgspec.json.decode(sent, type=Candidate)
    assert len(again.title) <= LONGEST_TEXT
    assert again.title.isprintable()
    assert again.duration_s is None or (math.isfinite(again.duration_s) and again.duration_s >= 0)


def test_dates_in_both_of_yt_dlps_forms() -> None:
    assert published(1769860800) == "2026-01-31T12:00:00+00:00"
    assert published(None, "20260131") == "2026-01-31"
    assert published(1e300, "soon") == ""


def test_feeds_are_told_from_pages() -> None:
    assert all(map(is_feed, (RSS.encode(), ATOM.encode(), b"\xef\xbb\xbf\n<!-- x --><rss version='2.0'>")))
    assert not any(map(is_feed, (b"<!doctype html><rss>", b"<html>", b"", b"feed", b"<?xml version='1.0'?><urlset>")))


def test_video_files_are_told_by_their_ending() -> None:
    assert all(map(is_video_file, ("http://a/b.MP4?x=1", "http://a/b.m3u8#t", "b.webm")))
    assert not any(map(is_video_file, ("http://a/b.html?x=.mp4", "http://a/mp4", "http://a.mp4x/", "b.mp3")))


@given(st.binary(max_size=200))
def test_no_feed_does_anything_but_give_rows_or_stop(downloader: Any, garbage: bytes) -> None:
    page = RSS.encode()[:700] + garbage
    try:
        rows = list(items(downloader, page, "http://example.com/feed"))
    except ytdlp.Stop:
        downloader.refusal = None
        return
    assert all(ids.is_token(r["id"]) for r in rows)


def test_an_entity_bomb_is_not_read(downloader: Any) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    start = f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY l0 "lol">{levels}]>'
    bomb = start + "<rss><channel><title>&l11;</title></channel></rss>"
    with pytest.raises(ytdlp.Stop):
        list(items(downloader, bomb.encode(), "http://example.com/feed"))
    downloader.refusal = None


def test_lines_of_a_list() -> None:
    assert list(lines(b"\xef\xbb\xbfhttp://a\r\n\n# no\n  http://b \xff")) == [(1, "http://a"), (4, "http://b \ufffd")]


def test_names_that_no_url_holds_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "50% off?#é.mp4").touch()
    (found,) = videos(tmp_path, [str(tmp_path)])
    assert found["url"].endswith("/50%25%20off%3F%23%C3%A9.mp4")
    assert ids.is_token(found["id"])


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 0},
        {"search": "ytsearch5:"},
        {"allow_hosts": ["localhost:80"]},
        {"allow_hosts": ["10.0.0.0/8"]},
        {"allow_folders": ["videos"]},
        {"timeout": "soon"},
        {"limits": 5},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        NODE.read_settings(settings)
