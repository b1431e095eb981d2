"""Verdicts: what servers and extractors say, as yt-dlp raises it, and what it means for a candidate."""

import errno
import io
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    NoSupportingHandlers,
    TransportError,
)
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    RegexNotFoundError,
    UnsupportedError,
    UserNotLive,
)

from lodestream.errors import Reject, Retry
from lodestream.web.addresses import Refused
from lodestream.web.verdicts import SiteBroken, Verdict, by_status, seconds
from lodestream.web.ytdlp import Downloader, Stop, classify, dedicated


def http(status: int, **headers: str) -> HTTPError:
    return HTTPError(Response(io.BytesIO(), "http://x/", headers, status))


def caused(cause: Exception) -> TransportError:
    return TransportError(cause=cause)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (http(404), "reject", "gone"),
        (http(403), "once", "forbidden"),
        (http(503, **{"Retry-After": "9"}), "retry", "server"),
        (http(429), "later", "rate limited"),
        (HTTPError(Response(io.BytesIO(), "http://x/", {}, 302), redirect_loop=True), "reject", "redirect loop"),
        (ExtractorError("no", cause=http(410), expected=True), "reject", "gone"),
        (IncompleteRead(5, 10), "retry", "network"),
        (ContentTooShortError(5, 10), "retry", "network"),
        (CertificateVerifyError("self-signed"), "reject", "certificate"),
        (caused(socket.gaierror(socket.EAI_NONAME, "no such name")), "once", "no such host"),
        (caused(socket.gaierror(socket.EAI_AGAIN, "try again")), "retry", "no such host"),
        (caused(Refused("10.0.0.1:80")), "reject", "forbidden address"),
        (DownloadError("ERROR: forbidden address: 10.0.0.1:80. Giving up"), "reject", "forbidden address"),
        (OSError(errno.EFBIG, "File too large"), "reject", "too big"),
        (OSError(errno.ENOSPC, "No space left"), "retry", "disk full"),
        (UnsupportedError("http://x/"), "reject", "unsupported"),
        (NoSupportingHandlers([], []), "reject", "unsupported"),
        (GeoRestrictedError("not in your country"), "reject", "geo"),
        (UserNotLive(), "reject", "live"),
        (DownloadError("Did not get any data blocks"), "reject", "empty"),
        (RegexNotFoundError("Unable to extract player"), "bug", "RegexNotFoundError"),
        (KeyError("formats"), "bug", "KeyError"),
    ],
    ids=repr,
)
def test_by_type(error, kind, reason):
    verdict = classify(error, Downloader({}))
    assert (verdict.kind, verdict.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        ("Sign in to confirm you're not a bot", "later", "rate limited"),
        ("This live event will begin in 3 days", "reject", "upcoming"),
        ("Private video. Sign in if you've been granted access", "reject", "private"),
        ("The uploader has not made this video available in your country", "reject", "geo"),
        ("This video is DRM protected", "reject", "drm"),
        ("Join this channel to get access to members-only content", "reject", "members"),
        ("Sign in to confirm your age", "reject", "age"),
        ("This video is only available for registered users", "reject", "login"),
        ("Requested format is not available", "reject", "not a video"),
        ("Video unavailable. This video has been removed by the uploader", "reject", "gone"),
        ("Something that nobody has seen yet", "reject", "unavailable"),
    ],
)
def test_by_words(words, kind, reason):
    said = ExtractorError(words, expected=True)
    for error in (said, DownloadError(f"ERROR: {words}", (type(said), said, None))):
        verdict = classify(error, Downloader({}))
        assert (verdict.kind, verdict.reason) == (kind, reason)
        assert verdict.detail.startswith(words[:10])


def test_last_network_error_counts_where_only_text_was_raised():
    downloader = Downloader({})
    downloader.network_error = http(503)
    assert classify(DownloadError("giving up after 3 retries"), downloader).reason == "server"


def test_own_no_goes_before_all():
    downloader = Downloader({})
    with pytest.raises(Stop) as caught:
        downloader.refuse("too long", "99 s")
    assert classify(caught.value, downloader) == Verdict("reject", "too long", "99 s")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "data:text/html,x", "ftp://127.0.0.2/x", "ws://127.0.0.2/"])
def test_only_http_is_asked_for(url):
    downloader = Downloader({})
    with pytest.raises(Stop) as caught:
        downloader.urlopen(url)
    assert classify(caught.value, downloader).reason == "scheme"


@pytest.mark.parametrize(("verdict", "attempt", "kind", "after"), [
    (Verdict("reject", "gone"), 1, Reject, None),
    (Verdict("once", "forbidden"), 1, Retry, None),
    (Verdict("once", "forbidden"), 2, Reject, None),
    (Verdict("retry", "server", after=7), 1, Retry, 7),
    (Verdict("retry", "server", after=0), 1, Retry, None),
    (Verdict("later", "rate limited"), 1, Retry, 60),
    (Verdict("later", "rate limited"), 3, Retry, 240),
    (Verdict("later", "rate limited", after=5), 3, Retry, 5),
    (Verdict("bug", "KeyError"), 1, SiteBroken, None),
])  # fmt: skip
def test_what_the_engine_is_told(verdict, attempt, kind, after):
    error = verdict.error(attempt)
    assert type(error) is kind
    assert getattr(error, "after", None) == after


def test_which_noes_last():
    assert Verdict("reject", "fake").error(1).lasting  # type: ignore[attr-defined]
    assert not Verdict("reject", "private").error(1).lasting  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "reject"), (408, "retry"), (416, "retry"), (425, "retry"), (501, "retry")]
)
def test_other_statuses(status, kind):
    assert by_status(status).kind == kind


def test_retry_after():
    assert seconds("120") == 120
    then = datetime.now(UTC) + timedelta(seconds=60)
    assert seconds(format_datetime(then, usegmt=True)) == pytest.approx(60, abs=5)
    assert [seconds(odd) for odd in (None, "", "soon", "-1", "Thu, 99 Foo 2020")] == [None] * 5
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_dedicated():
    assert dedicated("https://www.youtube.com/watch?v=dQw4w9WgXcQ") == "Youtube"
    assert dedicated("https://example.org/a.mp4") is None
