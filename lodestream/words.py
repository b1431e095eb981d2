"""Types and values of settings in words, for people who write flow files."""

import json
from typing import Any

import msgspec
from msgspec import inspect

from lodestream.units import Duration, Size

_PLAIN: dict[type, str] = {
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.AnyType: "anything",
}
_UNITS = {Duration: "duration such as 500ms, 1s or 2m", Size: "size such as 64KiB or 512MB"}


def yaml_value(value: Any) -> str:
    """A setting's value as a flow file would have it, on one line."""
    if isinstance(value, Size):
        for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("GB", 10**9), ("MB", 10**6), ("KB", 1000)):
            if value and value % size == 0:
                return f"{value // size}{unit}"
        return str(int(value))
    if isinstance(value, Duration):
        return f"{value:g}s"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(msgspec.to_builtins(value, order="deterministic"), ensure_ascii=False)


def words(kind: inspect.Type) -> str:
    """A type in words, with its bounds: `whole number, 1 to 64`."""
    if isinstance(kind, inspect.Metadata):
        return words(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(words(member) for member in kind.types if not isinstance(member, inspect.NoneType))
    if isinstance(kind, inspect.CustomType):
        return _UNITS.get(kind.cls, kind.cls.__name__)
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(str(value) for value in kind.values)
    if isinstance(kind, inspect.EnumType):
        return " or ".join(str(member.value) for member in kind.cls)
    return _collection(kind) or ", ".join(filter(None, (_PLAIN.get(type(kind), type(kind).__name__), _bounds(kind))))


def _collection(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.DictType):
        return f"mapping of names to {words(kind.value_type)}"
    if isinstance(kind, inspect.TupleType):
        return f"list of {len(kind.item_types)}: " + ", ".join(words(item) for item in kind.item_types)
    if isinstance(kind, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        return f"list of ({words(kind.item_type)})"
    if isinstance(kind, inspect.StructType):
        return "mapping with " + ", ".join(f.encode_name for f in kind.fields)
    return ""


def _bounds(kind: inspect.Type) -> str:
    low, high = getattr(kind, "ge", None), getattr(kind, "le", None)
    if low is not None and high is not None:
        return f"{low} to {high}"
    names = {"ge": "{} at least", "gt": "more than {}", "le": "{} at most", "lt": "less than {}"}
    names |= {"min_length": "length {} at least", "max_length": "length {} at most", "pattern": "matching {}"}
    return ", ".join(text.format(getattr(kind, n)) for n, text in names.items() if getattr(kind, n, None) is not None)
