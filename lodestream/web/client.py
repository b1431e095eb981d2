"""HTTP as every service speaks it: public addresses only, no cookies, and an error is a verdict."""

import errno
import socket

import aiohttp
from yarl import URL

from lodestream.web.addresses import Allowed, socket_factory
from lodestream.web.verdicts import Verdict

HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; Lodestream)", "Accept": "*/*", "Accept-Encoding": "identity"}
CONNECT_S = 15
REDIRECTS = 10


def session(allow: Allowed) -> aiohttp.ClientSession:
    """Connections to public addresses, and to those that `allow` names; checked at each connect."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=socket_factory(allow)),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        headers=HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def as_written(url: str) -> URL:
    """Escapes stay as they are: a signature may cover them."""
    return URL(url, encoded=url.isascii() and " " not in url)


def verdict(error: Exception) -> Verdict:
    """What a request that failed with `error` came to."""
    cause = getattr(error, "os_error", None)
    words = str(error)[:300]
    if isinstance(cause, OSError) and cause.errno == errno.EACCES:
        return Verdict("reject", "forbidden address", words.partition("forbidden address: ")[2].rstrip("])"))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Verdict("reject", "certificate", words)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        again = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
        return Verdict("retry" if again else "once", "no such host", words)
    if isinstance(error, aiohttp.TooManyRedirects):
        return Verdict("reject", "redirect loop", f"over {REDIRECTS} redirects")
    if isinstance(error, aiohttp.NonHttpUrlRedirectClientError | aiohttp.NonHttpUrlClientError):
        return Verdict("reject", "scheme", words)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Verdict("reject", "forbidden address" if "canonical IPv4" in words else "unsupported", words)
    return Verdict("retry", "network", f"{type(error).__name__}: {words}")
