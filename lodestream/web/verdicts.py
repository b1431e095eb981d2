"""What became of a request to the web, in the few words that fetching and discovering share."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

from lodestream.errors import Reject, Retry

Kind = Literal["reject", "once", "retry", "later", "bug"]
"""no; no unless the second try goes through; try again; try again much later; the site changed, or we are wrong"""

LASTING = frozenset(
    ["audio", "damaged", "drm", "empty", "fake", "image", "legal", "not a video", "scheme", "too long", "unsupported"]
)
"""No's about the content itself. The others say how things stand today, for us: the web may take them back."""

COOL = 60.0
"""Seconds that a site which has had enough of us is left alone at first; doubled with each attempt."""


class SiteBroken(Exception):
    """An extractor no longer understands its site, or has a bug: for a person to look at."""


class Verdict(NamedTuple):
    """Why there is nothing."""

    kind: Kind
    reason: str
    detail: str = ""
    after: float | None = None
    """Seconds to wait, where the server says so."""

    def error(self, attempt: int) -> Exception:
        """What to raise for the engine: Reject, Retry or, for a bug, SiteBroken."""
        if self.kind == "bug":
            return SiteBroken(f"{self.reason}: {self.detail}")
        if self.kind == "reject" or (self.kind == "once" and attempt > 1):
            return Reject(self.reason, self.detail, lasting=self.reason in LASTING)
        after = COOL * 2 ** (attempt - 1) if self.kind == "later" and self.after is None else self.after
        return Retry(self.reason, self.detail, after=after or None)  # at once is too soon


def by_status(status: int, retry_after: str | None = None) -> Verdict:
    """What an HTTP status of 400 and more means."""
    said = f"HTTP {status}"
    after = seconds(retry_after)
    if status == 429:
        return Verdict("later", "rate limited", said, after)
    if status == 403:
        return Verdict("once", "forbidden", said)  # or a media URL that has expired, which a second look renews
    if status in (408, 416, 425) or status >= 500:
        return Verdict("retry", "server", said, after)
    reason = {401: "login", 402: "members", 404: "gone", 410: "gone", 451: "legal"}.get(status, "refused")
    return Verdict("reject", reason, said)


def seconds(retry_after: str | None) -> float | None:
    """A `Retry-After` header, which is a number or a date, as seconds from now."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
