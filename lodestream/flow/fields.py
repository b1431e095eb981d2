"""Checks the settings of one node of a flow file against its type's declaration, each on its own line."""

import re
from difflib import get_close_matches
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from lodestream.flow.load import Problem, Spot
from lodestream.node import Node
from lodestream.units import dec_hook
from lodestream.words import words, yaml_value

OWN = ("type", "from")
"""Fields of a node that are the flow's, not its type's."""
MOST = 30
"""Names that a message lists."""
QUOTED = 160
"""Letters that are quoted of what msgspec says."""
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")


def unknown(what: str, word: str, allowed: list[str]) -> str:
    """`unknown field 'evry' of extract; did you mean 'every'? (allowed: ...)`; `what` holds the word as `{}`."""
    close = get_close_matches(word, allowed, 1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(allowed[:MOST]) + (", ..." if len(allowed) > MOST else "")
    return f"unknown {what.format(repr(word[:40]))}{guess} (allowed: {listed})"


def check(node: Node, fields: dict[str, Spot], at: tuple[int, int]) -> tuple[dict[str, Any], Any, list[Problem]]:
    """The settings as given, the same as the declaration reads them (None where it cannot), and what is wrong."""
    kinds = {f.name: f for f in inspect.type_info(node.settings).fields}  # type: ignore[attr-defined]
    hints = get_type_hints(node.settings, include_extras=True)
    mine = {name: spot for name, spot in fields.items() if name not in OWN}
    problems = [
        Problem(*spot.key, unknown(f"field {{}} of {node.type}", name, [*OWN, *kinds]))
        for name, spot in mine.items()
        if name not in kinds
    ]
    for name in kinds.keys() & mine.keys():
        problems += _value(name, mine[name], hints[name], kinds[name].type)
    problems += [
        Problem(*at, f"{node.type} needs {name} ({words(field.type)})")
        for name, field in kinds.items()
        if field.required and name not in mine
    ]
    given = {name: spot.plain() for name, spot in mine.items()}
    if problems:
        return given, None, problems
    try:
        return given, node.read_settings(given), []
    except (msgspec.ValidationError, ValueError) as error:
        return given, None, [Problem(*at, f"{node.type}: {error}")]


def _value(name: str, spot: Spot, hint: Any, kind: inspect.Type) -> list[Problem]:
    try:
        msgspec.convert(spot.plain(), hint, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        inner, wrong = _inside(spot, str(error))
        got = yaml_value(inner.plain())
        got = got if len(got) <= 60 else got[:57] + "..."
        return [Problem(inner.line, inner.column, f"{name}: expected {words(kind)}, got {got}{wrong}")]
    return []


def _inside(spot: Spot, error: str) -> tuple[Spot, str]:
    """The part that msgspec's path leads to, and what msgspec says of it where our own words would not say it."""
    said, _, path = error.partition(" - at `$")
    for index, name in _STEP.findall(path):
        if index and isinstance(spot.value, list):
            spot = spot.value[int(index)]
        elif name and isinstance(spot.value, dict) and name in spot.value:
            spot = spot.value[name]
    ours = said.startswith(("Expected", "Invalid enum", "'")) and not path.strip("`")
    return spot, "" if ours else f" ({said if len(said) <= QUOTED else said[: QUOTED - 3] + '...'})"
