"""A site of its own for yt-dlp: clips, a channel with two tabs, a search; all paged by a JSON API on loopback."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from yt_dlp.extractor.common import InfoExtractor, SearchInfoExtractor

_BASE = r"(?P<base>http://127\.0\.0\.1:\d+)"


class LoopClipIE(InfoExtractor):  # type: ignore[misc]
    """One clip."""

    _VALID_URL = _BASE + r"/watch/(?P<id>[\w-]+)"
    _EMBED_REGEX: ClassVar = [rf"<iframe[^>]+src=.(?P<url>{_BASE}/watch/[\w-]+)"]
    _RETURN_TYPE = "video"

    def _real_extract(self, url: str) -> dict[str, Any]:
        return {"id": self._match_id(url), "title": "a clip", "url": f"{url}.mp4"}


class _Paged(InfoExtractor):  # type: ignore[misc]
    """What the API lists, page by page, as it is asked for."""

    def _pages(self, url: str, name: str) -> Iterator[dict[str, Any]]:
        number = 1
        while number:
            page = self._download_json(f"{url}?page={number}", name)
            for clip in page["clips"]:
                yield self.url_result(clip["url"], LoopClipIE, clip["id"], **clip["more"])
            number = page["next"]


class LoopTabIE(_Paged):
    """One tab of a channel."""

    _VALID_URL = _BASE + r"/channel/(?P<id>\w+)/(?P<tab>\w+)"
    _RETURN_TYPE = "playlist"

    def _real_extract(self, url: str) -> dict[str, Any]:
        base, name, tab = self._match_valid_url(url).group("base", "id", "tab")
        return self.playlist_result(self._pages(f"{base}/api/{name}/{tab}", name), name)


class LoopChannelIE(InfoExtractor):  # type: ignore[misc]
    """A channel: its tabs."""

    _VALID_URL = _BASE + r"/channel/(?P<id>\w+)/?$"
    _RETURN_TYPE = "playlist"

    def _real_extract(self, url: str) -> dict[str, Any]:
        tabs = [self.url_result(f"{url.rstrip('/')}/{tab}", LoopTabIE) for tab in ("videos", "shorts")]
        return self.playlist_result(tabs, self._match_id(url))


class LoopSearchIE(_Paged, SearchInfoExtractor):
    """`loopsearch5:words @8000`: the port stands in the query, for nothing else can say it."""

    _SEARCH_KEY = "loopsearch"

    def _search_results(self, query: str) -> Iterator[dict[str, Any]]:
        words, port = re.fullmatch(r"(.*) @(\d+)", query).groups()  # type: ignore[union-attr]
        yield from self._pages(f"http://127.0.0.1:{port}/api/{words}/search", query)
