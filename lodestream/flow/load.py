"""Reads YAML with the line and column of everything, and refuses what is not plain data of a sensible size."""

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lodestream.errors import LodeError

LONGEST = 256 << 10
"""Characters of a flow file; its record has to fit into one message."""
VALUES = 20_000
"""Values in a flow file, with every alias written out."""
DEEPEST = 32
OPEN = 8 * DEEPEST
"""Brackets that may be open at once, those in quotes counted too: the parser takes seconds over thousands."""
SHOWN = 160
"""Letters of what a parser says; it quotes the file."""
_BRACKET = re.compile(r"[\[\]{}]")
_HALF = re.compile("[\ud800-\udfff]")
_SCALARS = ("int", "float", "bool", "null")


class Problem(NamedTuple):
    """What is wrong with a flow file, and where; lines and columns count from 1."""

    line: int
    column: int
    message: str

    def show(self, file: str) -> str:
        """`flow.yaml:7:5: unknown field ...`"""
        return f"{file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True)
class Spot:
    """A value and where it stands: a scalar, a list of spots, or a mapping of names to spots."""

    value: Any
    line: int
    column: int
    written: str = ""
    """A scalar as the file spells it."""
    key: tuple[int, int] = (1, 1)
    """Line and column of the key, where it is a mapping's value."""

    def plain(self) -> Any:
        """The value alone."""
        if isinstance(self.value, dict):
            return {name: spot.plain() for name, spot in self.value.items()}
        if isinstance(self.value, list):
            return [spot.plain() for spot in self.value]
        return self.value


def read(path: Path) -> str:
    """A flow file's text. Raises LodeError where it cannot be one."""
    try:
        if path.stat().st_size > 4 * LONGEST:
            raise LodeError(f"{path} is longer than {LONGEST >> 10} KiB; that is no flow file")
        return path.read_text("utf-8")
    except OSError as error:
        raise LodeError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LodeError(f"{path} is not text in UTF-8 (byte {error.start}); a flow file is YAML") from None


def load(text: str) -> tuple[Spot | None, list[Problem]]:
    """The tree of a YAML text and all that is wrong with it; the tree is None where there is none."""
    if len(text) > LONGEST:
        return None, [Problem(1, 1, f"longer than {LONGEST >> 10} KiB; a flow file names nodes and wires, not data")]
    if _open_brackets(text) > OPEN:
        return None, [Problem(1, 1, "nested too deeply")]
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        return None, [_syntax(error)]
    except YAMLError as error:
        return None, [_unreadable(text, error)]
    except RecursionError:
        return None, [Problem(1, 1, "nested too deeply")]
    if root is None:
        return None, [Problem(1, 1, "empty; a flow file begins with `flow: NAME`")]
    reader = _Reader(yaml)
    try:
        return reader.spot(root, 0), reader.problems
    except _TooMuch as error:
        return None, [Problem(1, 1, str(error))]


def _open_brackets(text: str) -> int:
    """The most that are open at once."""
    steps = (1 if bracket in "[{" else -1 for bracket in _BRACKET.findall(text))
    return max(accumulate(steps), default=0)


def _syntax(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    text = error.problem or "not YAML"
    if "\\t" in text:
        text = "a tab; YAML indents with spaces"
    if "another document" in text:
        text = "a second document; a flow file holds one flow"
    text = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return Problem(mark.line + 1, mark.column + 1, text) if mark else Problem(1, 1, text)


def _unreadable(text: str, error: YAMLError) -> Problem:
    at = getattr(error, "position", 0) or 0
    line = text.count("\n", 0, at) + 1
    letter = f" (U+{ord(text[at]):04X})" if at < len(text) else ""
    return Problem(line, at - text.rfind("\n", 0, at), f"a character that YAML does not allow{letter}")


class _TooMuch(Exception):
    """Aliases or nesting beyond reason."""


class _Reader:
    """Turns composed nodes into spots, every alias written out."""

    def __init__(self, yaml: YAML):
        self._construct, self._read, self.problems = yaml.constructor.construct_object, 0, list[Problem]()

    def spot(self, node: Node, depth: int, key: tuple[int, int] = (1, 1)) -> Spot:
        self._read += 1
        if self._read > VALUES:
            raise _TooMuch(f"more than {VALUES} values, aliases written out")
        if depth > DEEPEST:
            raise _TooMuch("nested too deeply, or an alias that holds itself")
        line, column = _at(node)
        self._mend(node)
        if isinstance(node, MappingNode):
            return Spot(self._mapping(node, depth), line, column, key=key)
        if isinstance(node, SequenceNode):
            return Spot([self.spot(item, depth + 1) for item in node.value], line, column, key=key)
        return Spot(self._scalar(node), line, column, str(node.value), key)

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Spot]:
        found: dict[str, Spot] = {}
        for name, value in node.value:
            self._mend(name)
            if not isinstance(name, ScalarNode):
                self.problems.append(Problem(*_at(name), "a key that is not a plain name"))
            elif name.value in found:
                first = found[name.value].key[0]
                self.problems.append(Problem(*_at(name), f"duplicate key {name.value[:40]!r}, first on line {first}"))
            else:
                found[name.value] = self.spot(value, depth + 1, _at(name))
        return found

    def _mend(self, node: Node) -> None:
        """Joins the two halves in which JSON escapes a letter beyond U+FFFF."""
        if not isinstance(node, ScalarNode) or not _HALF.search(node.value):
            return
        node.value = node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if "\ufffd" in node.value:
            self.problems.append(Problem(*_at(node), "half a letter (a lone surrogate) in it"))

    def _scalar(self, node: Node) -> Any:
        kind = str(node.tag).rpartition(":")[2]
        if kind in ("timestamp", "str"):
            return node.value
        try:
            if kind in _SCALARS and _is_json(value := self._construct(node)):
                return value
        except (ValueError, YAMLError):
            pass
        self.problems.append(Problem(*_at(node), f"{node.value[:40]!r} is not text, a finite number, true or false"))
        return None


def _is_json(value: float | None) -> bool:
    """Whether every reader of JSON understands it: no NaN, no infinity, no integer beyond 64 bits."""
    return value is None or (abs(value) < 2**63 and math.isfinite(value))


def _at(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
