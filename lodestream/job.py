"""What a handler is given: the node's settings, the parts it may use, and how to say how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from lodestream.forget.tombs import Forgotten

if TYPE_CHECKING:  # whoever only reads declarations need not load the bus
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from lodestream.leases import Leases
    from lodestream.memo import Noted
    from lodestream.objects import Objects
    from lodestream.tally import Trouble


@dataclass(frozen=True)
class Parts:
    """What a worker process offers to the nodes in it."""

    objects: Objects
    leases: Leases
    work: Path
    """A folder for temporary files; swept at start."""
    log: FilteringBoundLogger
    forgotten: Forgotten = field(default_factory=Forgotten)
    """What must not be made again."""
    troubles: dict[str, Trouble] = field(default_factory=dict)
    """What its nodes have trouble with, by name: hosts that keep failing."""
    triton: str = ""
    """Where a Triton server listens, as gRPC has it; empty where there is none."""
    models: Path | None = None
    """The folder of models that it serves."""


@dataclass
class Refusal:
    """A part of an input that is refused by itself, while the rest goes through."""

    entity: str
    reason: str
    detail: str
    part: bytes


class Line(Protocol):
    """Where a job stands among those that its worker has in hand."""

    def parked(self) -> AbstractAsyncContextManager[None]:
        """See Job."""

    async def turn(self) -> None:
        """See Job."""

    def turn_back(self) -> None:
        """See Job."""

    def crowded(self) -> bool:
        """See Job."""


class NoLine:
    """Of a job that has none beside it."""

    def parked(self) -> AbstractAsyncContextManager[None]:
        """Nobody wants its place."""
        return nullcontext()

    async def turn(self) -> None:
        """Nobody is before it."""

    def turn_back(self) -> None:
        """Nobody is behind it."""

    def crowded(self) -> bool:
        """Nobody waits."""
        return False


ALONE = NoLine()


class Job(msgspec.Struct):
    """One message on its way through one node; a struct, for it is made once for each."""

    flow: str
    node: str
    node_type: str
    settings: Any
    recipe: str
    """The recipe of what this job makes."""
    entity: str
    """What the input is about."""
    cause: str
    """Subject of the input."""
    attempt: int
    """1 for the first try."""
    objects: Noted
    """The object store; what is written through it is noted for the manifest."""
    parts: Parts
    state: Any = None
    """What the node's `open` gave."""
    raw: bytes = b""
    """The input as it came; for a node that takes what people publish."""
    progress: dict[str, Any] = {}
    """How far it is (`bytes`, `total` ...): shown live."""
    refused: list[Refusal] = []
    wanted: str = ""
    """Key of an object that was announced, and is to be made again because it is gone; empty as a rule."""
    lasting: bool = True
    """Set to False where trying again later may give more: then it is not remembered for other flows."""
    kin: frozenset[str] = frozenset()
    """The recipes of all that its node gives at present, this job's among them: one for each way to it."""
    line: Line = ALONE

    def parked(self) -> AbstractAsyncContextManager[None]:
        """`async with job.parked():` around a wait for something else than work: another has its place meanwhile."""
        return self.line.parked()

    async def turn(self) -> None:
        """Wait until all that came before has had its turn; where what is given hangs on the order of inputs."""
        await self.line.turn()

    def turn_back(self) -> None:
        """After a failure: those behind it wait for it again."""
        self.line.turn_back()

    def crowded(self) -> bool:
        """Whether so many wait that a long wait is better spent elsewhere: Postpone."""
        return self.line.crowded()

    def report(self, fields: dict[str, Any]) -> None:
        """Say how far it is; sent on as live progress a few times a second at most."""
        self.progress.update(fields)

    def refuse(self, entity: str, reason: str, detail: str, part: bytes) -> None:
        """Refuse a part of the input: it becomes a dead letter of its own."""
        self.refused.append(Refusal(entity, reason, detail, part))

    @property
    def log(self) -> FilteringBoundLogger:
        """Bound to flow, node, entity and attempt."""
        bound: Callable[..., FilteringBoundLogger] = self.parts.log.bind
        return bound(flow=self.flow, node=self.node, entity=self.entity, attempt=self.attempt)
