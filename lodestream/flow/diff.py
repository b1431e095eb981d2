"""Says beforehand what a deploy would do: consumers, wires with their backlog, and who does its work again, and why."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from lodestream.flow.model import Deployed, DeployedNode, Flow, FlowNode
from lodestream.flow.wires import label
from lodestream.node import shaping_fields
from lodestream.words import yaml_value
from proto import keys, subjects

Kind = Literal["added", "removed", "recomputes", "edited", "unchanged"]


class SettingChange(msgspec.Struct, frozen=True):
    """One setting of a node, as the file gave it and gives it; None where it says nothing."""

    name: str
    before: Any
    after: Any
    recomputes: bool


class NodeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy does to one node."""

    node: str
    type: str
    kind: Kind
    why: str = ""
    """Why it does its work again; where `wires` is empty then, on what those before it are going to give anew."""
    settings: list[SettingChange] = []
    wires: dict[str, int] = {}
    """The wires whose messages it is now given from the beginning, by `node.port`, and how many are stored."""
    new_only: list[str] = []
    """New wires that give only what comes from now on."""
    cut: list[str] = []
    """Wires that are no more."""
    vectors: bool = False
    """Whether it works from stored vectors, and reads frames only where there are none."""


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy does to a flow."""

    flow: str
    first: bool
    text: bool
    """Whether the file differs at all."""
    nodes: list[NodeChange]

    @property
    def changes(self) -> list[NodeChange]:
        """The nodes that something happens to."""
        return [node for node in self.nodes if node.kind != "unchanged"]

    def lines(self) -> list[str]:
        """In words, a line for each thing."""
        said = [f"stream {subjects.stream(self.flow)} is made if it is not there"] if self.first else []
        said += [line for change in self.changes for line in _lines(change)]
        if not said:
            said = ["only words change; no node is touched" if self.text else "nothing to do: deployed as it is"]
        return said


def diff(
    old: Deployed | None, new: Deployed, flow: Flow, counts: Mapping[str, int], reset: Collection[str] = ()
) -> Diff:
    """The difference between a record and the next one, which `flow` led to.

    `counts` are the messages now stored for each subject filter; the nodes in `reset` were told to start again.
    """
    before = old.nodes if old else {}
    nodes = [_change(name, before.get(name), new, flow, counts, name in reset) for name in new.nodes]
    retyped = [name for name in before if name in new.nodes and before[name].type != new.nodes[name].type]
    gone = [name for name in before if name not in new.nodes]
    nodes += [NodeChange(node=name, type=before[name].type, kind="removed") for name in [*gone, *retyped]]
    return Diff(flow=new.flow, first=old is None, text=old is None or old.text != new.text, nodes=nodes)


def _change(
    name: str, old: DeployedNode | None, new: Deployed, flow: Flow, counts: Mapping[str, int], reset: bool
) -> NodeChange:
    now, vectors = new.nodes[name], keys.VECTORS in flow.nodes[name].declaration.reads
    if old is None or old.type != now.type:
        laid = _laid(list(now.wires), [w for w in now.wires if w not in now.starts], counts)
        return NodeChange(node=name, type=now.type, kind="added", **laid)
    settings = _settings(flow.nodes[name], old)
    cut = [label(wire) for wire in old.wires if wire not in now.wires]
    why = _why(flow.nodes[name], settings, old, now, reset)
    if now.since != old.since:
        laid = _laid(list(now.wires), [w for w in now.wires if w not in now.starts], counts)
        laid |= {"why": why, "settings": settings, "cut": cut, "vectors": vectors}
        return NodeChange(node=name, type=now.type, kind="recomputes", **laid)
    added = [wire for wire in now.wires if wire not in old.wires]
    filled = {wire for backfill in now.backfills for wire in backfill.filters}
    laid = _laid(added, [wire for wire in added if wire in filled], counts)
    kind: Kind = "recomputes" if why else "edited" if settings or cut or added else "unchanged"
    laid |= {"why": why, "settings": settings, "cut": cut, "vectors": vectors}
    return NodeChange(node=name, type=now.type, kind=kind, **laid)


def _laid(wires: list[str], full: list[str], counts: Mapping[str, int]) -> dict[str, Any]:
    """The wires that give their backlog, with its size, and those that do not."""
    return {
        "wires": {label(wire): counts.get(wire, 0) for wire in full},
        "new_only": [label(wire) for wire in wires if wire not in full],
    }


def _settings(node: FlowNode, old: DeployedNode) -> list[SettingChange]:
    shaping = set(shaping_fields(node.declaration.settings))
    names = [n for n in {**old.settings, **node.given} if old.settings.get(n) != node.given.get(n)]
    return [SettingChange(n, old.settings.get(n), node.given.get(n), n in shaping) for n in names]


def _why(node: FlowNode, settings: list[SettingChange], old: DeployedNode, now: DeployedNode, reset: bool) -> str:
    """Why a node does its work again; empty where it does not."""
    started = now.since != old.since
    kept = [(wire, set(old.wires[wire]), set(now.wires[wire])) for wire in now.wires if wire in old.wires]
    shaping = [change.name for change in settings if change.recomputes]
    why = [f"{label(wire)} changes" for wire, before, after in kept if after - before and before - after]
    if reset:
        why.insert(0, "it is reset")
    if started and old.revised(node.declaration, node.settings):
        why.insert(0, f"{', '.join(shaping)} changed" if shaping else f"node type {now.type} was revised")
    if started and not why:
        back = [label(wire) for wire, before, after in kept if after - before]
        why = [f"older messages of {wire} count again" for wire in back] or ["no consumer is free to fill its new wire"]
    return " and ".join(why)


def _lines(change: NodeChange) -> list[str]:
    head = f"{change.node} ({change.type})"
    if change.kind == "removed":
        return [f"{head}: removed; what it gave is kept"]
    said = [f"{head}: added"] if change.kind == "added" else []
    if change.kind == "recomputes":
        anew = "; known results are not made twice" if change.wires else ", on what it is given anew"
        said = [f"{head}: does its work again, because {change.why}{anew}"]
        if change.vectors:
            said.append(f"{head}: works from stored vectors, and reads frames only where there are none")
    for setting in change.settings:
        free = "" if setting.recomputes else " (recomputes nothing)"
        said.append(f"{head}: {setting.name} {_value(setting.before)} -> {_value(setting.after)}{free}")
    new = "wire" if change.kind in ("added", "recomputes") else "new wire"
    said += [f"{head}: {new} {wire}, {count:,} waiting" for wire, count in change.wires.items()]
    since = "only what came since it was laid" if change.kind == "recomputes" else "new messages only"
    said += [f"{head}: {new} {wire}, {since}" for wire in change.new_only]
    return said + [f"{head}: wire {wire} removed" for wire in change.cut]


def _value(value: Any) -> str:
    return "default" if value is None else yaml_value(value)
