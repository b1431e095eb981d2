"""What a URL is, apart from how it was written: one video under one id, however people link to it."""

import re
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from w3lib.url import canonicalize_url, safe_url_string

from proto import ids

LONGEST = 4096
"""Letters of a URL."""

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!.{254})[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Only names that never choose content: `ref`, `source`, `uid` and `si` do on some sites, so they stay.
_TRACKERS = re.compile(
    r"(utm_\w+|mtm_\w+|hsa_\w+|pk_(campaign|kwd|keyword|medium|source)"
    r"|gclid|gclsrc|dclid|gbraid|wbraid|srsltid|_ga|_gl|fbclid|fb_(action_ids|action_types|ref|source)|igshid|igsh"
    r"|msclkid|yclid|ysclid|_openstat|twclid|ttclid|li_fat_id|epik|mc_[ce]id|mkt_tok|oly_(anon|enc)_id|vero_id"
    r"|_hsenc|_hsmi|__hs(tc|sc|fp)|hsctatracking|wickedid|rb_clickid)\Z",
    re.IGNORECASE,
)


class Identity(NamedTuple):
    """Which video a URL leads to, and whose it is."""

    media_id: str
    source: str
    """host, with the port where it is not the usual one"""


def tidy(url: str) -> str:
    """The URL as it is to be requested: host in lower-case ASCII, without login, usual port, trackers and fragment.

    Path and query else keep their order and their escapes, which a signature may cover. Raises ValueError, saying what
    is wrong, where it is not a whole http or https URL.
    """
    url = url.strip()
    if len(url) > LONGEST:
        raise ValueError(f"a URL of {len(url)} letters; at most {LONGEST}")
    if _CONTROL.search(url):
        raise ValueError("a URL with a control character in it")
    parts = _split(url)
    query = "&".join(p for p in parts.query.split("&") if not _TRACKERS.match(p.partition("=")[0]))
    try:
        return safe_url_string(urlunsplit((parts.scheme, _netloc(parts), parts.path or "/", query, "")))
    except UnicodeError as error:
        raise ValueError("a URL with half a character (a lone surrogate) in it") from error


def canonical(url: str) -> str:
    """The URL that stands for all its spellings: tidy, its query sorted. Raises ValueError as `tidy`."""
    return canonicalize_url(tidy(url))


def identify(url: str) -> Identity:
    """The identity of a video known by its URL only. Raises ValueError as `tidy`."""
    plain = canonical(url)
    return Identity(ids.web_id(plain), urlsplit(plain).netloc)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from error
    if not parts.scheme:
        raise ValueError("no http:// or https:// in front")
    if parts.scheme not in _PORTS:
        raise ValueError(f"scheme {parts.scheme!r} is not http or https")
    return parts


def _netloc(parts: SplitResult) -> str:
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("its port is not a number from 1 to 65535") from error
    usual = port in (None, _PORTS[parts.scheme])
    return _host(parts) if usual else f"{_host(parts)}:{port}"


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise ValueError("a URL without a host")
    try:
        if "[" in parts.netloc:
            return f"[{IPv6Address(host)}]"
        ascii_host = host if host.isascii() else host.encode("idna").decode().lower()
    except ValueError as error:
        raise ValueError(f"{host[:80]!r} is not the name of a host") from error
    # A backslash before `@` hides which host is meant; such a netloc has no honest reading.
    if not _HOST.match(ascii_host.removesuffix(".")) or "\\" in parts.netloc:
        raise ValueError(f"{host[:80]!r} is not the name of a host")
    return ascii_host.removesuffix(".")
