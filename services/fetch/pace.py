"""How long a download may take: long while it moves, not long when it stands still."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lodestream.errors import Retry

BASE_S = (120.0, 180.0, 240.0)
"""Seconds of the first, second, and any later attempt, on top of what the bytes that came may take."""
SLOWEST = 100_000
"""Bytes a second: a download at this pace may take as long as it takes."""
STALL_S = 20.0
"""Seconds in which STALL_BYTES must come."""
STALL_BYTES = 40_000


class Pace:
    """The deadline of one download, which moves as bytes come; also says how far it is."""

    def __init__(self, attempt: int, first_byte_s: float, report: Callable[[dict[str, Any]], None], had: int):
        self._now, self._report = asyncio.get_running_loop().time, report
        self._start = self._now()
        self._base = BASE_S[min(attempt, len(BASE_S)) - 1]
        self._next_mark = self._start + first_byte_s
        self.size = self._marked = self._had = had
        self.timeout = asyncio.timeout_at(self._deadline())

    def got(self, size: int, total: int | None) -> None:
        """`size` bytes of `total` are here."""
        self.size = size
        if size < self._marked:  # from the first byte again
            self._had = 0
        if size - self._marked >= STALL_BYTES or size < self._marked:
            self._next_mark, self._marked = self._now() + STALL_S, size
            self.timeout.reschedule(self._deadline())
            self._report({"bytes": size, "total": total, "speed": round(self._new / max(1e-3, self.seconds()))})

    def seconds(self) -> float:
        """Since the beginning."""
        return self._now() - self._start

    @property
    def _new(self) -> int:
        """Bytes that came in this attempt."""
        return self.size - self._had

    def _deadline(self) -> float:
        return min(self._start + self._base + self._new / SLOWEST, self._next_mark)


@asynccontextmanager
async def keeping_pace(
    attempt: int, report: Callable[[dict[str, Any]], None], first_byte_s: float, had: int = 0
) -> AsyncIterator[Pace]:
    """Ends what is inside, which has `had` bytes already, when it is too slow. Raises Retry then."""
    pace = Pace(attempt, first_byte_s, report, had)
    try:
        async with pace.timeout:
            yield pace
    except TimeoutError:
        raise Retry("too slow", f"{pace.size - had} bytes in {pace.seconds():.0f} s") from None
