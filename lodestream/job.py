"""What a handler is given: the node's settings, the parts it may use, and how to say how far it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from lodestream.leases import Leases
from lodestream.objects import Objects


@dataclass(frozen=True)
class Parts:
    """What a worker process offers to the nodes in it."""

    objects: Objects
    leases: Leases
    work: Path
    """A folder for temporary files; swept at start."""
    log: FilteringBoundLogger


@dataclass
class Job:
    """One message on its way through one node."""

    flow: str
    node: str
    node_type: str
    settings: Any
    recipe: str
    """The recipe of what this job makes."""
    cause: str
    """Subject of the input."""
    attempt: int
    """1 for the first try."""
    parts: Parts
    state: Any
    """What the node's `open` gave."""
    log: FilteringBoundLogger
    raw: bytes = b""
    """The input as it came; for a node that takes what people publish."""
    report: Callable[[dict[str, Any]], None] = lambda fields: None
    """Says how far it is (`{"bytes": ..., "total": ...}`); sent on as live progress, at most a few times a second."""
    dead: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    """Parts of the input that are refused by themselves: entity, reason, detail, the part."""

    @property
    def objects(self) -> Objects:
        """The object store."""
        return self.parts.objects
