"""Lints a flow file: everything that is wrong with it at once, each with its line and column."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from lodestream.flow import fields, wires
from lodestream.flow.load import Problem, Spot, load
from lodestream.flow.model import Flow, FlowNode
from lodestream.node import Node
from lodestream.registry import node_types
from proto.subjects import CATALOG, SLOTS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")
"""Names of flows and nodes: each is one token of a subject."""
TAKEN = (CATALOG,)
"""Names of consumers that stand beside those of the flows."""
TOP = ["flow", "nodes"]


def lint(text: str, types: Mapping[str, Node] | None = None) -> tuple[Flow | None, list[Problem]]:
    """The flow, or None and all that is wrong with it, by line; `types` are those installed where none are given."""
    root, problems = load(text)
    if root is None:
        return None, problems
    linter = _Linter(node_types() if types is None else types, problems)
    flow = linter.flow(text, root)
    return (None, sorted(set(problems))) if problems else (flow, [])


class _Draft(NamedTuple):
    """A node whose type is known."""

    declaration: Node
    spot: Spot
    fields: dict[str, Spot]


class _Linter:
    def __init__(self, types: Mapping[str, Node], problems: list[Problem]):
        self._types, self._problems = types, problems
        self._known: dict[str, Node | None] = {}
        """Every node of the file; None where its type is unknown."""

    def _say(self, at: tuple[int, int], message: str) -> None:
        self._problems.append(Problem(*at, message))

    def flow(self, text: str, root: Spot) -> Flow | None:
        """The flow, if nothing was wrong."""
        if not isinstance(root.value, dict):
            self._say((root.line, root.column), "expected a mapping with `flow: NAME` and `nodes:`")
            return None
        for key, spot in root.value.items():
            if key not in TOP:
                self._say(spot.key, fields.unknown("field {} of a flow", key, TOP))
        name = self._flow_name(root)
        drafts = self._drafts(root)
        self._check_types(root, drafts)
        flow = Flow(name, text, {n: self._node(n, draft) for n, draft in drafts.items()})
        self._check_wires(flow)
        return None if self._problems else flow

    def _flow_name(self, root: Spot) -> str:
        spot = root.value.get("flow")
        if spot is None:
            self._say((root.line, root.column), "no `flow: NAME`")
        elif not NAME.match(spot.written) or spot.written in TAKEN:
            self._say((spot.line, spot.column), _bad_name("flow", spot.written))
        return spot.written if spot else ""

    def _drafts(self, root: Spot) -> dict[str, _Draft]:
        """The nodes whose type is known."""
        nodes = root.value.get("nodes")
        if nodes is None or not isinstance(nodes.value, dict) or not nodes.value:
            at = (root.line, root.column) if nodes is None else nodes.key
            self._say(at, "no `nodes:`, a mapping of names to `{type: ...}`")
            return {}
        if len(nodes.value) > (most := SLOTS * len(self._types)):
            self._say(nodes.key, f"{len(nodes.value)} nodes; at most {most}")
            return {}
        found = {name: self._draft(name, spot) for name, spot in nodes.value.items()}
        self._known = {name: draft and draft.declaration for name, draft in found.items()}
        return {name: draft for name, draft in found.items() if draft}

    def _draft(self, name: str, spot: Spot) -> _Draft | None:
        if not NAME.match(name):
            self._say(spot.key, _bad_name("node", name))
        if not isinstance(spot.value, dict):
            self._say((spot.line, spot.column), f"node {name}: expected a mapping such as {{type: extract, from: get}}")
            return None
        kind = spot.value.get("type")
        if kind is None:
            self._say(spot.key, f"node {name} has no type (there are: {', '.join(self._types)})")
            return None
        if kind.written not in self._types:
            self._say((kind.line, kind.column), fields.unknown("node type {}", kind.written, list(self._types)))
            return None
        return _Draft(self._types[kind.written], spot, spot.value)

    def _check_types(self, root: Spot, drafts: dict[str, _Draft]) -> None:
        by_type: dict[str, list[str]] = defaultdict(list)
        for name, draft in drafts.items():
            by_type[draft.declaration.type].append(name)
        for kind, names in by_type.items():
            if len(names) > SLOTS:
                self._say(drafts[names[SLOTS]].spot.key, f"{len(names)} nodes of type {kind}; at most {SLOTS}")
        self._check_entrance(root, [n for n, draft in drafts.items() if not draft.declaration.takes], drafts)

    def _check_entrance(self, root: Spot, entrances: list[str], drafts: dict[str, _Draft]) -> None:
        """Exactly one node takes what people publish."""
        kinds = " or ".join(kind for kind, node in self._types.items() if not node.takes)
        for name in entrances[1:]:
            first = drafts[entrances[0]].spot.key[0]
            self._say(drafts[name].spot.key, f"a second {kinds}; {entrances[0]} on line {first} takes the seeds")
        if not entrances and drafts and all(self._known.values()):
            self._say(root.value["nodes"].key, f"no node takes the seeds: one must be `type: {kinds}`")

    def _node(self, name: str, draft: _Draft) -> FlowNode:
        node, key = draft.declaration, draft.spot.key
        given, settings, problems = fields.check(node, draft.fields, key)
        self._problems += problems
        taken = draft.fields.get("from")
        if taken is None or not node.takes:
            if taken is not None:
                self._say(taken.key, f"{node.type} takes what people publish on seeds.<flow>; it has no `from`")
            elif node.takes:
                self._say(key, f"node {name} gets nothing: no `from`")
            return FlowNode(name, node, given, settings, (), *key)
        found, problems = wires.resolve(node, taken, self._known)
        self._problems += problems
        if node.wired and settings is not None:
            kinds = [giver.ports()[wire.port] for wire in found if (giver := self._known[wire.node])]
            try:
                node.wired(settings, kinds)
            except ValueError as error:
                self._say(key, f"{node.type}: {error}")
        return FlowNode(name, node, given, settings, tuple(found), *key)

    def _check_wires(self, flow: Flow) -> None:
        circles = wires.cycles({n: [w.node for w in node.wires] for n, node in flow.nodes.items()})
        for circle in circles:
            node = flow.nodes[circle[0]]
            self._say((node.line, node.column), f"a cycle: {' -> '.join([*circle, circle[0]])}")
        if self._problems:
            return
        try:
            wires.recipes(flow)
        except ValueError as error:
            node = flow.nodes[str(error)]
            self._say((node.line, node.column), f"more than {wires.WAYS} different ways lead to {node.name}")


def _bad_name(what: str, name: str) -> str:
    return f"{name[:40]!r} is no name for a {what}: 1 to 32 of A-Z a-z 0-9 _ -, a letter or digit first"
