"""What a flow is: the file as it was read, and the record of it that workers read once it is deployed."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from lodestream.node import Node
from proto import subjects


class Wire(NamedTuple):
    """One port of one node, as another node takes it."""

    node: str
    port: str


@dataclass(frozen=True)
class FlowNode:
    """One node of a flow file that has passed the lint."""

    name: str
    declaration: Node
    given: dict[str, Any]
    """The settings as the file gives them: plain YAML values, without `type` and `from`."""
    settings: Any
    """The same, read, with defaults."""
    wires: tuple[Wire, ...]
    """What feeds it, every port named; empty for the node that takes what people publish."""
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Flow:
    """A flow file that has passed the lint; `nodes` as the file has them, by name."""

    name: str
    text: str
    nodes: dict[str, FlowNode] = field(default_factory=dict)


class Consumer(NamedTuple):
    """A durable pull consumer that workers of a type serve for one node."""

    stream: str
    durable: str
    node: str
    filters: tuple[str, ...]
    since: str
    """Which start of this consumer it is: a durable's name is used again, its `since` never."""
    start: int
    """Stream sequence that it starts from."""
    temporary: bool = False
    """Whether it is a backfill."""
    paused: bool = False
    """Whether it gives nothing for now."""


class Backfill(msgspec.Struct, frozen=True):
    """A temporary consumer that gives a node what a new wire had stored before it was laid."""

    slot: int
    since: str
    filters: list[str]


class DeployedNode(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One node of a deployed flow. Its type and settings tell a worker all that it needs."""

    type: str
    slot: int
    """1 to 16 among the nodes of its type, for the name of its durable; 0 for the node that takes seeds."""
    since: str
    """When its consumer was last started from the beginning, ISO 8601."""
    settings: dict[str, Any] = {}
    """As the flow file gives them."""
    wires: dict[str, list[str]]
    """Subject filter of each wire, and the recipes that messages on it carry today ("" where none shapes them)."""
    starts: dict[str, int] = {}
    """First stream sequence of those wires that give only what came after they were laid."""
    recipes: list[str]
    """The recipes that its own outputs carry today."""
    paused: bool = False
    backfills: list[Backfill] = []

    @property
    def start(self) -> int:
        """Stream sequence that its consumer starts from."""
        return min(self.starts.get(wire, 1) for wire in self.wires)

    def accepts(self, subject: str, recipe: str, seq: int) -> bool:
        """Whether this input, at a sequence of its stream, is of the flow as deployed.

        False for what an unwired node gave, for what a node gave under settings that have since changed, and for what
        is older than a wire that gives new messages only: a worker that has the newest record acks it without work.
        """
        wire = subject if subjects.is_seed(subject) else subject.rpartition(".")[0] + ".*"
        return recipe in self.wires.get(wire, ()) and seq >= self.starts.get(wire, 1)

    def revised(self, declaration: Node, settings: Any) -> bool:
        """Whether a node declared like this, with these settings, makes something else of today's inputs."""
        made = {declaration.recipe(settings, recipe) for inputs in self.wires.values() for recipe in inputs}
        return made != set(self.recipes)


class Deployed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A deployed flow, as KV bucket `flows` keeps it in JSON."""

    flow: str
    text: str
    """The flow file."""
    at: str
    """When it was last changed, ISO 8601."""
    nodes: dict[str, DeployedNode]
    freed: dict[str, str] = {}
    """Durables that were lately taken from their consumers, and when: see `record.REST`."""

    def filters(self, name: str) -> tuple[str, ...]:
        """The subject filters of a node's consumer: its wires, and its own `again` port."""
        node = self.nodes[name]
        if not node.slot:
            return tuple(node.wires)
        return (*node.wires, subjects.wire(self.flow, node.type, name, subjects.AGAIN))

    def consumers(self) -> list[Consumer]:
        """Every consumer of the flow, backfills included; a node's `type` says which workers serve it."""
        return [c for name in self.nodes for c in self._consumers_of(name)]

    def _consumers_of(self, name: str) -> list[Consumer]:
        node, stream, paused = self.nodes[name], subjects.stream(self.flow), self.nodes[name].paused
        if not node.slot:
            stream, durable = subjects.SEEDS, self.flow
        else:
            durable = subjects.durable(node.type, node.slot)
        own = Consumer(stream, durable, name, self.filters(name), node.since, node.start, paused=paused)
        return [own] + [
            Consumer(stream, subjects.durable(node.type, b.slot), name, tuple(b.filters), b.since, 1, True, paused)
            for b in node.backfills
        ]


decode = msgspec.json.Decoder(Deployed).decode
"""Reads a record. Raises msgspec.MsgspecError where it is none."""


def encode(deployed: Deployed) -> bytes:
    """The record as it is stored, legible to people."""
    return msgspec.json.format(msgspec.json.encode(deployed), indent=1)
