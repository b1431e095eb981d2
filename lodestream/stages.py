"""What becomes of frames at each node that looks at them, as the catalog has it."""

from collections import defaultdict

import msgspec

from lodestream.catalog import Ways, sql

_STAGES = "select flow, node, frames_in, frames, boxes, dropped_by_reason from stages where frames_in is not null"


class Stage(msgspec.Struct):
    """One node that looks at frames."""

    node: str
    frames_in: int
    frames: int
    """Those that go on: kept, new to the flow, or with a box."""
    boxes: int | None
    """None where it looks for none."""
    dropped: dict[str, int]
    """The others by reason, the most frequent first."""


async def stages(ways: Ways, seconds: float) -> dict[str, list[Stage]]:
    """By flow, in the order of its file; the catalog may take so many seconds. Raises LodeError where it is silent."""
    found: dict[str, list[Stage]] = defaultdict(list)
    for flow, *said in (await sql(_STAGES, ways, seconds=seconds)).rows:
        found[flow].append(Stage(*said))
    return found
