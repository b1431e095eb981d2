"""The stream of a flow: made and kept as it must be, and it remembers the recipes of all that it may hold.

That memory lives in the stream's metadata, because it must last exactly as long as the messages do.
"""

from collections.abc import Collection
from typing import Any

from nats.aio.client import Client

from lodestream.streams import BASE, ask, ensure_stream
from proto import subjects

MUST: dict[str, Any] = {
    "max_msgs_per_subject": 1,
    "discard": "new",
    "discard_new_per_subject": True,
    "allow_direct": True,
}
"""Each identity is stored once."""
MAX_BYTES = 2 << 30
"""Bytes of a new stream at most; publishers wait when they are used up. Raise it: `nats stream edit`."""
RECIPES = "lode.recipes"
"""Metadata: every recipe that the flow was ever deployed with, one space between."""
LONGEST = 64 << 10
"""Characters of that list; a longer one is forgotten, and any recipe may have been there."""
FORGOTTEN = "*"


async def state(nc: Client, flow: str) -> dict[str, Any] | None:
    """The flow's stream as JetStream describes it, None where there is none."""
    return await ask(nc, f"STREAM.INFO.{subjects.stream(flow)}", {}, may_lack=True)


async def seen(nc: Client, flow: str) -> frozenset[str] | None:
    """The recipes that the stream may have messages of; None for any."""
    info = await state(nc, flow)
    written = _metadata(info).get(RECIPES, "") if info else ""
    return None if written == FORGOTTEN else frozenset(written.split())


async def ensure(nc: Client, flow: str, recipes: Collection[str]) -> None:
    """Make the stream, or put right what must be so, and remember these recipes; all else of it is left as it is.

    Raises LodeError where the server refuses.
    """
    name = subjects.stream(flow)
    wanted = {"name": name, "subjects": [subjects.everything(flow)], **MUST}
    if await state(nc, flow) is None:
        wanted = BASE | {"max_bytes": MAX_BYTES} | wanted
    await ensure_stream(nc, wanted)
    known = await seen(nc, flow)
    if known is not None and not known.issuperset(recipes):
        await _remember(nc, flow, sorted(known.union(recipes)))


async def _remember(nc: Client, flow: str, recipes: list[str]) -> None:
    info = await state(nc, flow) or {}
    written = " ".join(recipes)
    metadata = _metadata(info) | {RECIPES: written if len(written) <= LONGEST else FORGOTTEN}
    await ask(nc, f"STREAM.UPDATE.{subjects.stream(flow)}", info["config"] | {"metadata": metadata})


def _metadata(info: dict[str, Any]) -> dict[str, str]:
    return info["config"].get("metadata") or {}
