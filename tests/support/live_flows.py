"""Node types that really work, on numbers: each output says in its title by which way it was made."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from lodestream.job import Job
from lodestream.node import Node, Output, Settings, setting
from proto.messages import Candidate, Media, Seed

TRACE = "LODE_TEST_TRACE"
"""File for a line for each piece of work: node, subject, process, begin and end in seconds."""


class Word(Settings, kw_only=True):
    """One setting that shapes what is made, and one that does not."""

    word: Annotated[str, setting("put into every title")] = ""
    slow: Annotated[float, setting("seconds at most that one takes", recipe=False, ge=0)] = 0.004


async def start(message: Any, job: Job) -> AsyncIterator[Output]:
    """One seed a payload."""
    yield "seed", Seed(id=job.raw.decode(), kind="query", value=job.raw.decode())


async def find(seed: Seed, job: Job) -> AsyncIterator[Output]:
    """Two candidates a seed."""
    for n in range(2):
        yield "candidate", Candidate(id=f"{seed.id}-{n}", url="", source="test", seed=seed.id)


async def get(candidate: Candidate, job: Job) -> AsyncIterator[Output]:
    """A medium of a candidate."""
    await _take_time(job)
    yield "media", _medium(candidate.id, job.settings.word)


async def turn(media: Media, job: Job) -> AsyncIterator[Output]:
    """A medium of a medium."""
    await _take_time(job)
    yield "media", _medium(media.id, f"{media.title}/{job.settings.word}")


async def spin(media: Media, job: Job) -> AsyncIterator[Output]:
    """A medium of a medium, said the other way round."""
    await _take_time(job)
    yield "media", _medium(media.id, f"{job.settings.word}<{media.title}")


async def _take_time(job: Job) -> None:
    """Work as long as that takes."""
    began = time.monotonic()
    await asyncio.sleep(random.uniform(0, job.settings.slow))
    if TRACE in os.environ:
        _say(f"{job.node} {job.cause} {os.getpid()} {began} {time.monotonic()}\n")


def _say(line: str) -> None:
    with Path(os.environ[TRACE]).open("a") as trace:
        trace.write(line)


def _medium(ident: str, title: str) -> Media:
    about: dict[str, Any] = {"url": "", "source": "test", "sha256": "", "bytes": 1, "container": "", "codec": ""}
    return Media(id=ident, width=1, height=1, object_key="", title=title, **about)


TYPES = {
    node.type: node
    for node in (
        Node("start", "reads seeds", (), {"seed": Seed}, Settings, start, stable=frozenset({"seed"}), memo=False),
        Node("find", "finds", (Seed,), {"candidate": Candidate}, Settings, find, stable=frozenset({"candidate"})),
        Node("get", "gets", (Candidate,), {"media": Media}, Word, get),
        Node("draw", "gets, and remembers nothing", (Candidate,), {"media": Media}, Word, get, memo=False),
        Node("turn", "turns", (Media,), {"media": Media}, Word, turn),
        Node("spin", "turns the other way", (Media,), {"media": Media}, Word, spin, memo=False),
    )
}
