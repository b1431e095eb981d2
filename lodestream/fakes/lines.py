"""The library as JSONL, one entry a line: for another instance, or a colleague."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec

from lodestream.errors import LodeError
from lodestream.fakes.entries import Entry, read

LONGEST_LINE = 4096
MOST_LINES = 100_000


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An entry as a file has it."""

    kind: str
    what: str
    note: str = ""
    size: int | None = None
    fine: bool = False
    at: str = ""


def write(entries: Iterable[Entry]) -> Iterator[str]:
    """The lines, without their ends."""
    for entry in entries:
        yield msgspec.json.encode(entry).decode()


def limited(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, none much longer than a line may be."""
    while line := file.readline(LONGEST_LINE + 2):
        yield line


def parse(lines: Iterable[bytes], name: str) -> list[Entry]:
    """The entries of a file called `name`; blank lines are none.

    Raises LodeError, naming the line, at the first that is no entry.
    """
    found: list[Entry] = []
    for number, line in enumerate(lines, 1):
        if number > MOST_LINES:
            raise LodeError(f"{name}: more than {MOST_LINES:,} lines; split it")
        if line.strip():
            try:
                found.append(_entry(line))
            except ValueError as error:
                raise LodeError(f"{name}:{number}: {error}; nothing was imported") from None
    return found


def _entry(line: bytes) -> Entry:
    """Raises ValueError, which says what is wrong."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")
    given = msgspec.json.decode(line, type=Line)
    if given.kind not in ("sha256", "size", "url"):
        raise ValueError(f"kind is {given.kind[:40]!r}; it is sha256, size or url")
    return read(given.what, kind=given.kind, note=given.note, size=given.size, fine=given.fine)  # type: ignore[arg-type]
