"""Durations and sizes as people write them: `1s`, `500ms`, `2m`, `512MB`."""

import re
from typing import Any

_PARTS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*\Z")
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _parse(value: Any, units: dict[str, Any], example: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _PARTS.match(value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{value!r} is not {example}")
    return float(match[1]) * units[match[2].lower()]


class Duration(float):
    """Seconds; written as a number or as `500ms`, `1s`, `2m`, `1h`."""

    @classmethod
    def parse(cls, value: Any) -> "Duration":
        """Raises ValueError where `value` is no duration."""
        return cls(_parse(value, _SECONDS, "a duration such as 500ms, 1s or 2m"))


class Size(int):
    """Bytes; written as a number or as `64KiB`, `512MB`."""

    @classmethod
    def parse(cls, value: Any) -> "Size":
        """Raises ValueError where `value` is no size."""
        return cls(_parse(value, _BYTES, "a size such as 64KiB or 512MB"))


def dec_hook(kind: type, value: Any) -> Any:
    """Lets msgspec read these units; raises NotImplementedError for any other type."""
    if kind in (Duration, Size):
        return kind.parse(value)
    raise NotImplementedError(f"no way to read a {kind}")


def enc_hook(value: Any) -> Any:
    """Lets msgspec write these units as plain numbers."""
    if isinstance(value, Size):
        return int(value)
    if isinstance(value, Duration):
        return float(value)
    raise NotImplementedError(f"no way to write a {type(value)}")


def schema_hook(kind: type) -> dict[str, Any]:
    """JSON Schema of these units."""
    if kind is Duration:
        return {"type": ["number", "string"], "description": "a duration: seconds, or 500ms, 1s, 2m"}
    if kind is Size:
        return {"type": ["integer", "string"], "description": "a size: bytes, or 64KiB, 512MB"}
    raise NotImplementedError(f"no schema for a {kind}")
