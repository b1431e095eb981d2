"""What kind of seed a value is, and what each kind wants."""

import re
from difflib import get_close_matches
from typing import get_args
from urllib.parse import unquote, urlsplit

from lodestream.errors import Malformed
from lodestream.web import identity
from proto.messages import SeedKind

KINDS: tuple[str, ...] = get_args(SeedKind)
LONGEST_QUERY = 300
WANTED = {
    "query": "words",
    "folder": "an absolute path",
    "list": "a URL or an absolute path",
    "records": "a URL or a path",
}

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://|(file|data|javascript|mailto):\S", re.IGNORECASE)
_LOCAL = re.compile(r"(localhost|\d+\.\d+\.\d+\.\d+)(:\d+)?/\S*\Z", re.IGNORECASE)
_NAMED = re.compile(r"(www\.|([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?/)\S*\Z", re.IGNORECASE)
_FEED = re.compile(r"((^|/)(feeds?|rss|atom)(\.xml)?|\.rss|\.atom|/feeds/videos\.xml)/?\Z", re.IGNORECASE)
_LIST = re.compile(r"\.(txt|urls|list)\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_LETTER = re.compile(r"[\W_]*\Z")


def infer(value: str) -> str:
    """The kind of a value that came without one: a path, a feed, a page, or words."""
    if is_path(value):
        return "list" if _LIST.search(value) else "folder"
    if is_url(value):
        return "feed" if _FEED.search(value.partition("?")[0]) else "url"
    return "query"


def checked(kind: str, value: str) -> str:
    """The value as a seed of this kind carries it. Raises Malformed, saying what the kind wants."""
    if kind == "query":
        checks = _query
        value = " ".join(value.split())
    else:
        checks = _path if kind == "folder" or (kind in WANTED and is_path(value.strip())) else _url
        value = value.strip()
    try:
        if not value:
            raise ValueError("empty")
        if found := _CONTROL.search(plain := checks(value)):
            raise ValueError(f"a control character, U+{ord(found[0]):04X}, in it")
    except ValueError as error:
        shown = value if len(value) <= 80 else value[:77] + "..."
        wanted = WANTED.get(kind, "an http or https URL")
        raise Malformed("bad value", f"value {shown!r}: {error}; a {kind} seed wants {wanted}") from error
    return plain


def is_url(text: str) -> bool:
    """Whether a text means to be a URL, also one whose https:// was left out."""
    return " " not in text and any(form.match(text) for form in (_SCHEME, _LOCAL, _NAMED))


def is_path(text: str) -> bool:
    """Whether a text is an absolute path, or a file: URL."""
    return text.startswith("/") or text[:5].lower() == "file:"


def unknown(what: str, given: str, allowed: tuple[str, ...]) -> Malformed:
    """The refusal of a name that nobody knows, with the nearest one that there is."""
    near = get_close_matches(given.lower(), allowed, 1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return Malformed(f"unknown {what}", f"{given[:40]!r}{hint} allowed: {', '.join(allowed)}")


def _query(value: str) -> str:
    if len(value) > LONGEST_QUERY:
        raise ValueError(f"a search of {len(value)} letters, at most {LONGEST_QUERY}")
    if _NO_LETTER.match(value):
        raise ValueError("no letter or digit in it")
    if any(_SCHEME.match(word) for word in value.split()):
        raise ValueError("a URL among words, or with a space in it")
    return value


def _path(value: str) -> str:
    if len(value) > identity.LONGEST:
        raise ValueError(f"a path of {len(value)} letters, at most {identity.LONGEST}")
    if value[:5].lower() == "file:":
        parts = urlsplit(value)
        if parts.netloc not in ("", "localhost"):
            raise ValueError("a file on another host")
        value = unquote(parts.path)
    if not value.startswith("/"):
        raise ValueError("not an absolute path")
    return value


def _url(value: str) -> str:
    front = "https://" if _NAMED.match(value) else "http://" if _LOCAL.match(value) else ""
    identity.canonical(front + value)
    return front + value
