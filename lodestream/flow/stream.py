"""The stream of a flow: made and kept as it must be, and it remembers the recipes of all that it may hold.

That memory lives in the stream's metadata, because it must last exactly as long as the messages do.
"""

from collections.abc import Collection
from typing import Any

from nats.aio.client import Client

from lodestream.errors import LodeError
from lodestream.streams import BASE, NoRoom, ask, ensure_stream
from proto import subjects

MUST: dict[str, Any] = {
    "max_msgs_per_subject": 1,
    "discard": "new",
    "discard_new_per_subject": True,
    "allow_direct": True,
}
"""Each identity is stored once."""
SIZES = (2 << 30, 512 << 20, 128 << 20, 32 << 20)
"""Bytes of a new stream at most, the first that the server has room for: it sets them aside. Publishers wait when they
are used up. Change it: `nats stream edit`."""
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
    wanted = {"name": subjects.stream(flow), "subjects": [subjects.everything(flow)], **MUST}
    if await state(nc, flow) is None:
        await _make(nc, BASE | wanted)
    else:
        await ensure_stream(nc, wanted)
    known = await seen(nc, flow)
    if known is not None and not known.issuperset(recipes):
        await _remember(nc, flow, sorted(known.union(recipes)))


async def _make(nc: Client, wanted: dict[str, Any]) -> None:
    """Make it as large as there is room. Raises LodeError where there is next to none."""
    for size in SIZES:
        try:
            await ensure_stream(nc, wanted | {"max_bytes": size})
            return
        except NoRoom:
            continue
    raise LodeError(
        f"no room for the stream of another flow: not even {SIZES[-1] >> 20} MiB are left beside what other streams "
        "may use; free some disk and start the server again, remove a flow (lode flow rm --purge), or make a stream "
        "smaller (nats stream edit --max-bytes)"
    )


async def _remember(nc: Client, flow: str, recipes: list[str]) -> None:
    info = await state(nc, flow) or {}
    written = " ".join(recipes)
    metadata = _metadata(info) | {RECIPES: written if len(written) <= LONGEST else FORGOTTEN}
    await ask(nc, f"STREAM.UPDATE.{subjects.stream(flow)}", info["config"] | {"metadata": metadata})


def _metadata(info: dict[str, Any]) -> dict[str, str]:
    return info["config"].get("metadata") or {}
