"""What is said of one video that was found: the fields of a candidate, cleaned. For the child only."""

import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urldefrag

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import unsmuggle_url

from lodestream.web import identity
from lodestream.web.ytdlp import Downloader, dedicated
from proto import ids

Row = dict[str, Any]
"""Fields of `Candidate`, those aside that the seed gives."""

LONGEST_TEXT = 300
ALIASES = {"youtubeytbe": "youtube"}
"""Extractors of other spellings of a site's URLs, whose ids are that site's."""


def extractor(downloader: Downloader, url: str, key: str | None = None) -> type[InfoExtractor] | None:
    """The extractor made for the site of a URL; `key` names the one that is expected to be."""
    expected = downloader._ies.get(key) if key and key != "Generic" else None
    if expected and expected.suitable(url):
        return expected
    found = dedicated(url)
    return downloader._ies[found] if found else None


def row(downloader: Downloader, url: str, info: dict[str, Any], key: str | None = None) -> Row | None:
    """The video at `url`, of which `info` says more in yt-dlp's words; None where the URL is none that can be asked."""
    plain = unsmuggle_url(url)[0]
    try:
        media_id, source, clean = _identified(extractor(downloader, plain, key), plain)
    except ValueError:
        return None
    return {
        "id": media_id,
        "url": clean,
        "source": source,
        "title": text(info.get("title")),
        "uploader": text(info.get("uploader") or info.get("channel")),
        "duration_s": number(info.get("duration")),
        "views": int(views) if (views := number(info.get("view_count"))) is not None else None,
        "published": published(info.get("timestamp"), info.get("upload_date")),
    }


def _identified(made_for: type[InfoExtractor] | None, url: str) -> tuple[str, str, str]:
    """Media id, source and URL to ask for. Raises ValueError on what is no http URL.

    A site's own id counts only where each of its URLs is one video: else two videos of one post would be one.
    """
    clean = identity.tidy(url)
    if not made_for:
        return (*identity.identify(url), clean)
    fragment = url.strip()[len(urldefrag(url.strip()).url) :]  # on such a site it may name the video
    name = made_for.ie_key().lower()
    site = ALIASES.get(name) or made_for.IE_NAME.lower().partition(":")[0]
    native = made_for.get_temp_id(url) if made_for.is_single_video(url) else None
    if native:
        return ids.media_id(ALIASES.get(name, name), native), site, clean + fragment
    return ids.web_id(identity.canonical(url) + fragment), site, clean + fragment


def text(value: Any) -> str:
    """Words on one line, of letters that every part can store."""
    if not isinstance(value, str):
        return ""
    plain = "".join(c if c.isprintable() else " " for c in value[: 4 * LONGEST_TEXT])
    return " ".join(plain.split())[:LONGEST_TEXT]


def number(value: Any) -> float | None:
    """A count or a length that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def published(timestamp: Any, day: Any = None) -> str:
    """ISO 8601, of seconds since 1970 or of `20260131`; empty where neither is known."""
    try:
        if number(timestamp) is not None:
            return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")
        return datetime.strptime(day, "%Y%m%d").date().isoformat() if isinstance(day, str) else ""
    except (ValueError, OverflowError, OSError):
        return ""
