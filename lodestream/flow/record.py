"""Works out the record of a flow from the one before it: which consumers stay, start again, or need a backfill.

A node starts again, from the beginning, when what it makes of its inputs has another recipe than before. Those after it
are then given new messages, and go on as they are. But where a recipe comes back that the stream has messages of,
nothing new would come (each identity is stored once) and what is stored was passed over: then they start again, too.

A node starts again under another durable where one is free: a worker that has not read the new record yet still pulls
from the old one, and would ack with the old settings what it gets there.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from lodestream.errors import LodeError
from lodestream.flow import wires
from lodestream.flow.model import Backfill, Deployed, DeployedNode, Flow, FlowNode
from proto import subjects


class Ends(NamedTuple):
    """The last sequences of the streams that a flow reads, for wires that give only what is new."""

    seeds: int = 0
    flow: int = 0


EMPTY = Ends()


def next_record(
    old: Deployed | None,
    flow: Flow,
    at: str,
    *,
    seen: Collection[str] | None = (),
    new_only: Collection[str] = (),
    ends: Ends = EMPTY,
) -> Deployed:
    """The record that deploying `flow` at time `at` (ISO 8601) leads to; `old` itself where nothing changes.

    `seen` are the recipes that the stream may have messages of (None: any). The nodes in `new_only` get from their new
    wires only what comes after `ends`. Raises LodeError where there is no such node, or no consumer is free.
    """
    if missing := [name for name in new_only if name not in flow.nodes]:
        raise LodeError(f"new only: flow {flow.name} has no node {missing[0]}")
    new = _Next(old, flow, at, seen, new_only, ends).record()
    if old and (old.text, old.nodes) == (new.text, new.nodes):
        return old
    return new


def recipes_of(record: Deployed | None) -> set[str]:
    """Every recipe that outputs of a deployed flow carry."""
    return {recipe for node in record.nodes.values() for recipe in node.recipes} if record else set()


def wires_of(flow: Flow) -> dict[str, dict[str, list[str]]]:
    """Each node's wires: subject filter, and the recipes that messages on it carry."""
    made = wires.recipes(flow)
    return {name: _wires(flow, node, made) for name, node in flow.nodes.items()}


def _wires(flow: Flow, node: FlowNode, made: Mapping[str, list[str]]) -> dict[str, list[str]]:
    if not node.wires:
        return {subjects.seeds(flow.name): [""]}
    return {
        subjects.wire(flow.name, flow.nodes[w.node].declaration.type, w.node, w.port): wires.carried(
            flow, w, made[w.node]
        )
        for w in node.wires
    }


def starts_again(
    old: DeployedNode, node: FlowNode, wires: Mapping[str, list[str]], seen: Collection[str] | None
) -> bool:
    """Whether the consumer of a node must begin anew, for the settings are others or a recipe came back."""
    gained = {recipe for wire in old.wires.keys() & wires.keys() for recipe in set(wires[wire]) - set(old.wires[wire])}
    back = gained if seen is None else gained.intersection(seen)
    return old.revised(node.declaration, node.settings) or bool(back)


class _Next:
    """One turn from a record to the next; hands out the slots."""

    def __init__(
        self,
        old: Deployed | None,
        flow: Flow,
        at: str,
        seen: Collection[str] | None,
        new_only: Collection[str],
        ends: Ends,
    ):
        self._flow, self._at, self._seen, self._new_only, self._ends = flow, at, seen, new_only, ends
        self._old = old.nodes if old else {}
        self._wires, self._recipes = wires_of(flow), wires.recipes(flow)
        self._used = {(node.type, slot) for node in self._old.values() for slot in _slots(node)}
        self._taken: set[tuple[str, int]] = set()

    def record(self) -> Deployed:
        """The record; nodes whose consumers stay keep their slots, and the others choose after them."""
        staying = {name: node for name in self._flow.nodes if (node := self._staying(name))}
        for node in staying.values():
            self._taken |= {(node.type, slot) for slot in _slots(node)}
        nodes = {
            name: self._wired(name, staying[name]) if name in staying else self._started(name)
            for name in self._flow.nodes
        }
        return Deployed(flow=self._flow.name, text=self._flow.text, at=self._at, nodes=nodes)

    def _staying(self, name: str) -> DeployedNode | None:
        """The node as it was, its backfills cut to the wires that it still has; None where it starts anew."""
        old, node, wanted = self._old.get(name), self._flow.nodes[name], self._wires[name]
        if old is None or old.type != node.declaration.type or starts_again(old, node, wanted, self._seen):
            return None
        backfills = [Backfill(b.slot, b.since, [f for f in b.filters if f in wanted]) for b in old.backfills]
        return DeployedNode(
            type=old.type,
            slot=old.slot,
            since=old.since,
            settings=node.given,
            wires=wanted,
            starts=self._starts(name, old),
            recipes=self._recipes[name],
            paused=old.paused,
            backfills=[b for b in backfills if b.filters],
        )

    def _wired(self, name: str, node: DeployedNode) -> DeployedNode:
        """A staying node with a backfill for its new wires; starts it again where no slot is free for that."""
        waiting = [wire for wire in node.wires if wire not in self._old[name].wires and wire not in node.starts]
        if not waiting:
            return node
        slot = self._free(node.type, node.slot)
        if slot is None:
            self._taken -= {(node.type, slot) for slot in _slots(node)}
            return self._started(name)
        node.backfills = [*node.backfills, Backfill(slot, self._at, waiting)]
        return node

    def _started(self, name: str) -> DeployedNode:
        """A node whose consumer starts: a new one, or one that does its work again."""
        node, old = self._flow.nodes[name], self._old.get(name)
        kind = node.declaration.type
        if old and old.type != kind:
            old = None
        return DeployedNode(
            type=kind,
            slot=self._slot(name, kind, old.slot if old else 0) if node.wires else 0,
            since=self._at,
            settings=node.given,
            wires=self._wires[name],
            starts=self._starts(name, old),
            recipes=self._recipes[name],
            paused=old.paused if old else False,
        )

    def _starts(self, name: str, old: DeployedNode | None) -> dict[str, int]:
        """The first sequence of each wire that gives only what is new: those that did, and new ones where asked."""
        laid, starts = (old.wires, dict(old.starts)) if old else ({}, {})
        if name in self._new_only:
            added = [wire for wire in self._wires[name] if wire not in laid]
            starts |= {wire: 1 + (self._ends.seeds if subjects.is_seed(wire) else self._ends.flow) for wire in added}
        return {wire: first for wire, first in starts.items() if wire in self._wires[name]}

    def _slot(self, name: str, kind: str, before: int) -> int:
        slot = self._free(kind, before)
        if slot is None:
            raise LodeError(
                f"{name}: all {subjects.SLOTS} consumers of type {kind} are in use, backfills among them; "
                "deploy again when these are through (lode status)"
            )
        return slot

    def _free(self, kind: str, before: int) -> int | None:
        """A slot that no worker knows under another meaning, if there is one; the next after `before`."""
        free = [slot for slot in range(1, subjects.SLOTS + 1) if (kind, slot) not in self._taken]
        if not free:
            return None
        slot = min(free, key=lambda slot: ((kind, slot) in self._used, slot <= before, slot))
        self._taken.add((kind, slot))
        return slot


def _slots(node: DeployedNode) -> list[int]:
    return [node.slot, *(backfill.slot for backfill in node.backfills)]
