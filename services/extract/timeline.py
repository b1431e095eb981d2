"""When each picture of a file is shown, whatever its container makes of time."""

from array import array
from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from services.extract.packets import Look

NEAR_S = 0.1
"""A video that begins this soon after its file does (seconds) counts from its own first picture."""
_JUMP_S = 10
"""A transport stream's clock that leaps further has been joined from pieces."""
_CHUNK_HEAD = 8
"""Bytes of an AVI's chunk before its data."""
_AGAIN = 1000
"""Packets among which one that comes again is a fault of the file."""


class Timeline:
    """Collects the times of one stream's packets, in ticks of its time base."""

    def __init__(self, container: Any, stream: Any):
        self.tick: Fraction = stream.time_base
        """Seconds of one tick."""
        self.pts: array[int] = array("q")
        """Presentation times, in the order of decoding; in that of showing where `timeless`."""
        self.timeless = container.format.name == "avi" and stream.codec_context.has_b_frames > 0
        """The file gives no presentation times (those that FFmpeg makes up for an AVI's are wrong)."""
        self._dts: array[int] = array("q")
        self._rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._joins, self._counts = container.format.name == "mpegts", container.format.name == "avi"
        self._stream = stream
        self._sizes, self._places, self._step = array("q"), array("q"), 0

    def add(self, packet: Any) -> None:
        """The next packet."""
        if packet.dts is not None:
            self._dts.append(packet.dts)
        self.timeless |= packet.pts is None
        self.pts.append(packet.pts or 0)
        self._sizes.append(packet.size)
        self._places.append(packet.pos or 0)
        self._step = packet.duration or self._step

    def close(self, looks: bytearray) -> Iterable[int]:
        """After the last packet; `looks` has a `packets.Look` for each. Gives those whose times are of no use.

        Where no packet says when it is shown, each is shown when its turn comes.
        """
        if self._joins and len(self._dts) == len(self.pts):
            return self._join(looks)
        if self._counts and not self.timeless:
            return self._count(looks)
        if self.timeless:
            counted = len(self._dts) < len(self.pts)
            self.pts = array("q", range(len(self.pts)) if counted else sorted(self._dts))
            self.tick = 1 / self._rate if counted else self.tick
        return []

    def zero(self, container: Any, first: int) -> int:
        """The `pts` that is time 0: that of the `first` picture, or the file's start where that lies well before it."""
        if self.timeless or container.start_time is None:
            return first
        start = round(Fraction(container.start_time, 1_000_000) / self.tick)
        start = max(start, min(first, 0))  # sound that leads in before 0 is not heard
        return start if (first - start) * self.tick > NEAR_S else first

    def goes_on(self, index: int) -> bool:
        """Whether a packet comes no more than a step after the one before it, or begins another piece."""
        if len(self._dts) < len(self.pts):
            return False
        step = self._dts[index] - self._dts[index - 1]
        return not self._step * 3 / 2 < step <= _JUMP_S / self.tick

    def _count(self, looks: bytearray) -> Iterable[int]:
        """An AVI's packets have no times but their number: what the index says, or nothing from the first hole on."""
        entries = [entry for entry in self._stream.index_entries if entry.size]
        ranks = {entry.pos + _CHUNK_HEAD: rank for rank, entry in enumerate(entries)}
        if len(self._stream.index_entries) == self._stream.duration and all(place in ranks for place in self._places):
            found = [ranks[place] for place in self._places]
            self.pts = array("q", [entries[rank].timestamp for rank in found])
            gaps = (i for i, (before, rank) in enumerate(pairwise(found), 1) if rank != before + 1)
            return [i for i in gaps if not looks[i] & Look.KEY]
        return range(next((i for i, look in enumerate(looks) if look & Look.BAD), len(looks)), len(looks))

    def _join(self, looks: bytearray) -> Iterable[int]:
        """Makes pieces, each of which began at a time of its own, follow each other.

        A piece begins with a keyframe from which the next packet goes on; whatever else leaps is broken.
        """
        lost: list[int] = []
        before: deque[tuple[int, int]] = deque(maxlen=_AGAIN)
        offset, farthest = 0, _JUMP_S / self.tick
        first = last = self._dts[0]
        for i, dts in enumerate(self._dts):
            after = self._dts[i + 1] if i + 1 < len(self._dts) else dts
            leaps, returns = not 0 <= dts - last <= farthest, last <= after <= last + farthest
            begins = looks[i] & Look.KEY and 0 <= after - dts <= farthest and not (returns and dts < last)
            if leaps and begins and (dts == first or (dts, self._sizes[i]) not in before):
                offset, first = offset + last + self._step - dts, dts
            elif leaps or (returns and after < dts):
                lost.append(i)
                continue
            before.append((dts, self._sizes[i]))
            last = dts
            self.pts[i] += offset
        return lost
