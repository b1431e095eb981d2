"""Works out the record of a flow from the one before it: which consumers stay, start again, or need a backfill.

A node starts again, from the beginning, when what it makes of its inputs has another recipe than before. Those after it
are then given new messages, and go on as they are. But where a recipe comes back that the stream has messages of,
nothing new would come (each identity is stored once) and what is stored was passed over: then they start again, too.

A worker that has not read the new record yet pulls from the durables of the old one, and acks with the old settings
what it gets there. So a node starts again under another durable, and one that was given up rests before it is used.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from lodestream.errors import LodeError
from lodestream.flow import wires
from lodestream.flow.model import Backfill, Deployed, DeployedNode, Flow, FlowNode
from proto import subjects

REST = timedelta(seconds=20)
"""For so long a durable that was given up is left alone, or its new consumer is paused. Workers serve no record for
longer than `worker.FRESH` without a look at the newest, and take at most `worker.GRACE` to finish what they had."""


class Facts(NamedTuple):
    """What a deploy has to know of the server."""

    seen: Collection[str] | None = ()
    """The recipes that the flow's stream may have messages of; None for any."""
    last_seed: int = 0
    last_output: int = 0
    """The last sequences of the streams that a flow reads, for wires that give only what is new."""
    removed: Deployed | None = None
    """The last flow of this name, `at` the time when it was removed."""


NOTHING = Facts()


def next_record(
    old: Deployed | None,
    flow: Flow,
    at: str,
    *,
    new_only: Collection[str] = (),
    reset: Collection[str] = (),
    facts: Facts = NOTHING,
) -> Deployed:
    """The record that deploying `flow` at time `at` (ISO 8601) leads to; `old` itself where nothing changes.

    New wires that `new_only` names (`NODE`: all of a node; `NODE:SOURCE`: those from one node, or from one port of it)
    give only what is not stored yet. The nodes in `reset` do their work again. Raises LodeError where there is no such
    node or wire, or no consumer is free.
    """
    if missing := [name for name in reset if name not in flow.nodes]:
        raise LodeError(f"flow {flow.name} has no node {missing[0]!r}; its nodes: {', '.join(flow.nodes)}")
    new = _Next(old, flow, at, new_only, reset, facts).record()
    if old and (old.text, old.nodes) == (new.text, new.nodes):
        return old
    return new


def rests(freed: str, at: str) -> timedelta:
    """How long a durable that was given up at `freed` must still be left alone at `at`; zero or less if not at all."""
    return datetime.fromisoformat(freed) + REST - datetime.fromisoformat(at)


def _resting(before: Deployed | None, at: str) -> dict[str, str]:
    """The durables that rest at a time, and since when."""
    return {name: when for name, when in before.freed.items() if rests(when, at) > timedelta(0)} if before else {}


def _given_up(before: Deployed, new: Deployed, when: str) -> dict[str, str]:
    """The durables whose consumers go; but one that takes seeds for the same purpose as before may begin at once."""
    after = {(c.durable, c.since) for c in new.consumers()}
    gone = [c for c in before.consumers() if (c.durable, c.since) not in after]
    return {c.durable: when for c in gone if c.stream != subjects.SEEDS or _use(before, c.node) != _use(new, c.node)}


def _use(record: Deployed, name: str) -> tuple[str, list[str]] | None:
    return (node.type, node.recipes) if (node := record.nodes.get(name)) else None


def recipes_of(record: Deployed | None) -> set[str]:
    """Every recipe that outputs of a deployed flow carry."""
    return {recipe for node in record.nodes.values() for recipe in node.recipes} if record else set()


def _wires(flow: Flow, node: FlowNode, made: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The wires of a node: subject filter, and the recipes that messages on it carry."""
    if not node.wires:
        return {subjects.seeds(flow.name): [""]}
    laid = {}
    for wire in node.wires:
        giver = flow.nodes[wire.node].declaration
        laid[subjects.wire(flow.name, giver.type, wire.node, wire.port)] = wires.carried(giver, wire, made[wire.node])
    return laid


def _starts_again(
    old: DeployedNode, node: FlowNode, now: Mapping[str, list[str]], seen: Collection[str] | None
) -> bool:
    """Whether the consumer of a node must begin anew, for the settings are others or a recipe came back."""
    gained = {recipe for wire in old.wires.keys() & now.keys() for recipe in set(now[wire]) - set(old.wires[wire])}
    back = gained if seen is None else gained.intersection(seen)
    return old.revised(node.declaration, node.settings) or bool(back)


class _Next:
    """One turn from a record to the next; hands out the slots."""

    def __init__(
        self,
        old: Deployed | None,
        flow: Flow,
        at: str,
        new_only: Collection[str],
        reset: Collection[str],
        facts: Facts,
    ):
        self._flow, self._at, self._reset, self._facts = flow, at, reset, facts
        self._old = old.nodes if old else {}
        self._before = old or facts.removed
        self._recipes = wires.recipes(flow)
        self._wires = {name: _wires(flow, node, self._recipes) for name, node in flow.nodes.items()}
        self._new_only = {each for asked in new_only for each in self._named(asked)}
        self._resting = _resting(self._before, at)
        self._known = {*self._resting, *(c.durable for c in self._before.consumers())} if self._before else set()
        """Durables that a worker may still pull from."""
        self._taken: set[tuple[str, int]] = set()

    def record(self) -> Deployed:
        """The record. Nodes whose consumers stay keep their slots, those that start choose next, then backfills."""
        staying = {name: node for name in self._flow.nodes if (node := self._staying(name))}
        for node in staying.values():
            self._taken |= {(node.type, slot) for slot in _slots(node)}
        found = {name: self._started(name) for name in self._flow.nodes if name not in staying}
        found |= {name: self._wired(name, node) for name, node in staying.items()}
        nodes = {name: found[name] for name in self._flow.nodes}
        new = Deployed(flow=self._flow.name, text=self._flow.text, at=self._at, nodes=nodes)
        if before := self._before:
            new.freed = self._resting | _given_up(before, new, self._at if self._old else before.at)
        new.freed = _resting(new, self._at)
        return new

    def _staying(self, name: str) -> DeployedNode | None:
        """The node as it was, its backfills cut to the wires that it still has; None where it starts anew."""
        old, node, wanted = self._old.get(name), self._flow.nodes[name], self._wires[name]
        if old is None or old.type != node.declaration.type or name in self._reset:
            return None
        if _starts_again(old, node, wanted, self._facts.seen):
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
        slot = self._free(node.type)
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
            slot=self._slot(name, kind) if node.wires else 0,
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
        starts |= {
            wire: 1 + (self._facts.last_seed if subjects.is_seed(wire) else self._facts.last_output)
            for wire in self._wires[name]
            if wire not in laid and (name, wire) in self._new_only
        }
        return {wire: first for wire, first in starts.items() if wire in self._wires[name]}

    def _named(self, asked: str) -> list[tuple[str, str]]:
        """The wires, each with its node, that `NODE` or `NODE:SOURCE` stands for."""
        name, only, source = asked.partition(":")
        if name not in self._flow.nodes:
            raise LodeError(f"new only: flow {self._flow.name} has no node {name}")
        labels = {wire: wires.label(wire) for wire in self._wires[name]}
        found = [(name, wire) for wire, label in labels.items() if not only or label.startswith(source + ".")]
        found += [(name, wire) for wire, label in labels.items() if label == source]
        if not found:
            raise LodeError(f"new only: {source} does not feed {name}; it is fed by {', '.join(labels.values())}")
        return found

    def _slot(self, name: str, kind: str) -> int:
        slot = self._free(kind)
        if slot is None:
            raise LodeError(
                f"{name}: all {subjects.SLOTS} consumers of type {kind} are in use, backfills among them; "
                "deploy again when these are through (lode status)"
            )
        return slot

    def _free(self, kind: str) -> int | None:
        """A slot that nobody holds, if there is one; one that no worker pulls from where there is a choice."""
        free = [slot for slot in range(1, subjects.SLOTS + 1) if (kind, slot) not in self._taken]
        if not free:
            return None
        slot = min(free, key=lambda slot: (subjects.durable(kind, slot) in self._known, slot))
        self._taken.add((kind, slot))
        return slot


def _slots(node: DeployedNode) -> list[int]:
    return [node.slot, *(backfill.slot for backfill in node.backfills)]
