"""What stands on a contact sheet: sections of frames, each with words under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lodestream.preview import Found

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One frame: where its JPEG lies, and what stands under it."""

    shard_key: str
    byte_offset: int
    byte_length: int
    words: tuple[str, ...] = ()
    """Lines: the first says what the frame is of, the last what was said of it."""
    tone: str = ""
    """Of the last line: `good` or `bad` where something was decided, `warn` where something is wrong."""
    boxes: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Section:
    """Frames that belong together; those of one group stand side by side."""

    title: str
    groups: Sequence[Sequence[Cell]]
    note: str = ""
    """What they are, and how many more there are."""

    @property
    def cells(self) -> list[Cell]:
        """Every frame, in order."""
        return [cell for group in self.groups for cell in group]


def singles(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Frames that do not stand in groups."""
    return [[cell] for cell in cells]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    if count < 2:
        return list(items[:count])
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def clock(time_ms: int) -> str:
    """`0:03.040`: minutes, seconds, milliseconds."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 60}:{seconds % 60:02}.{ms:03}"
