"""Takes one published payload apart: JSON, JSON lines, a line, or a whole text file of lines."""

import re
from typing import Any, NamedTuple

import msgspec

from lodestream.errors import Malformed

MOST_BYTES = 256 * 1024
MOST_PARTS = 10_000
ALLOWED = "a seed is a JSON object, a URL, words to search for, or a file of such lines"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_JSON_ARRAY = re.compile(r"\[\s*([\[\]{\"]|\Z)")


class Part(NamedTuple):
    """One seed of a payload, as it was given."""

    where: str
    """`line 3`, `item 2`; empty where the payload is one seed."""
    raw: bytes
    given: Any
    """A line of text, or what JSON held."""


def split(payload: bytes) -> list[Part]:
    """The seeds in a payload, in order. Raises Malformed where the payload as a whole is none."""
    text = _text(payload).strip()
    if text[:1] == "<":
        raise Malformed("markup", f"it begins with {text[:20]!r}; {ALLOWED}")
    if (value := _whole_json(text)) is not None:
        parts = _items(value) if isinstance(value, list) else [Part("", payload, value)]
    else:
        parts = _lines(text)
    if not parts:
        raise Malformed("empty", f"nothing but blank lines, comments or []; {ALLOWED}")
    if len(parts) > MOST_PARTS:
        raise Malformed("too long", f"{len(parts)} seeds in one message; at most {MOST_PARTS}")
    return parts


def read_json(text: str) -> Any:
    """What JSON holds. Raises Malformed, saying where it is broken."""
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise Malformed("not JSON", "nested too deeply") from error
    except ValueError as error:
        where = str(error).removeprefix("JSON is malformed: ")
        raise Malformed("not JSON", f"{where}; {ALLOWED}") from error


def _text(payload: bytes) -> str:
    if len(payload) > MOST_BYTES:
        raise Malformed("too long", f"seed is {len(payload) / 1e6:.1f} MB; at most {MOST_BYTES // 1024} KiB")
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed("not text", f"byte {error.start} (0x{payload[error.start]:02x}) is not UTF-8") from error
    if found := _CONTROL.search(text):
        raise Malformed("not text", f"control character U+{ord(found[0]):04X} at letter {found.start()}")
    return text


def _whole_json(text: str) -> Any:
    """What the whole text is as JSON; None where it is lines. Raises Malformed where it means to be JSON."""
    if text[:1] not in ("{", "[", '"'):
        return None
    try:
        return read_json(text)
    except Malformed:
        if _means_json(text):
            raise
        return None


def _means_json(text: str) -> bool:
    """Whether broken JSON was meant: not where its first line is an object, and so the first of JSON lines."""
    if text[0] == "{":
        first, more, _ = text.partition("\n")
        return not (more and first.rstrip().endswith("}"))
    return _JSON_ARRAY.match(text) is not None


def _items(items: list[Any]) -> list[Part]:
    return [Part(f"item {n}", msgspec.json.encode(item), item) for n, item in enumerate(items, 1)]


def _lines(text: str) -> list[Part]:
    numbered = ((n, line.strip()) for n, line in enumerate(text.split("\n"), 1))
    kept = [(n, line) for n, line in numbered if line and not line.startswith("#")]
    return [Part(f"line {n}" if "\n" in text else "", line.encode(), line) for n, line in kept]
