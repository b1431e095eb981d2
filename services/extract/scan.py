"""The first reading: every packet's time and kind, nothing decoded, and what of the file is missing."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from services.extract.loss import Evidence, declares_duration, describe, is_cut_transport
from services.extract.packets import Look, PacketReader
from services.extract.source import Unusable, complaints, open_video, packets
from services.extract.timeline import Timeline


@dataclass
class Scan:
    """One video stream, by packet in the order of decoding."""

    codec: str
    looks: bytearray
    """A `packets.Look` each."""
    pts: "array[int]"
    """Presentation times; in the order of the file where `timeless`."""
    tick: Fraction = Fraction(1)
    """Seconds of one unit of `pts`."""
    zero: int = 0
    """The `pts` that is time 0."""
    timeless: bool = False
    """The file gives no presentation times: pictures are counted instead."""
    aspect: Fraction | None = None
    """Width of a pixel by its height, where the file says."""
    loss: str = ""
    """How much of the file is missing, in words; empty where it is whole."""

    def seconds(self, index: int) -> float:
        """When a packet's picture is shown."""
        return (self.pts[index] - self.zero) * self.tick.numerator / self.tick.denominator

    def shown(self) -> list[int]:
        """The packets whose pictures can be decoded and shown, in the order of showing."""
        key = next((i for i, look in enumerate(self.looks) if look & Look.KEY), 0)
        first = max(self.zero, self.pts[key])
        seen = (i for i in range(key, len(self.pts)) if self.looks[i] & Look.SHOWN and self.pts[i] >= first)
        return sorted(seen, key=self.pts.__getitem__)


def scan(path: Path, beat: Callable[[], None] = lambda: None) -> Scan:
    """Read the file through once, with a `beat` per packet. Raises Unusable where it holds no video."""
    with open_video(path) as (container, stream):
        timeline, evidence, looks = Timeline(container, stream), Evidence(), bytearray()
        for packet in _read(container, stream, looks, evidence):
            beat()
            timeline.add(packet)
        _doubt(container, looks, timeline, evidence)
        if not looks:
            raise Unusable("undecodable", "a video stream without a single picture")
        for index in timeline.close(looks):
            looks[index] = Look.BAD
        shown = (pts for pts, look in zip(timeline.pts, looks, strict=True) if look & Look.SHOWN)
        zero = timeline.zero(container, min(shown, default=0))
        return Scan(
            codec=stream.codec_context.codec.canonical_name,
            looks=looks,
            pts=timeline.pts,
            tick=timeline.tick,
            zero=zero,
            timeless=timeline.timeless,
            aspect=stream.sample_aspect_ratio,
            loss=describe(container, stream, looks, float(zero * timeline.tick), evidence),
        )


def _read(container: Any, stream: Any, looks: bytearray, evidence: Evidence) -> Iterator[Any]:
    """The stream's packets; fills `looks` and `evidence`.

    A hole is seldom noticed where it begins, so the packet before it is not trusted either; but for MP4, where a table
    says where each packet lies, and for a packet that is merely cut off.
    """
    reader = PacketReader(stream.codec_context.codec.canonical_name, stream.codec_context.extradata)
    listed, said = "mov" in container.format.name, complaints()
    everything = not stream.frames and declares_duration(container)
    for packet in chain(packets(container, None if everything else stream), [None]):
        if complaints() != said:
            said, evidence.complaints = complaints(), evidence.complaints + 1
            if not listed and not (packet and packet.is_corrupt):
                _spoil(looks, -1)
        if packet is None:
            break
        evidence.note(packet, packet.stream_index == stream.index)
        if packet.stream_index != stream.index:
            continue
        look = reader.look(bytes(packet), packet.is_keyframe)
        looks.append(look & ~Look.SHOWN if packet.is_discard else look)
        if packet.is_corrupt:
            evidence.doubtful.append(len(looks) - 1)
        elif look & Look.BAD:
            _spoil(looks, -2)
        yield packet


def _doubt(container: Any, looks: bytearray, timeline: Timeline, evidence: Evidence) -> None:
    """Marks what is known to be broken only when all has been read."""
    evidence.is_cut = is_cut_transport(container)
    if evidence.is_cut:
        _spoil(looks, -1)
    for index in evidence.doubtful:
        if not (container.format.name == "mpegts" and _joined(looks, timeline, index)):
            looks[index] |= Look.BAD


def _spoil(looks: bytearray, index: int) -> None:
    if len(looks) >= -index:
        looks[index] |= Look.BAD


def _joined(looks: bytearray, timeline: Timeline, index: int) -> bool:
    """Whether a packet is called corrupt only because another piece of a transport stream begins after it.

    FFmpeg says so of the last packet of a piece, or of the one before that where it parses packets one late.
    """
    following = range(index + 1, min(index + 3, len(looks)))
    return any(looks[i] & Look.KEY and timeline.goes_on(i) for i in following)
