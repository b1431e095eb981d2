"""What feeds what: resolves `from`, finds cycles, and works out the recipes that travel on each wire."""

from collections.abc import Iterable, Mapping

from lodestream.flow.fields import unknown
from lodestream.flow.load import Problem, Spot
from lodestream.flow.model import Flow, Wire
from lodestream.node import Node
from lodestream.palette import feeds, kind_of, takes
from proto import subjects

SOURCES = 64
"""Names that one `from` can list."""
WAYS = 64
"""Recipes of one node at most: its upstream paths multiply."""


def resolve(taker: Node, given: Spot, nodes: Mapping[str, Node | None]) -> tuple[list[Wire], list[Problem]]:
    """The wires of a node whose `from` is `given`; `nodes` are all of the flow; None where a type is unknown."""
    sources = given.value if isinstance(given.value, list) else [given]
    if not sources or len(sources) > SOURCES:
        return [], [Problem(given.line, given.column, f"from: {len(sources)} names; 1 to {SOURCES} can be given")]
    wires: dict[Wire, None] = {}
    problems: list[Problem] = []
    for spot in sources:
        found = _source(taker, spot, nodes)
        if isinstance(found, str):
            problems.append(Problem(spot.line, spot.column, found))
        else:
            wires |= dict.fromkeys(found)
    return list(wires), problems


def _source(taker: Node, spot: Spot, nodes: Mapping[str, Node | None]) -> list[Wire] | str:
    """The wires that one name stands for, or what is wrong with it."""
    source, dot, port = spot.written.partition(".")
    if not source or isinstance(spot.value, dict | list):
        return "from: expected NODE or NODE.PORT, or a list of these"
    if source not in nodes:
        return unknown("node {}", source, list(nodes))
    giver = nodes[source]
    if giver is None:
        return []
    if dot and port not in giver.ports():
        return unknown(f"port {{}} of {source} ({giver.type})", port, list(giver.ports()))
    ports = [port] if dot else feeds(giver, taker)
    if not ports or (dot and not takes(taker, giver.ports()[port])):
        return _mismatch(source, giver, taker, port)
    return [Wire(source, each) for each in ports]


def _mismatch(source: str, giver: Node, taker: Node, port: str) -> str:
    wanted = " or ".join(kind_of(message) for message in taker.takes)
    given = [f"{kind_of(message)} on {source}.{name}" for name, message in giver.ports().items() if port in ("", name)]
    return f"{taker.type} takes {wanted}, but {source} ({giver.type}) gives {', '.join(given)}"


def cycles(wires: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Every cycle's nodes in the order of the flow of messages; `wires` are the names that each name takes from."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append(path[path.index(name) :][::-1])
        elif name not in done:
            for source in wires.get(name, ()):
                walk(source, [*path, name])
            done.add(name)

    for name in wires:
        walk(name, [])
    return found


def recipes(flow: Flow) -> dict[str, list[str]]:
    """The recipes that each node's outputs carry: one for every different way that leads to it, sorted.

    Raises ValueError with a node's name where there are more than `WAYS`.
    """
    made: dict[str, list[str]] = {}

    def of(name: str) -> list[str]:
        if name not in made:
            node = flow.nodes[name]
            inputs = {
                recipe
                for wire in node.wires
                for recipe in carried(flow.nodes[wire.node].declaration, wire, of(wire.node))
            } or {""}
            made[name] = sorted({node.declaration.recipe(node.settings, recipe) for recipe in inputs})
            if len(made[name]) > WAYS:
                raise ValueError(name)
        return made[name]

    return {name: of(name) for name in flow.nodes}


def carried(giver: Node, wire: Wire, recipes: list[str]) -> list[str]:
    """The recipes on a wire whose giver has these: none ("") on a port that no setting changes."""
    return [""] if wire.port in giver.stable else recipes


def label(wire: str) -> str:
    """A wire's subject filter as a flow file names it: `get.media`; where people publish, as it is."""
    if subjects.is_seed(wire):
        return wire
    address = subjects.parse(wire)
    return f"{address.node}.{address.port}"
