"""What people published, in their own spelling: recognized by the seeds that were read from it."""

import json
import re
from typing import Any, Literal

from lodestream.forget.lineage import Said

_PREFIX = re.compile(r"\A[A-Za-z]{3,10}(\s*:\s*|\s+)")


class Wishes:
    """The values of seeds and the addresses of videos that are to be forgotten."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, said: Said) -> None:
        """Note a message that is to be forgotten."""
        if said.type == "seed":
            self._values.add(_plain(said.value))
        elif said.type == "candidate":
            self._values.add(_plain(said.url))

    def share(self, payload: bytes) -> Literal["all", "part", "none"]:
        """How much of a published payload is to be forgotten."""
        try:
            given = json.loads(payload)
            parts = given if isinstance(given, list) else [given]
        except ValueError:
            lines = (line.strip() for line in payload.decode(errors="replace").splitlines())
            parts = [_read(line) for line in lines if line and not line.startswith("#")]
        hits = [any(_plain(text) in self._values for text in _texts(part)) for part in parts]
        if hits and all(hits):
            return "all"
        return "part" if any(hits) else "none"


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _texts(part: Any) -> list[str]:
    """What may be the value of one seed: a kind may stand before it, or be its key."""
    if isinstance(part, dict):
        return [text for text in part.values() if isinstance(text, str)]
    return [part, _PREFIX.sub("", part)] if isinstance(part, str) else []


def _plain(value: str) -> str:
    """A value apart from its spelling."""
    from lodestream.web.identity import canonical

    try:
        return canonical(value)
    except ValueError:
        return " ".join(value.split()).strip("\"'").casefold()
