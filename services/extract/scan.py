"""The first reading: every packet's time and kind, nothing decoded, and what of the file is missing."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from services.extract.packets import Look, PacketReader
from services.extract.source import Unusable, open_video, packets

NEAR_S = 0.1
"""A video that begins this soon after its file does (seconds) counts from its own first picture."""
_JUMP_S = 10
_DECLARES_DURATION = {"matroska", "webm", "mov", "mp4", "flv", "asf", "avi"}


@dataclass
class Scan:
    """One video stream, by packet in the order of decoding."""

    codec: str
    tick: Fraction
    """Seconds of one unit of `pts`."""
    pts: "array[int]"
    """Presentation times; in the order of the file where `timeless`."""
    looks: bytearray
    """A `packets.Look` each."""
    timeless: bool
    """The file gives no presentation times: pictures are counted instead."""
    aspect: Fraction | None = None
    """Width of a pixel by its height, where the file says."""
    zero: int = 0
    """The `pts` that is time 0."""
    loss: str = ""
    """How much of the file is missing, in words; empty where it is whole."""

    def seconds(self, index: int) -> float:
        """When a packet's picture is shown."""
        return (self.pts[index] - self.zero) * self.tick.numerator / self.tick.denominator

    def shown(self) -> list[int]:
        """The packets whose pictures can be decoded and shown, in the order of showing."""
        key = next((i for i, look in enumerate(self.looks) if look & Look.KEY), 0)
        first = max(self.zero, self.pts[key]) if self.pts else 0
        seen = (i for i in range(key, len(self.pts)) if self.looks[i] & Look.SHOWN and self.pts[i] >= first)
        return sorted(seen, key=self.pts.__getitem__)


def scan(path: Path, beat: Callable[[], None] = lambda: None) -> Scan:
    """Read the file through once, with a `beat` per packet. Raises Unusable where it holds no video."""
    with open_video(path) as (container, stream):
        found, end_s = _read(container, stream, beat)
        if not found.pts:
            raise Unusable("undecodable", "a video stream without a single picture")
        found.zero = _zero(container, found)
        found.aspect = stream.sample_aspect_ratio
        found.loss = _loss(container, stream, found, end_s - found.zero * float(found.tick))
    return found


def _read(container: Any, stream: Any, beat: Callable[[], None]) -> tuple[Scan, float]:
    """What the packets say, and when the last of any stream ends (seconds on the file's own clock)."""
    context, tick = stream.codec_context, stream.time_base
    reader = PacketReader(context.codec.canonical_name, context.extradata)
    invented = container.format.name == "avi" and context.has_b_frames > 0  # AVI has no presentation times
    found = Scan(context.codec.canonical_name, tick, array("q"), bytearray(), timeless=invented)
    decoded: array[int] = array("q")
    clock, end_s = _Clock(round(_JUMP_S / tick), "mpegts" in container.format.name), 0.0
    everything = stream.duration is None and _declares_duration(container)
    for packet in packets(container, None if everything else stream):
        beat()
        if packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index:
            found.timeless |= packet.pts is None
            if packet.dts is not None:
                decoded.append(packet.dts)
            found.pts.append(clock.steady(packet))
            found.looks.append(_look(reader, packet, clock.joins))
    if found.timeless:  # pictures come out in the order of showing, at the pace at which they went in
        found.pts = array("q", sorted(decoded))
        if len(decoded) < len(found.looks):
            found.pts = array("q", range(len(found.looks)))
            found.tick = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
    return found, end_s


def _look(reader: PacketReader, packet: Any, transport: bool) -> int:
    look = reader.look(bytes(packet), packet.is_keyframe)
    if packet.is_discard:
        look &= ~Look.SHOWN
    if packet.is_corrupt and not transport:
        look |= Look.BAD
    return int(look)


class _Clock:
    """Makes one timeline of a transport stream whose pieces, joined, each began at a time of their own."""

    def __init__(self, jump: int, joins: bool):
        """`jump` is in ticks: a longer step forward is a new piece, as is any step back."""
        self.jump, self.joins = jump, joins
        self.offset, self.last, self.step = 0, None, 0

    def steady(self, packet: Any) -> int:
        """The packet's presentation time on the one timeline, in ticks; 0 where it has none."""
        if self.joins and packet.dts is not None:
            if self.last is not None and not 0 <= packet.dts - self.last <= self.jump:
                self.offset += self.last + self.step - packet.dts
            self.last, self.step = packet.dts, packet.duration or self.step
        return (packet.pts or 0) + self.offset


def _zero(container: Any, found: Scan) -> int:
    """Time 0: the first picture, or the file's start where that lies well before it."""
    first = min((pts for pts, look in zip(found.pts, found.looks, strict=True) if look & Look.SHOWN), default=0)
    if found.timeless or container.start_time is None:
        return first
    start = round(Fraction(container.start_time, 1_000_000) / found.tick)
    return start if (first - start) * found.tick > NEAR_S else first


def _declares_duration(container: Any) -> bool:
    return not _DECLARES_DURATION.isdisjoint(container.format.name.split(","))


def _loss(container: Any, stream: Any, found: Scan, end_s: float) -> str:
    """What the header promised and the file does not hold."""
    whole = sum(not look & Look.BAD for look in found.looks)
    promised = stream.frames if "mov" in container.format.name else 0
    length_s = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    ends = f"the file ends at {end_s / length_s:.0%}" if length_s else ""
    if promised > len(found.looks):
        return f"{whole} of {promised} frames found; {ends}".rstrip("; ")
    if _declares_duration(container) and length_s - end_s > max(0.5, 0.02 * length_s):
        return ends
    return f"{len(found.looks) - whole} of {len(found.looks)} frames are incomplete" if whole < len(found.looks) else ""
