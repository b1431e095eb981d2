"""yt-dlp, guarded, bounded, and with every failure classified. For children of a zygote only: it is slow to import.

Importing it does the costly things once: it loads the extractors and compiles their 1,700 URL patterns.
"""

import errno
import functools
import os
import re
import socket
import types
from collections.abc import Iterator
from typing import Any, NoReturn

import yt_dlp
import yt_dlp.networking.common as networking
import yt_dlp.networking.exceptions as failures
import yt_dlp.utils as utils
from yt_dlp.globals import plugin_dirs

from lodestream.web.addresses import Refused
from lodestream.web.verdicts import Kind, Verdict, by_status

PAGE_BYTES = 8 << 20
"""Of one page, playlist or API answer; yt-dlp itself has no limit."""
REQUESTS = 5000
"""In one job."""
_PAUSES = dict.fromkeys(("http", "fragment", "extractor"), lambda n: 0.2 * 2**n)
_SILENT = types.SimpleNamespace(debug=lambda text: None, warning=lambda text: None, error=lambda text: None)


def _deno() -> str | None:
    """YouTube wants JavaScript run. It runs without net, read and environment rights."""
    try:
        from deno import find_deno_bin
    except ImportError:
        return None
    return str(find_deno_bin())


DENO = _deno()
PROGRAMS = (DENO,) if DENO else ()
"""The programs that a job may run."""

plugin_dirs.value = [folder for folder in os.environ.get("LODE_YTDLP_PLUGINS", "").split(":") if folder]
networking._REQUEST_HANDLERS.pop("CurlCFFI", None)  # its sockets are libcurl's: no guard sees them
networking.make_ssl_context = functools.lru_cache(networking.make_ssl_context)  # a third of a small job
_WARM = yt_dlp.YoutubeDL({"quiet": True, "cachedir": False, "js_runtimes": {}})


class Stop(utils.DownloadCancelled):
    """Our own no. yt-dlp raises it anew as `type(error)()`, so its reason is kept on the Downloader."""


class Downloader(yt_dlp.YoutubeDL):
    """Every request passes `urlopen`, so this bounds all of them; it keeps what yt-dlp forgets of a failure."""

    def __init__(self, options: dict[str, Any]):
        """`options` go on top of those that every job has."""
        super().__init__({**_common(), **options}, auto_init=False)
        self._ies = dict(_WARM._ies)
        self.refusal: Verdict | None = None
        self.network_error: BaseException | None = None
        """The last one; where retries ran out yt-dlp raises its text only."""
        self.requests = 0

    def refuse(self, reason: str, detail: str = "") -> NoReturn:
        """End the job with a no of ours. Raises Stop."""
        self.refusal = Verdict("reject", reason, detail)
        raise Stop

    def urlopen(self, request: Any) -> Any:
        """Raises Stop past the limits and for what is not http."""
        self.requests += 1
        if self.requests > REQUESTS:
            self.refuse("too big", f"over {REQUESTS} requests")
        self._web_only(request if isinstance(request, str) else request.url)
        response = self._noting(super().urlopen, request)
        self._web_only(response.url)
        read = response.read

        def bounded(amount: int | None = None) -> bytes:
            if amount is not None:
                return self._noting(read, amount)
            data = self._noting(read, PAGE_BYTES + 1)
            return data if len(data) <= PAGE_BYTES else self.refuse("too big", f"a page of over {PAGE_BYTES} bytes")

        response.read = bounded
        return response

    def _web_only(self, url: str) -> None:
        if not url.lower().startswith(("http://", "https://")):
            self.refuse("scheme", f"not http: {url[:80]}")

    def _noting(self, call: Any, *arguments: Any) -> Any:
        try:
            result = call(*arguments)
        except Exception as error:
            self.network_error = error
            raise
        self.network_error = None
        return result


def _common() -> dict[str, Any]:
    """Options that every job has; none of the environment's or the user's configuration applies."""
    return {
        "quiet": True,
        "noprogress": True,
        "logger": _SILENT,
        "color": "never",
        "cachedir": False,
        "proxy": "",  # not the environment's
        "geo_bypass": False,  # it would fake X-Forwarded-For
        "socket_timeout": 15,
        "retries": 1,
        "fragment_retries": 2,
        "extractor_retries": 1,
        "file_access_retries": 0,
        "retry_sleep_functions": _PAUSES,
        "external_downloader": {"default": "native"},
        "js_runtimes": {"deno": {"path": DENO}} if DENO else {},
    }


@functools.lru_cache(1024)
def dedicated(url: str) -> str | None:
    """The key of the extractor made for this site, or None where only the generic one would take the URL."""
    return next((key for key, ie in _WARM._ies.items() if key != "Generic" and ie.suitable(url)), None)


SAID: tuple[tuple[Kind, str, str], ...] = (
    ("later", "rate limited", r"not a bot|rate.?limit|try again later|too many requests|captcha|being blocked"),
    ("reject", "upcoming", r"live event will begin|premieres in|not (yet )?(started|available yet)"),
    ("reject", "private", r"\bprivate"),
    ("reject", "geo", r"(your|this) (country|location|region)|geo.?restrict"),
    ("reject", "drm", r"\bdrm\b"),
    ("reject", "members", r"members.only|join this channel|premium|subscri"),
    ("reject", "age", r"confirm your age|age.?restrict|inappropriate"),
    ("reject", "login", r"sign in|log ?in|registered users|password"),
    ("reject", "not a video", r"requested format|only images"),
    ("reject", "live", r"not (currently )?live|offline|has ended"),
    ("reject", "gone", r"unavailable|removed|deleted|terminated|not (be )?found|no longer|does not exist|expired"),
)
"""What extractors say in words only; the order matters."""


def classify(error: BaseException, downloader: Downloader) -> Verdict:
    """Why a job failed, by types and fields where there are any, by words where there are none."""
    hidden = list(_family(error, set()))
    if len(hidden) == 1 and downloader.network_error:
        hidden += _family(downloader.network_error, set())
    words = _words(str(error))
    return (
        downloader.refusal
        or _refused_address(hidden)
        or _said_by_extractor(hidden)
        or _by_type(hidden, words)
        or Verdict("bug", type(hidden[-1]).__name__, words)
    )


def _words(text: str) -> str:
    """In one line, without yt-dlp's prefix and its second telling of the cause."""
    return re.sub(r"^(ERROR: )?(\[[^\]]+\] )?([^ ]+: )?", "", " ".join(text.split())).partition(" (caused by ")[0][:300]


def _family(error: Any, seen: set[int]) -> Iterator[BaseException]:
    """An exception and all that it hides: context, cause, and yt-dlp's own `cause` and `exc_info`."""
    if isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        yield error
        further = (getattr(error, "exc_info", None) or (None, None))[1]
        for other in (error.__context__, error.__cause__, getattr(error, "cause", None), further):
            yield from _family(other, seen)


def _refused_address(hidden: list[BaseException]) -> Verdict | None:
    for error in hidden:
        if isinstance(error, Refused):
            return Verdict("reject", "forbidden address", error.what)
        if found := re.search(r"forbidden address: ([^\s'\")]*[^\s'\").])", str(error)):
            return Verdict("reject", "forbidden address", found[1])
    return None


def _said_by_extractor(hidden: list[BaseException]) -> Verdict | None:
    """What an extractor says it expects to happen, where it is not just the network's failure in other words."""
    said = next((e for e in hidden if isinstance(e, utils.ExtractorError)), None)
    if not said or not said.expected or isinstance(said.cause, failures.network_exceptions):
        return None
    words = _words(said.orig_msg)
    for kind_of, reason in (
        ((utils.UnsupportedError,), "unsupported"),
        ((utils.GeoRestrictedError,), "geo"),
        ((utils.UserNotLive,), "live"),
    ):
        if isinstance(said, kind_of):
            return Verdict("reject", reason, words)
    for kind, reason, pattern in SAID:
        if re.search(pattern, said.orig_msg, re.IGNORECASE):
            return Verdict(kind, reason, words)
    return Verdict("reject", "unavailable", words)


def _by_type(hidden: list[BaseException], words: str) -> Verdict | None:
    for error in hidden:
        if isinstance(error, failures.HTTPError):
            if error.redirect_loop:
                return Verdict("reject", "redirect loop", words)
            return by_status(error.status, error.response.headers.get("Retry-After"))
    number = next((e.errno for e in hidden if isinstance(e, OSError) and not isinstance(e, socket.gaierror)), None)
    if number == errno.EFBIG:
        return Verdict("reject", "too big", words)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Verdict("retry", "disk full", words)
    for kinds, verdict in _TYPES:
        if found := next((e for e in hidden if isinstance(e, kinds)), None):
            again = isinstance(found, socket.gaierror) and found.errno == socket.EAI_AGAIN
            return Verdict("retry" if again else verdict[0], verdict[1], words)
    if "Did not get any data" in words:
        return Verdict("reject", "empty", words)
    return None


_TYPES: tuple[tuple[Any, tuple[Kind, str]], ...] = (
    (failures.CertificateVerifyError, ("reject", "certificate")),
    (socket.gaierror, ("once", "no such host")),
    ((failures.NoSupportingHandlers, failures.UnsupportedRequest), ("reject", "unsupported")),
    ((failures.TransportError, utils.ContentTooShortError), ("retry", "network")),
    ((failures.RequestError, utils._utils._UnsafeExtensionError), ("reject", "unsupported")),
)


def warm() -> None:
    """Compile the URL patterns and load the certificates, which every child then shares."""
    dedicated("http://127.0.0.1/")
    networking.make_ssl_context(verify=True, legacy_support=False, use_certifi=True)


@functools.cache
def warm_for_pages() -> None:
    """Load all extractors, which looks for videos in a page of any site: a second of CPU and 23 MB, once for all."""
    generic = _WARM.get_info_extractor("Generic")
    list(generic._extract_embeds("http://127.0.0.1/", "<html></html>"))
