"""An entry of the library of fakes: some bytes by their hash, a size, or a pattern of URLs."""

import re
from typing import Literal, get_args

import msgspec

from lodestream.fakes.patterns import BadPattern, Pattern

Kind = Literal["sha256", "size", "url"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST_NOTE = 200
LARGEST = 1 << 50
"""Bytes that a file may have."""
_HASH = re.compile(r"[0-9a-f]{64}\Z")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One entry."""

    kind: Kind
    what: str
    """SHA-256 in hex; bytes, in digits; or a pattern as `Pattern` has it."""
    note: str = ""
    """What it is, for people."""
    size: int | None = None
    """Bytes of what has this hash, where somebody knows."""
    fine: bool = False
    """An exception: what fits is no fake, whatever else says so."""
    at: str = ""
    """When it was added, ISO 8601; empty where it is built in."""

    def __str__(self) -> str:
        """As refusals name it."""
        named = {"sha256": f"sha256 {self.what}", "size": f"a size of {self.what} bytes", "url": self.what}[self.kind]
        return f"{named} ({self.note})" if self.note else named


def read(what: str, *, kind: Kind | None = None, note: str = "", size: int | None = None, fine: bool = False) -> Entry:
    """The entry that a text means; `kind` is guessed where not said. Raises ValueError, which says what is wrong."""
    text = what.strip()
    kind = kind or ("size" if text.isdecimal() else "sha256" if _HASH.match(text.lower()) else "url")
    if kind == "sha256":
        text = text.lower()
        if not _HASH.match(text):
            raise ValueError(f"{text[:80]!r} is no SHA-256: 64 digits in hex")
    elif kind == "size":
        if not (text.isascii() and text.isdecimal() and 0 <= int(text[:20]) <= LARGEST):
            raise ValueError(f"{text[:80]!r} is no size: bytes, in digits")
        text = str(int(text[:20]))
    else:
        text = Pattern.read(text).text
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise ValueError(f"a note is one line of at most {LONGEST_NOTE} letters")
    if size is not None and not (kind == "sha256" and 0 <= size <= LARGEST):
        raise ValueError(f"{size} is no size for it" if kind == "sha256" else "only a hash has a size beside it")
    return Entry(kind=kind, what=text, note=note, size=size, fine=fine)


__all__ = ["KINDS", "BadPattern", "Entry", "Kind", "read"]
