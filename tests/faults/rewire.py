"""Rewire under load: a flow is deployed anew at random, again and again, while messages flow through worker processes.

In the end it has given what its last form gives when it is run alone, and nothing is left over.
"""

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from nats.aio.client import Client

from lodestream.flow.deploy import pause, resume
from lodestream.flow.removal import remove
from lodestream.flow.store import load
from proto import subjects
from tests.faults import figures
from tests.faults.hands import Hands
from tests.faults.live import FLOW, instance, leftovers, outcome, put, quiet, sow
from tests.support.servers import start_nats

FIRST, SECOND, THIRD = ("g1", "g2", "g3"), ("t1", "t2"), ("u1", "u2")
"""Names of nodes that are fed by `find`, by those, and by those or the second."""
KINDS = {"g": ("get", "draw"), "t": ("turn", "spin"), "u": ("turn", "spin")}
TEAM = ("start", "find", "get", "draw", "turn", "spin", "get", "turn")


class Size(NamedTuple):
    """How much of it."""

    changes: int
    """Deploys, and now and then a pause or a resumption."""
    seeds: int
    patience: float
    """Seconds until it must be done."""
    longest_stall: float
    """Seconds for which a worker hangs at most."""


FULL, SHORT = Size(60, 2000, 900, 27), Size(15, 200, 150, 3)


class Author:
    """Writes a flow and changes it at random, in few words, so that what was comes back."""

    def __init__(self, dice: random.Random):
        self.dice = dice
        self.nodes: dict[str, dict[str, Any]] = {}
        for _ in range(4):
            self.add()

    def text(self) -> str:
        """The flow file."""
        first = {"s": {"type": "start"}, "find": {"type": "find", "from": ["s"]}}
        return json.dumps({"flow": FLOW, "nodes": first | dict(sorted(self.nodes.items()))}, indent=1)

    def add(self) -> None:
        """A node more, where there is a name for it."""
        free = [name for name in (*FIRST, *SECOND, *THIRD) if name not in self.nodes and self._feeds(name)]
        if free:
            name = self.dice.choice(free)
            self.nodes[name] = {"type": self.dice.choice(KINDS[name[0]]), "from": self._sources(name), "word": "red"}

    def drop(self) -> None:
        """A node less; what only it fed is fed by another, or goes as well."""
        gone = self.dice.choice(list(self.nodes))
        if gone in FIRST and len(self.nodes.keys() & set(FIRST)) == 1:
            return
        del self.nodes[gone]
        for name, node in self.nodes.items():
            node["from"] = [source for source in node["from"] if source != gone] or self._sources(name)

    def retype(self) -> None:
        """A node of the same name and another type."""
        name = self.dice.choice(list(self.nodes))
        first, second = KINDS[name[0]]
        self.nodes[name]["type"] = second if self.nodes[name]["type"] == first else first

    def repoint(self) -> None:
        """A node that is fed by others."""
        name = self.dice.choice(list(self.nodes))
        self.nodes[name]["from"] = self._sources(name)

    def shape(self) -> None:
        """A setting that gives a node another recipe, or one that it had."""
        self.dice.choice(list(self.nodes.values()))["word"] = self.dice.choice(["red", "green", "blue"])

    def tune(self) -> None:
        """A setting that recomputes nothing."""
        node = self.dice.choice(list(self.nodes.values()))
        node["concurrency"] = self.dice.choice([2, 16, 64])
        node["slow"] = self.dice.choice([0.0, 0.002, 0.01])

    def _feeds(self, name: str) -> list[str]:
        below = {"g": ("find",), "t": FIRST, "u": (*FIRST, *SECOND)}[name[0]]
        return [source for source in below if source == "find" or source in self.nodes]

    def _sources(self, name: str) -> list[str]:
        there = self._feeds(name)
        return self.dice.sample(there, min(len(there), self.dice.randint(1, 2)))


class Rewirer:
    """Changes the flow while it works."""

    CHANGES = ("add", "drop", "retype", "repoint", "shape", "tune", "add", "repoint", "shape")
    OTHERS = ("pause", "resume", "reset", "rm", "stall", "same")

    def __init__(self, nc: Client, hands: Hands, size: Size, dice: random.Random):
        self.nc, self.hands, self.size, self.dice = nc, hands, size, dice
        self.author, self.done = Author(dice), Counter[str]()

    async def run(self) -> None:
        """All of it; every node works in the end."""
        await put(self.nc, self.author.text())
        for turn in range(self.size.changes):
            one, all_of_them = turn * self.size.seeds, self.size.changes
            await sow(self.nc, names(one // all_of_them, (one + self.size.seeds) // all_of_them))
            what = self.dice.choice(self.CHANGES if self.dice.random() < 0.7 else self.OTHERS)
            await (self._other(what) if what in self.OTHERS else self._change(what))
            self.done[what] += 1
            await asyncio.sleep(self.dice.choice([0, 0, 0.05, 0.3, 1.5]))
        await put(self.nc, self.author.text())
        await resume(self.nc, FLOW)

    async def _change(self, what: str) -> None:
        getattr(self.author, what)()
        await put(self.nc, self.author.text())

    async def _other(self, what: str) -> None:
        record = (await load(self.nc, FLOW)).record
        assert record
        some = tuple(self.dice.sample(sorted(record.nodes), 2))
        if what == "pause":
            await pause(self.nc, FLOW, some)
        elif what == "resume":
            await resume(self.nc, FLOW)
        elif what == "reset":
            await put(self.nc, self.author.text(), reset=some)
        elif what == "rm":
            await remove(self.nc, FLOW)
            await asyncio.sleep(self.dice.choice([0, 0.5]))
            await put(self.nc, self.author.text())
        elif what == "stall":
            with self.hands.stopped(self.dice.randrange(len(TEAM))):
                await self._change("shape")
                await asyncio.sleep(self.dice.uniform(0.2, self.size.longest_stall))
        else:
            await put(self.nc, self.author.text())


def names(first: int, last: int) -> list[str]:
    """Seeds."""
    return [f"s{n}" for n in range(first, last)]


async def rewired(folder: Path, size: Size, dice: random.Random) -> tuple[dict[str, str], str, dict[str, Any]]:
    """What a flow has given after all its changes, its last form, and figures."""
    started = time.monotonic()
    with start_nats(folder) as server, Hands(server.url, folder) as hands:
        async with instance(server.url, folder) as bus:
            hands.start(*TEAM)
            rewirer = Rewirer(bus.nc, hands, size, dice)
            await rewirer.run()
            changing = time.monotonic() - started
            await quiet(bus.nc, size.patience)
            left = await leftovers(bus.nc)
            assert not left, left
            state = (await bus.nc.jetstream().stream_info(subjects.stream(FLOW))).state
            done = rewirer.done
            deploys = sum(done.values()) - done["pause"] - done["resume"]
            what = ", ".join(f"{count} {name}" for name, count in sorted(done.items()) if count)
            seen = {"deploys": deploys, "changes": what, "messages stored": state.messages}
            return await outcome(bus.nc), rewirer.author.text(), seen | {"s of changes": changing, "s": since(started)}


async def alone(folder: Path, text: str, size: Size) -> tuple[dict[str, str], float]:
    """What a flow gives that is deployed once, before anything is published, and the seconds that it took."""
    started = time.monotonic()
    with start_nats(folder) as server, Hands(server.url, folder) as hands:
        async with instance(server.url, folder) as bus:
            hands.start(*TEAM)
            await put(bus.nc, text)
            await sow(bus.nc, names(0, size.seeds))
            await quiet(bus.nc, size.patience)
            return await outcome(bus.nc), since(started)


def since(started: float) -> float:
    """Seconds."""
    return time.monotonic() - started


async def run(folder: Path, seed: int, size: Size) -> dict[str, Any]:
    """The test; its figures. Raises AssertionError where the two differ or anything is left over."""
    for name in ("rewired", "alone"):
        (folder / name).mkdir()
    found, text, seen = await rewired(folder / "rewired", size, random.Random(seed))
    wanted, seconds = await alone(folder / "alone", text, size)
    lost, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    assert not lost, f"{len(lost)} of {len(wanted)} outputs lost, such as {lost[:5]}\n{text}"
    assert not more, f"{len(more)} outputs too many, such as {more[:5]}\n{text}"
    other = [subject for subject in wanted if wanted[subject] != found[subject]]
    assert not other, f"{len(other)} outputs say something else, such as {other[:5]}"
    return {**seen, "outputs": len(wanted), "s alone": seconds}


def main() -> None:
    """Entry point."""
    asked = figures.arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(run(Path(folder), asked.seed, SHORT if asked.short else FULL))
    figures.keep("rewire", asked.seed, seen)


if __name__ == "__main__":
    main()
