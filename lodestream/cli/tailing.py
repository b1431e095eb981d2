"""Shows the ends of log files, and follows them as they grow and are rotated."""

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lodestream.cli import output

EVERY = 0.25
"""Seconds between looks at the files."""
BLOCK = 64 << 10
"""Bytes from a file's end that its last lines are looked for in."""


async def show(files: Mapping[str, Path], count: int, follow: bool) -> None:
    """Print the last `count` lines of each file, by name; with `follow`, what is added to them until interrupted."""
    width = max(map(len, files)) if len(files) > 1 else 0
    found = {name: last_lines(file, count) for name, file in files.items()}
    for name, (lines, _) in found.items():
        _print(name, lines, width)
    if not any(lines for lines, _ in found.values()):
        output.note(f"Nothing logged by {', '.join(files)}: normal operation is quiet.")
    ends = {name: end for name, (_, end) in found.items()}
    while follow:
        await asyncio.sleep(EVERY)
        for name, file in files.items():
            lines, ends[name] = _since(file, ends[name])
            _print(name, lines, width)


def last_lines(file: Path, count: int) -> tuple[list[str], int]:
    """The last lines of a file, and where it ends."""
    with file.open("rb") as log:
        end = log.seek(0, io.SEEK_END)
        log.seek(max(0, end - BLOCK))
        lines = log.read(BLOCK).decode(errors="replace").splitlines()
    return lines[-count:], end


def _since(file: Path, start: int) -> tuple[list[str], int]:
    """The whole lines since `start`, and where they end; from the beginning where the file was begun anew."""
    try:
        with file.open("rb") as log:
            size = log.seek(0, io.SEEK_END)
            start = log.seek(start if size >= start else 0)
            added = log.read()
    except FileNotFoundError:
        return [], 0
    whole = added[: added.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), start + len(whole)


def _print(name: str, lines: list[str], width: int) -> None:
    shown = [legible(line) for line in lines] if output.is_terminal() else lines
    output.show(*(f"{name:<{width}} | {line}" if width else line for line in shown))


def legible(line: str) -> str:
    """A line of JSON as people read it: time, level, event, then the rest; any other line as it is."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        time, level, event = (str(fields.pop(name)) for name in ("timestamp", "level", "event"))
    except (msgspec.MsgspecError, KeyError):
        return line
    trail = "".join(f"\n    {part}" for part in str(fields.pop("exception", "")).splitlines())
    rest = "".join(f"  {name}={value}" for name, value in fields.items())
    return f"{time[11:19]} {level:<7} {event}{rest}{trail}"
