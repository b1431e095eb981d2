"""Videos in a local folder, and URLs in a text file. For the child only."""

import os
from collections.abc import Iterator
from pathlib import Path

from lodestream.web.ytdlp import Downloader
from proto import ids
from services.discover.feeds import is_video_name
from services.discover.rows import Row, text

LIST_BYTES = 16 << 20


def inside(path: str, allowed: list[str], downloader: Downloader) -> Path:
    """The real path, links followed. Raises Stop where it lies outside the allowed folders, or is not there."""
    real = Path(path).resolve()
    if not _within(real, allowed):
        downloader.refuse("forbidden folder", f"{path} is not inside a folder of allow_folders")
    if not real.exists():
        downloader.refuse("gone", f"nothing at {path}")
    return real


def videos(top: Path, allowed: list[str]) -> Iterator[Row]:
    """Every video file at or below `top`, in a fixed order; no hidden one, and none outside the allowed folders."""
    paths = [top] if top.is_file() else _walk(top)
    for path in paths:
        real = path.resolve()
        if is_video_name(path.name) and real.is_file() and _within(real, allowed):
            url = real.as_uri()
            yield {"id": ids.web_id(url), "url": url, "source": "local", "title": text(path.stem)}


def read_list(path: Path, downloader: Downloader) -> bytes:
    """A text file, whole. Raises Stop where it is none, or too big."""
    if not path.is_file():
        downloader.refuse("unsupported", f"{path} is not a file")
    with path.open("rb") as file:
        data = file.read(LIST_BYTES + 1)
    return data if len(data) <= LIST_BYTES else downloader.refuse("too big", f"a list of over {LIST_BYTES} bytes")


def lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is neither blank nor a comment."""
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if (plain := line.strip()) and not plain.startswith("#"):
            yield number, plain


def _walk(top: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(top):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _within(real: Path, allowed: list[str]) -> bool:
    return any(real.is_relative_to(Path(folder).resolve()) for folder in allowed)
