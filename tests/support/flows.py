"""A small family of node types for tests of flows: they do nothing, and cover every kind of setting and port."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec

from lodestream.job import Job
from lodestream.node import Node, Output, Settings, setting
from lodestream.units import Duration, Size
from proto.messages import Candidate, Listing, Media, Rejected, Seed, Shard


class Find(Settings, kw_only=True):
    """Settings of `find`."""

    limit: Annotated[int, setting("candidates of one seed", recipe=False, ge=1, le=1000)] = 100
    sites: Annotated[list[str], setting("sites to look at", examples=[["example"]])] = msgspec.field(
        default_factory=list
    )


class Get(Settings, kw_only=True):
    """Settings of `get`."""

    max_height: Annotated[int, setting("pixels", ge=144, le=4320)] | None = None
    max_size: Annotated[Size, setting("bytes of one file")] = Size(2**30)
    per_host: Annotated[int, setting("downloads of one host at once", recipe=False, ge=1)] = 2
    labels: Annotated[dict[str, str], setting("noted on every video")] = msgspec.field(default_factory=dict)


class Cut(Settings, kw_only=True):
    """Settings of `cut`."""

    every: Annotated[Duration, setting("time between frames", examples=[Duration(2)])] = Duration(1)
    sampler: Annotated[Literal["even", "keyframes"], setting("how frames are chosen")] = "even"
    box: Annotated[tuple[int, int], setting("width and height")] | None = None


class Need(Settings, kw_only=True):
    """Settings of `need`."""

    keep: Annotated[str, setting("what to keep", min_length=1)]


async def nothing(message: Any, job: Job) -> AsyncIterator[Output]:
    """Gives nothing."""
    for output in ():
        yield output


STABLE = frozenset({"seed", "candidate", "listing"})


def types(*, cut_version: int = 1) -> dict[str, Node]:
    """The node types by name: start, find, get, cut, need, bin."""
    nodes = [
        Node("start", "reads seeds", (), {"seed": Seed}, Settings, nothing, stable=STABLE),
        Node(
            "find", "finds videos", (Seed,), {"candidate": Candidate, "listing": Listing}, Find, nothing, stable=STABLE
        ),
        Node("get", "gets videos", (Candidate,), {"media": Media}, Get, nothing),
        Node("cut", "cuts frames", (Media,), {"shard": Shard}, Cut, nothing, version=cut_version),
        Node("need", "keeps frames", (Shard,), {"kept": Shard, "left": Shard}, Need, nothing),
        Node("bin", "counts refusals", (Rejected,), {}, Settings, nothing),
    ]
    return {node.type: node for node in nodes}


GOOD = """\
flow: clips
nodes:
  seeds:  {type: start}
  look:   {type: find, from: seeds, limit: 20}
  get:    {type: get, from: look, max_height: 720}
  frames: {type: cut, from: get, every: 2s}
  good:   {type: need, from: frames, keep: "a hand"}
"""
