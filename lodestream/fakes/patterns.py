"""Patterns of URLs: `placehold.co`, `example.org/removed/*`, `*/sorry.mp4`, `?text=Photo #`.

A host stands for its subdomains, too; without a path, for every path. `*` is any letters, `#` a number. After `?`
come parameters that must be there, in any order and beside others. Case does not count, nor how a URL is escaped.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

LONGEST = 150
"""Letters of a pattern: a key has room for them."""
LEAST = 4
"""Letters and digits of a pattern's path or query where it is for every host: fewer would fit too much."""
_HOST = re.compile(r"(localhost|(\[[0-9a-f:]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z0-9-]{2,}|\d+(\.\d+){3}))(:\d+)?\Z")


class BadPattern(ValueError):
    """Says what is wrong with a pattern."""


class Pattern(NamedTuple):
    """One pattern."""

    text: str
    host: str
    """With the port where the pattern has one; empty: any."""
    path: re.Pattern[str] | None
    query: tuple[tuple[str, re.Pattern[str]], ...]

    @classmethod
    def read(cls, text: str) -> "Pattern":
        """Raises BadPattern."""
        tidy = re.sub(r"\A(https?:)?//", "", text.strip(), flags=re.IGNORECASE).lower()
        if not tidy.isprintable() or not 0 < len(tidy.encode()) <= LONGEST:
            raise BadPattern(f"a pattern of {len(tidy)} letters; it is one line of 1 to {LONGEST}")
        place, mark, query = tidy.partition("?")
        host, slash, path = place.partition("/")
        host = "" if host == "*" else host.removeprefix("*.")
        if host and not _HOST.match(host):
            raise BadPattern(
                f"{text.strip()[:80]!r} is no hash, size or URL pattern such as placehold.co, example.org/sorry/* "
                "or */sorry.mp4"
            )
        if not host and sum(letter.isalnum() for letter in path + query) < LEAST:
            raise BadPattern(f"{text.strip()[:80]!r} would fit too much: name a host")
        if mark and not all(name and equals for name, equals, _ in _parameters(query)):
            raise BadPattern(f"{text.strip()[:80]!r}: after ? comes NAME=VALUE")
        asked = tuple((unquote(name), _regex(value.replace("+", " "))) for name, _, value in _parameters(query))
        shown = f"{host or '*' * bool(slash)}{slash}{path}{mark}{query}" if path else f"{host}{mark}{query}"
        return cls(shown, host, _regex("/" + path) if path else None, asked)

    def fits(self, parts: SplitResult) -> bool:
        """Whether path and query of a URL do."""
        if self.path and not self.path.fullmatch(unquote(parts.path).lower()):
            return False
        if not self.query:
            return True
        given = parse_qsl(parts.query.lower(), keep_blank_values=True, max_num_fields=200) if parts.query else []
        return all(any(name == n and value.fullmatch(v) for n, v in given) for name, value in self.query)


def _parameters(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query.split("&")] if query else []


def _regex(glob: str) -> re.Pattern[str]:
    """Atomic groups: what was passed over once is not looked at again, or a URL could be made that takes hours."""
    first, *rest = (r"\d+".join(map(re.escape, piece.split("#"))) for piece in unquote(glob).split("*"))
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1])
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


class Patterns:
    """Many patterns, found by host: a look costs a few microseconds, however many there are."""

    def __init__(self, texts: Iterable[str]):
        self._of_host: dict[str, list[Pattern]] = {}
        for text in texts:
            pattern = Pattern.read(text)
            self._of_host.setdefault(pattern.host, []).append(pattern)

    def find(self, url: str) -> str | None:
        """The text of a pattern that fits, or None."""
        try:
            parts = urlsplit(url)
            for host in (*_hosts(parts), ""):
                for pattern in self._of_host.get(host, ()):
                    if pattern.fits(parts):
                        return pattern.text
        except ValueError:  # a URL that cannot be asked for either, or with too many parameters
            pass
        return None


def _hosts(parts: SplitResult) -> list[str]:
    """What a pattern may name to mean this URL: its host with its port, its host, every domain above."""
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    labels = host.split(".") if not host.startswith("[") else []
    above = [".".join(labels[n:]) for n in range(1, len(labels) - 1)]
    return [*([f"{host}:{parts.port}"] if parts.port else []), host, *above] if host else []
