"""How much of a file is missing: what its header promised, held against what was read."""

from dataclasses import dataclass, field
from typing import Any

from services.extract.packets import Look

_DECLARE_DURATION = frozenset({"matroska", "webm", "mov", "mp4", "flv", "asf", "avi"})
"""Formats whose header says how long the video is; for others FFmpeg measures the file itself."""
_TRANSPORT_PACKETS = (188, 192, 204)
"""Bytes of one packet of a transport stream, by its variants."""


@dataclass
class Evidence:
    """What was noticed while reading."""

    ends_s: float = 0.0
    """When the last packet of any stream ends, on the file's own clock."""
    video_ends_s: float = 0.0
    """When the last of the video ends."""
    reached: int = 0
    """Byte up to which packets were found."""
    complaints: int = 0
    """Places where the reader said that the file is broken."""
    doubtful: list[int] = field(default_factory=list)
    """Packets of the video that FFmpeg calls corrupt."""
    is_cut: bool = False
    """It ends in the middle of a packet."""

    def note(self, packet: Any, is_video: bool) -> None:
        """One packet that was read."""
        self.reached = max(self.reached, (packet.pos or 0) + packet.size)
        if packet.pts is not None:
            ends_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self.ends_s = max(self.ends_s, ends_s)
            self.video_ends_s = max(self.video_ends_s, ends_s if is_video else 0.0)


def declares_duration(container: Any) -> bool:
    """Whether the container's duration comes from its header."""
    return not _DECLARE_DURATION.isdisjoint(container.format.name.split(","))


def is_cut_transport(container: Any) -> bool:
    """Whether a transport stream ends in the middle of one of its packets."""
    return container.format.name == "mpegts" and all(container.size % size for size in _TRANSPORT_PACKETS)


def describe(container: Any, stream: Any, looks: bytearray, zero_s: float, evidence: Evidence) -> str:
    """What is missing, in words; empty where nothing is."""
    promised = stream.frames if "mov" in container.format.name else 0
    bad = sum(bool(look & Look.BAD) for look in looks)
    said = []
    if promised > len(looks):
        said.append(f"{len(looks) - bad} of {promised} frames found")
    elif bad:
        said.append(f"{bad} of {len(looks)} frames are incomplete")
    if headless := next((i for i, look in enumerate(looks) if look & Look.KEY), 0):
        said.append(f"{headless} frames come before the first keyframe")
    if ends := _early_end(container, stream, zero_s, evidence, promised):
        said.append(f"the file ends at {ends:.0%}")
    elif evidence.is_cut:
        said.append("the file ends in the middle of a packet")
    if evidence.complaints and not said:
        said.append(f"unreadable in {evidence.complaints} places")
    return "; ".join(said)


def _early_end(container: Any, stream: Any, zero_s: float, evidence: Evidence, promised: int) -> float | None:
    """The share of the file that is there, where it ends too early."""
    if stream.duration:
        length_s = float(stream.duration * stream.time_base)
    else:
        length_s = (container.duration or 0) / 1e6 if declares_duration(container) else 0.0
    if length_s - (evidence.ends_s - zero_s) > max(0.5, 0.02 * length_s):
        return (evidence.video_ends_s - zero_s) / length_s
    if "mov" in container.format.name and not promised and evidence.reached < 0.9 * container.size:
        return evidence.reached / container.size  # fragments, of which some could not be read
    return None
