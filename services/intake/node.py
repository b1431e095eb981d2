"""Reads what people publish on `seeds.<flow>`, and gives each good seed once."""

from collections.abc import AsyncIterator
from itertools import islice

from lodestream.errors import Malformed
from lodestream.job import Job
from lodestream.node import Node, Output, Settings
from proto import ids
from proto.messages import Seed
from services.intake.parse import seed
from services.intake.payload import Part, split

SHOWN = 3
"""Bad lines that are named where no line is good."""


async def handle(message: None, job: Job) -> AsyncIterator[Output]:
    """The seeds of one payload. What is no seed among them becomes a dead letter of its own.

    Raises Malformed where there is no seed in it at all.
    """
    good, bad = read(job.raw)
    if not good:
        raise _none(bad)
    for part, error in bad:
        job.refuse("part-" + ids.digest(part.raw), error.reason, _at(part, error), part.raw)
    for one in good:
        yield "seeds", one


def read(payload: bytes) -> tuple[list[Seed], list[tuple[Part, Malformed]]]:
    """The seeds of a payload, and what is none with the reason. Raises Malformed where the whole is none."""
    good: list[Seed] = []
    bad: list[tuple[Part, Malformed]] = []
    for part in split(payload):
        try:
            good.append(seed(part.given))
        except Malformed as error:
            bad.append((part, error))
    return good, bad


def _none(bad: list[tuple[Part, Malformed]]) -> Malformed:
    if len(bad) == 1:
        return Malformed(bad[0][1].reason, _at(*bad[0]))
    named = "; ".join(f"{_at(part, error)}" for part, error in islice(bad, SHOWN))
    return Malformed("not a seed", f"none of {len(bad)} lines is one: {named}")


def _at(part: Part, error: Malformed) -> str:
    return f"{part.where}: {error.detail}" if part.where else error.detail


NODE = Node(
    type="intake",
    summary="Reads what people publish: URLs, searches, JSON, or files of them",
    takes=(),
    gives={"seeds": Seed},
    settings=Settings,
    handler=handle,
    stable=frozenset({"seeds"}),
    memo=False,
)
