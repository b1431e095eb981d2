"""RSS and Atom: one video per item. For the child only."""

import calendar
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import feedparser
from yt_dlp.utils import parse_duration

from lodestream.web.ytdlp import Downloader
from services.discover.rows import Row, extractor, row

_FEED = re.compile(rb"\s*(<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<(rss|feed|rdf:RDF|channel)[\s>]", re.DOTALL)
_VIDEO = re.compile(r".\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|(m2?)?ts|ogv|flv|wmv|3gp|m3u8|mpd)\Z", re.IGNORECASE)


def is_feed(page: bytes) -> bool:
    """Whether a page begins as a feed does."""
    return _FEED.match(page.removeprefix(b"\xef\xbb\xbf")[:4096]) is not None


def is_video_name(name: str) -> bool:
    """Whether a file's name ends as those of videos and streams do."""
    return _VIDEO.search(name) is not None


def is_video_file(url: str) -> bool:
    """Whether a URL's path ends as the names of videos and streams do."""
    return is_video_name(url.partition("#")[0].partition("?")[0])


def items(downloader: Downloader, page: bytes, url: str) -> Iterator[Row]:
    """The videos of a feed that was read from `url`, in its order. Raises Stop at the end of one that is broken."""
    feed = feedparser.parse(page, response_headers={"content-location": url}, sanitize_html=False)
    for item in feed.entries:
        if found := _row(downloader, item, url):
            yield found
    if feed.bozo and not isinstance(feed.bozo_exception, feedparser.ThingsNobodyCaresAboutButMe):
        downloader.refuse("broken feed", " ".join(str(feed.bozo_exception).split()))


def _row(downloader: Downloader, item: Any, base: str) -> Row | None:
    """The page where its site is known, else the file, else the page."""
    page = item.get("link", "")
    target = page if page and extractor(downloader, page) else _file(item) or page
    return row(downloader, urljoin(base, target), _info(item)) if target else None


def _file(item: Any) -> str:
    """The URL of an item's video: that of its largest rendition, else its first."""
    files = [f for f in (*item.get("media_content", ()), *item.get("enclosures", ())) if _is_video(f)]
    best: Any = max(files, key=_height, default={})
    return str(best.get("url") or best.get("href") or "")


def _is_video(file: Any) -> bool:
    kind = f"{file.get('type', '')} {file.get('medium', '')}".lower()
    if "video" in kind or "mpegurl" in kind:
        return True
    return kind.strip() in ("", "application/octet-stream") and is_video_file(file.get("url") or file.get("href") or "")


def _height(file: Any) -> int:
    height = str(file.get("height", ""))
    return int(height) if height.isdecimal() and len(height) < 6 else 0


def _info(item: Any) -> dict[str, Any]:
    at = item.get("published_parsed") or item.get("updated_parsed")
    return {
        "title": item.get("title"),
        "uploader": item.get("author"),
        "timestamp": calendar.timegm(at) if at else None,
        "duration": parse_duration(item.get("itunes_duration")),
    }
