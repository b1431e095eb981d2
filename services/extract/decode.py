"""The second reading: decode what the chosen pictures need, and nothing else.

A group of pictures without a chosen one is not decoded at all, and one with some only up to the last of them. Within
it, where the codec marks pictures that no other refers to, those are passed over unless chosen. A picture is given
only when all that it refers to was decoded without an error: after one, all is dropped up to the next keyframe.
"""

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from services.extract.packets import Look
from services.extract.scan import Scan
from services.extract.source import check_size, open_video, packets

SKIPPABLE = frozenset({"h264", "mpeg1video", "mpeg2video"})
"""Codecs whose decoder knows, from a packet alone, that no picture refers to it. HEVC's marks do not mean that."""
PASS, REFERENCE, WHOLE, START = 0, 1, 2, 4
"""What to do with a packet: nothing; decode it if others may refer to it; decode it; and first begin afresh."""

_REORDERED = 32
"""Packets within which a time that comes again is a fault of the file, and not a clock that began anew."""


def plan(scan: Scan, wanted: Collection[int], sparse: bool = True) -> bytearray:
    """What to do with each packet so that the pictures of the `wanted` ones come out; `sparse=False` spares nothing."""
    count = len(scan.looks)
    if scan.timeless or not sparse:
        return bytearray([WHOLE | START] + [WHOLE] * (count - 1))
    clean = [i for i in range(1, count) if scan.looks[i] & Look.CLEAN]
    feeding = bytearray(count)
    for start, end in pairwise([0, *_separate(scan, wanted, clean), count]):
        last = max((i for i in range(start, end) if i in wanted), default=-1)
        for i in range(start, last + 1):
            feeding[i] = WHOLE if i in wanted or scan.codec not in SKIPPABLE else REFERENCE
        if last >= 0:
            feeding[start] |= START
    return feeding


def _separate(scan: Scan, wanted: Collection[int], clean: list[int]) -> list[int]:
    """Those of the `clean` packets before which nothing is needed: no wanted picture that follows is shown earlier."""
    tied, at, key = set(), 0, 0
    for i in sorted(wanted):
        while at < len(clean) and clean[at] <= i:
            key, at = clean[at], at + 1
        if scan.pts[i] < scan.pts[key]:
            tied.add(key)
    return [i for i in clean if i not in tied]


def decode(
    path: Path,
    scan: Scan,
    wanted: Collection[int],
    beat: Callable[[], None] = lambda: None,
    sparse: bool = True,
) -> Iterator[tuple[int, Any]]:
    """The wanted pictures that can be had whole, each with its packet's index, in the order of showing.

    Calls `beat` for every packet. Raises Unusable where a picture is larger than the header said and than may be.
    """
    feeding = plan(scan, wanted, sparse)
    with open_video(path) as (container, stream):
        decoder = _Decoder(stream.codec_context, scan)
        for index, packet in enumerate(packets(container, stream)):
            if index >= len(feeding):
                break
            beat()
            for shown, frame in decoder.feed(index, packet, feeding[index]):
                if shown in wanted:
                    yield shown, frame
        yield from ((shown, frame) for shown, frame in decoder.finish() if shown in wanted)


class _Decoder:
    """A codec context that knows which packet a frame came from, and which frames are not to be trusted."""

    def __init__(self, context: Any, scan: Scan):
        self.context, self.scan = context, scan
        self.waiting: dict[int | None, int] = {}
        """Index of each packet whose picture is yet to come, by its own presentation time."""
        self.held: list[tuple[int, Any]] = []
        """Pictures that came out: given when all that they may refer to is out too, and the packet after them good."""
        self.broken: int | None = None
        """The packet since which pictures are not to be trusted."""
        self.key: int | None = None
        """The keyframe that decoding began at."""
        self.fed = self.counted = 0

    def feed(self, index: int, packet: Any, how: int) -> list[tuple[int, Any]]:
        """The pictures that are known to be good when this packet has gone in."""
        out = []
        if how & START or (how and self.broken is not None and self._can_begin(index)):
            out = self.finish()
            self.context.flush_buffers()
            self.waiting, self.broken, self.key, self.fed = {}, None, index, index
        if how == PASS or self.broken is not None:
            return out
        if self.scan.looks[index] & Look.BAD:
            self.broken = index
            return out
        self.context.skip_frame = "NONREF" if how == REFERENCE else "DEFAULT"
        if index - self.waiting.get(packet.pts, -_REORDERED) >= _REORDERED:
            self.waiting[packet.pts] = index
        came = self._decode(index, packet)
        given, self.fed = self._settled(), index
        self.held += came
        return out + given

    def finish(self) -> list[tuple[int, Any]]:
        """The pictures that are still to come."""
        if self.context.is_open:
            self.held += self._decode(None, None)
        given, self.held = self._good(), []
        return given

    def _can_begin(self, index: int) -> bool:
        """Whether to go on here after damage; not where pictures are counted, because lost ones would not be."""
        return bool(self.scan.looks[index] & Look.KEY) and not self.scan.timeless

    def _settled(self) -> list[tuple[int, Any]]:
        """Takes from those held what nothing can spoil any more, in the order of showing.

        A picture may be shown before one that it refers to, and FFmpeg may call only the latter corrupt: so it waits
        until that is out, too.
        """
        self.held = self._good()
        if self.scan.timeless:
            ready = max(0, len(self.held) - self.context.has_b_frames)
        else:
            shown = max((self.scan.pts[i] for i, _ in self.held), default=0)
            due = [i for i in self.waiting.values() if self.scan.pts[i] > shown]
            first = min(due, default=len(self.scan.pts))
            ready = next((n for n, (i, _) in enumerate(self.held) if i > first), len(self.held))
        given, self.held = self.held[:ready], self.held[ready:]
        return given

    def _good(self) -> list[tuple[int, Any]]:
        return [(i, frame) for i, frame in self.held if self.broken is None or i < self.broken]

    def _decode(self, index: int | None, packet: Any) -> list[tuple[int, Any]]:
        try:
            frames = self.context.decode(packet)
        except FFmpegError:
            if index is not None and not self._leads(index):
                self.broken = self.fed  # where a hole is noticed is seldom where it begins
            return []
        return [(i, frame) for frame in frames if (i := self._trusted(frame)) is not None]

    def _trusted(self, frame: Any) -> int | None:
        """The index of the packet that this frame came from, or None where the frame may not be right."""
        check_size(frame.width, frame.height)
        if self.scan.timeless:
            self.counted += 1
            if frame.is_corrupt and self.broken is None:
                self.broken = self.counted - 1 - self.context.has_b_frames
            return self.counted - 1 if self.broken is None else None
        index = self.waiting.pop(frame.pts, None)
        if index is None or self._leads(index) or (self.broken is not None and index >= self.broken):
            return None
        if frame.is_corrupt:
            self.broken = index
            return None
        return index

    def _leads(self, index: int) -> bool:
        """Whether a picture is shown before the keyframe that it follows: it refers to what was not decoded."""
        return self.key is not None and self.scan.pts[index] < self.scan.pts[self.key]
