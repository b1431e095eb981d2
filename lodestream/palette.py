"""The palette: what each node type is, takes, gives and can be told; all of it derived from its declaration."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from lodestream.node import Node, setting_meta
from lodestream.registry import node_types
from lodestream.words import words, yaml_value
from proto.messages import Message
from proto.subjects import EMPTY


class Setting(NamedTuple):
    """One setting of a node type, for people."""

    name: str
    kind: str
    """Its type and bounds in words."""
    default: str
    """As a flow file would have it; empty where it must be given."""
    help: str
    recomputes: bool
    """Whether changing it makes the node do its work again."""
    examples: list[Any]


class Entry(NamedTuple):
    """One node type, for people."""

    type: str
    summary: str
    takes: list[str]
    """Message types; empty where it takes what people publish."""
    gives: dict[str, str]
    """Ports, and the message type that each gives."""
    settings: list[Setting]
    example: str
    """YAML: the node in a flow whose other nodes are named after their types."""


def palette(types: Mapping[str, Node] | None = None) -> dict[str, Entry]:
    """Every node type by name; of `types`, or of all that are installed."""
    types = node_types() if types is None else types
    return {name: _entry(node, types) for name, node in types.items()}


def _entry(node: Node, types: Mapping[str, Node]) -> Entry:
    settings = settings_of(node)
    return Entry(
        node.type,
        node.summary,
        [kind_of(message) for message in node.takes],
        {port: kind_of(message) for port, message in node.ports().items()},
        settings,
        _example(node, settings, types),
    )


def kind_of(message: type[Message]) -> str:
    """The name of a message type as it stands on the wire: `candidate`."""
    return str(message.__struct_config__.tag or "any message")


def settings_of(node: Node) -> list[Setting]:
    """A node type's settings, its own first and those that every node has last."""
    fields = inspect.type_info(node.settings).fields  # type: ignore[attr-defined]
    common = {"concurrency"}
    ordered = [f for f in fields if f.name not in common] + [f for f in fields if f.name in common]
    return [_setting(field) for field in ordered]


def _setting(field: inspect.Field) -> Setting:
    meta = setting_meta(field.type)
    return Setting(
        field.name,
        words(field.type),
        _default(field),
        meta.get("description", ""),
        meta.get("recipe", True),
        meta.get("examples", []),
    )


def _default(field: inspect.Field) -> str:
    if field.required:
        return ""
    given = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return yaml_value(given)


def _example(node: Node, settings: list[Setting], types: Mapping[str, Node]) -> str:
    fields = {"type": node.type}
    if node.takes:
        fields["from"] = _giver(node, types)
    fields |= {s.name: yaml_value(s.examples[0]) for s in settings if s.examples}
    return "\n".join([f"{node.type}:", *(f"  {name}: {value}" for name, value in fields.items())])


def _giver(node: Node, types: Mapping[str, Node]) -> str:
    """A node type that gives what another takes first of all."""
    for kind in node.takes:
        for other in types.values():
            if other is not node and any(issubclass(other.ports()[port], kind) for port in feeds(other, node)):
                return other.type
    return "..."


def feeds(giver: Node, taker: Node) -> list[str]:
    """The ports of `giver` that `taker` takes, `giver` wired to it without naming a port."""
    return [port for port, message in giver.ports().items() if port != EMPTY and takes(taker, message)]


def takes(taker: Node, message: type[Message]) -> bool:
    """Whether a node type takes messages of this type."""
    return any(issubclass(message, taken) for taken in taker.takes)


def markdown(types: Mapping[str, Node] | None = None) -> str:
    """The table of node types for the README."""
    rows = ["| type | does | takes | gives | settings |", "|---|---|---|---|---|"]
    for entry in palette(types).values():
        takes = ", ".join(entry.takes) or "what people publish"
        gives = ", ".join(port if port == kind else f"{port} ({kind})" for port, kind in entry.gives.items())
        settings = ", ".join(f"`{setting.name}`" for setting in entry.settings)
        rows.append(f"| `{entry.type}` | {entry.summary} | {takes} | {gives} | {settings} |")
    return "\n".join(rows) + "\n"


def markdown_settings(entry: Entry) -> str:
    """The table of one node type's settings for its page."""
    head = ["| setting | what | default | a change recomputes | |", "|---|---|---|---|---|"]
    rows = [
        f"| `{s.name}` | {s.kind} | {s.default or 'must be given'} | {'yes' if s.recomputes else 'no'} | {s.help} |"
        for s in entry.settings
    ]
    return "\n".join(head + rows) + "\n"
