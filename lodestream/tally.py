"""What one node of one flow has done in this worker, for progress and for the NATS services protocol."""

from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec


class Trouble(msgspec.Struct):
    """Something outside that keeps failing, and is left alone for a while."""

    failed: int
    """Times in a row."""
    why: str
    """The last failure."""
    next_try: float
    """Seconds since the epoch."""

    def words(self, now: float) -> str:
        """`has failed 5 times, next try in 40 s (server: HTTP 503)`"""
        times, left = "once" if self.failed == 1 else f"{self.failed} times", self.next_try - now
        when = f"next try in {left:.0f} s" if left >= 1 else "next try now"
        return f"has failed {times}, {when} ({self.why})"


@dataclass
class Tally:
    """Counts since this worker took the node up."""

    taken: int = 0
    """Inputs finished, whatever came of them."""
    out: int = 0
    """Outputs stored."""
    known: int = 0
    """Outputs that the server had already: the durable dedup."""
    remembered: int = 0
    """Inputs answered from the memo."""
    rejected: int = 0
    retried: int = 0
    dead: int = 0
    seconds: float = 0.0
    """Summed time of the inputs."""
    last_error: str = ""
    waits_for: str = ""
    """Which part is away, in words; empty while nothing is."""
    live: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is worked on now, by entity, and how far it is."""

    def counts(self) -> dict[str, Any]:
        """As a message says it."""
        return asdict(self)
