"""Where a file came from, as far as it tells unrelated URLs apart.

Two URLs are related where site and page are the same. The site is the registered domain (`cdn.example.org` and
`www.example.org` are one site), by the usual rule of thumb for suffixes such as `co.uk`. The page is the path; its
query counts only where the path is not named as a video file, for behind a file's name come tokens and the like.
"""

from urllib.parse import urlsplit

from lodestream.web.sniff import named_as_video
from proto import ids

SHORT = 3
"""Letters of a second level that belongs to the suffix: `co.uk`, `com.br`."""


def origin(url: str) -> str:
    """The same token for related URLs, another for unrelated ones."""
    return ids.digest("\n".join((site(url), _page(url))).encode(), 12)


def site(url: str) -> str:
    """The registered domain; a host without one as it is, with its port; empty for a local file."""
    try:
        parts = urlsplit(url)
        labels = (parts.hostname or "").rstrip(".").split(".")
        if len(labels) < 2 or labels[-1].isdigit() or ":" in labels[-1]:
            return parts.netloc.rpartition("@")[2].lower()
        suffix = 2 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= SHORT else 1
        return ".".join(labels[-suffix - 1 :])
    except ValueError:
        return url


def _page(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    path = parts.path.rstrip("/") or "/"
    return path if named_as_video(url) or not parts.query else f"{path}?{parts.query}"
