"""Every kind of seed as a lazy sequence of videos. For the child only."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from yt_dlp.networking import Request
from yt_dlp.utils import unsmuggle_url

from lodestream.web.ytdlp import Downloader, classify, dedicated
from services.discover import feeds, files
from services.discover.rows import Row, extractor, row

DEEPEST = 3
"""Lists within lists: a channel, its tabs, their playlists."""
REDIRECTS = 5
LOOK_BYTES = 4096
LISTS = frozenset({"YoutubeTab"})
"""Extractors that may give a video or a list, whose ids are those of lists: always looked into."""

_SEARCH = re.compile(r"[a-z]+search[a-z]*(\d*|all):\s*\S")


class Lister:
    """Lists one seed; `left_out` counts what no candidate was made of, by reason, and keeps the first of each."""

    def __init__(self, downloader: Downloader, search: str, limit: int, folders: list[str]):
        self.downloader, self.search, self.limit, self.folders = downloader, search, limit, folders
        self.left_out: dict[str, tuple[int, str]] = {}

    def rows(self, kind: str, value: str) -> Iterator[Row]:
        """The videos of a seed, as they are found. Raises what `ytdlp.classify` knows."""
        if kind == "query":
            return self._follow(self._search_url(value))
        if kind == "feed":
            return self._feed(value)
        if kind == "list":
            return self._list(value)
        if kind == "folder":
            return files.videos(files.inside(value, self.folders, self.downloader), self.folders)
        return self._url(value)

    def _search_url(self, words: str) -> str:
        """yt-dlp's own spelling of a search; words that are spelled so already keep theirs."""
        own = _SEARCH.match(words) and dedicated(words)
        url = words if own else f"{self.search}{self.limit}:{words}"
        if not own and not dedicated(url):
            self.downloader.refuse("unsupported", f"yt-dlp has no search {self.search!r}")
        return url

    def _url(self, url: str) -> Iterator[Row]:
        """A page, a list or a file; what is one video is not asked for here."""
        made_for = extractor(self.downloader, url)
        if made_for and made_for.is_single_video(url):
            return self._one(url)
        if made_for:
            return self._follow(url)
        return self._one(url) if feeds.is_video_file(url) else self._page(url)

    def _one(self, url: str, info: dict[str, Any] | None = None, key: str | None = None) -> Iterator[Row]:
        if found := row(self.downloader, url, info or {}, key):
            yield found
        else:
            self._leave_out("without an http URL", url)

    def _follow(self, url: str, key: str | None = None, depth: int = 0) -> Iterator[Row]:
        """What an extractor lists, in the order and at the pace at which it does."""
        result = self._extract(url, key)
        for _ in range(REDIRECTS):
            if not result.get("_type", "video").startswith("url"):
                break
            url, key = result["url"], result.get("ie_key")
            made_for = extractor(self.downloader, url, key)
            if not made_for:
                yield from self._url(unsmuggle_url(url)[0])
                return
            if made_for.is_single_video(url):
                break
            result = self._extract(url, key)
        yield from self._entries(result, depth) if "entries" in result else self._one(url, result, key)

    def _entries(self, listed: dict[str, Any], depth: int) -> Iterator[Row]:
        for entry in listed["entries"]:
            yield from self._entry(entry or {}, depth)

    def _entry(self, entry: dict[str, Any], depth: int) -> Iterator[Row]:
        """One place in a list: a video, or a list of its own."""
        url, key, here = _target(entry), entry.get("ie_key"), "entries" in entry
        made_for = extractor(self.downloader, url, key)
        is_list = here or (made_for and (made_for.is_single_video(url) is False or made_for.ie_key() in LISTS))
        if not is_list and not url:
            self._leave_out("without a video", str(entry.get("title") or entry.get("id")))
        elif not is_list:
            yield from self._one(url, entry, key)
        elif depth >= DEEPEST:
            self._leave_out("lists within lists", url)
        elif here:
            yield from self._entries(entry, depth + 1)
        else:
            yield from self._follow(url, key, depth + 1)

    def _page(self, url: str) -> Iterator[Row]:
        """A page of a site that yt-dlp does not know: a feed, or several videos; else one, for fetch to decide."""
        found: Iterable[Row] = []
        try:
            found = self._looked_at(url)
        except Exception as error:
            verdict = classify(error, self.downloader)
            if verdict.kind in ("retry", "later") or verdict.reason in ("forbidden address", "scheme"):
                raise
            self.downloader.refusal = None
        yield from found or self._one(url)

    def _looked_at(self, url: str) -> Iterable[Row]:
        """What is in a page; nothing where the page is the video itself."""
        response = self.downloader.urlopen(Request(url))
        if response.url != url and extractor(self.downloader, response.url):
            return self._url(response.url)
        start = response.read(LOOK_BYTES)
        if feeds.is_feed(start):
            return feeds.items(self.downloader, start + response.read(), response.url)
        response.close()
        return self._embedded(response.url) if "html" in response.headers.get("Content-Type", "html") else []

    def _embedded(self, url: str) -> list[Row]:
        """The videos in a page; one alone counts only where its site gives it an id, else the page stands for it."""
        result = self._extract(url, "Generic")
        rows = [r for entry in result.get("entries") or [result] for r in self._entry(entry, DEEPEST)]
        found = {r["id"]: r for r in rows}
        return list(found.values()) if len(found) > 1 or not all(i.startswith("web-") for i in found) else []

    def _feed(self, url: str) -> Iterator[Row]:
        response = self.downloader.urlopen(Request(url))
        page = response.read()
        if not feeds.is_feed(page):
            self.downloader.refuse("unsupported", f"no RSS or Atom feed at {url[:80]}")
        return feeds.items(self.downloader, page, response.url)

    def _list(self, where: str) -> Iterator[Row]:
        """A text file of URLs. A line is one video and is not asked for, but where its site says that it is a list."""
        if where.startswith("/"):
            data = files.read_list(files.inside(where, self.folders, self.downloader), self.downloader)
        else:
            data = self.downloader.urlopen(Request(where)).read()
        if data.lstrip()[:1] == b"<":
            self.downloader.refuse("unsupported", f"no list of URLs at {where[:80]}, but a page")
        for number, line in files.lines(data):
            if line.lower().startswith(("http://", "https://")):
                yield from self._entry({"_type": "url", "url": line}, 0)
            else:
                self._leave_out("lines that are no URL", f"line {number}")

    def _leave_out(self, why: str, what: str) -> None:
        count, first = self.left_out.get(why, (0, what[:80]))
        self.left_out[why] = count + 1, first

    def _extract(self, url: str, key: str | None = None) -> dict[str, Any]:
        return self.downloader.extract_info(url, ie_key=key, process=False) or {}


def _target(entry: dict[str, Any]) -> str:
    """Where the video of an entry is: its page, or else its file, or the playlist of all its renditions."""
    if entry.get("_type", "video") != "video":
        return entry.get("url") or entry.get("webpage_url") or ""
    files = [f for f in entry.get("formats") or [entry] if f.get("url") and f.get("vcodec") != "none"]
    best: dict[str, Any] = max(files, key=lambda f: (f.get("height") or 0, f.get("ext") == "mp4"), default={})
    return entry.get("webpage_url") or best.get("manifest_url") or best.get("url") or ""
