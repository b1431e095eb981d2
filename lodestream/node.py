"""The declaration of a node type: settings, what it takes, what its ports give, one handler.

The palette, the lint of a flow, the docs and the AsyncAPI document are all derived from it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from lodestream.units import dec_hook, enc_hook
from proto import ids
from proto.messages import Message, Rejected
from proto.subjects import REJECTED

if TYPE_CHECKING:
    from lodestream.job import Job, Parts

Output = tuple[str, Message]
"""A port's name and what it gives."""
Handler = Callable[[Any, "Job"], AsyncIterator[Output]]


Settle = Callable[[Any, "Job"], Awaitable[None]]


def setting(help: str, *, recipe: bool = True, **bounds: Any) -> Meta:
    """Documents one setting for `Annotated`: its help, its bounds (`ge`, `le`, `max_length` ...), `examples`.

    `recipe=False` marks a setting that does not change what the node gives: changing it recomputes nothing.
    """
    return Meta(description=help, extra={"recipe": recipe}, **bounds)


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What every node can be told, whatever its type."""

    concurrency: (
        Annotated[int, setting("messages worked on at once in one worker", recipe=False, ge=1, le=1024)] | None
    ) = None


Kind = type[Message]
SettingsKind = type[Settings]


@dataclass(frozen=True)
class Node:
    """A node type. `node.py` of its folder under `services/` binds one of these to the name `NODE`."""

    type: str
    summary: str
    takes: tuple[Kind, ...]
    """Message types it consumes; empty where it reads what people publish, raw."""
    gives: dict[str, Kind]
    """Ports, the `rejected` port aside, which every node has."""
    settings: SettingsKind
    handler: Handler
    version: int = 1
    """Raised when the same input and settings give another output than before."""
    stable: frozenset[str] = frozenset()
    """Ports whose outputs are facts that no setting changes: their identity is the id alone."""
    memo: bool = True
    """Whether a manifest of the outputs is kept and looked up before working."""
    streams: bool = False
    """Whether outputs are published as they come, not after the last."""
    settle: Settle | None = None
    """Asked about each output before a flow gets it, also where it is remembered; may raise Reject."""
    concurrency: int = 16
    """Messages worked on at once in one worker, where the flow says nothing."""
    reads: tuple[str, ...] = ()
    """Beginnings of the keys of objects that it reads, its memo aside."""
    writes: tuple[str, ...] = ()
    """Beginnings of the keys of objects that it writes, its memo aside."""
    wired: Callable[[Any, Sequence[Kind]], None] | None = None
    """Looks at settings and the messages that come in with them in a flow; raises ValueError where they do not go
    together."""
    open: "Callable[[Parts], AbstractAsyncContextManager[Any]] | None" = None
    """What the handler needs for as long as the worker lives; arrives as `job.state`."""

    def read_settings(self, given: dict[str, Any]) -> Any:
        """The settings struct. Raises msgspec.ValidationError, which names the field."""
        return msgspec.convert(given, self.settings, dec_hook=dec_hook)

    def recipe(self, settings: Any, input_recipe: str) -> str:
        """The recipe of what this node makes, with these settings, of an input with that recipe."""
        shaping = {name: getattr(settings, name) for name in shaping_fields(self.settings)}
        return ids.recipe(
            self.type, self.version, msgspec.json.encode(shaping, enc_hook=enc_hook, order="sorted"), input_recipe
        )

    def ports(self) -> dict[str, Kind]:
        """Every port and the message it gives."""
        return {**self.gives, REJECTED: Rejected}


def shaping_fields(settings: type[Settings]) -> list[str]:
    """The settings that change what a node gives."""
    return [f.name for f in msgspec.inspect.type_info(settings).fields if setting_meta(f.type).get("recipe", True)]  # type: ignore[attr-defined]


def setting_meta(kind: Any) -> dict[str, Any]:
    """`extra` and `description` of a field's type as `setting` gave them; a union is searched for it."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return {**(kind.extra or {}), **(kind.extra_json_schema or {})}
    for member in getattr(kind, "types", ()):
        if found := setting_meta(member):
            return found
    return {}
