"""Seeing: what looks at frames, and Triton, are killed with -9 all the time while they work through one mined site.

The site is mined once. Then two copies of that instance look at the same frames, in the same order, one of them under
kills: they must say the same of every frame, to the row. `python -m tests.faults.seeing --seed 1 [--short] [--write]`
"""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from lodestream.bus import Bus
from lodestream.flow.consumers import last_sequence
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.local import Home
from lodestream.models import standins
from proto import keys, subjects
from tests.faults import kill
from tests.faults.figures import arguments, keep
from tests.faults.harvest import Harvest, differences, reap
from tests.faults.instance import Instance
from tests.faults.kill import NAME, Run, until_rest
from tests.faults.powercut import watched
from tests.faults.smallsite import SmallSite, small_site
from tests.faults.strikes import SEEING, Killer, plan

LOOKING = """
  sharp: {type: filter, from: frames, min_sharpness: 5, min_brightness: 70}
  new:   {type: dedup, from: frames, model: standin-dinov3, threshold: 0.8}
  good:  {type: filter, from: new.unique, keep: ["a ball"], drop: ["a blue square"], model: standin-siglip2}
  boxes: {type: detect, from: good.kept, labels: ["ball", "square"], model: standin-grounding-dino, threshold: 0.2}
"""
MODELS = ("standin-siglip2", "standin-dinov3", "standin-grounding-dino")
LONG, SHORT = (200, 40), (16, 6)
"""Videos and kills."""
ACK_WAIT = 8.0
QUIET_S, KILL_S = 300.0, 60.0
"""Seconds that a run may take without kills, and for each kill on top."""
TABLES = ("main.kept_shards", "main.unique_shards", "main.boxed_shards")


class Looking:
    """One copy of the mined instance, and what its nodes say of the frames."""

    def __init__(self, target: Instance, site: SmallSite):
        self.target, self.site = target, site
        self.seconds, self.before, self.messages = 0.0, 0, 0
        self.killed: Counter[str] = Counter()

    async def run(self, seed: int, kills: int, messages: int) -> None:
        """Deploy, and wait until every frame was looked at; with `kills`, under so many.

        `messages` is what the stream has in the end. Raises LodeError where it comes to none.
        """
        await asyncio.to_thread(self.target.start)
        bus = await self.target.connect()
        began = time.monotonic()
        async with watched(self.target.home.nats) as disk:
            self.before = await last_sequence(bus.nc, subjects.stream(NAME))
            killer = Killer(self.target, NAME, bus, disk, messages, partial(self._deploy, bus))
            await killer.deploy()
            strikes = plan(seed, kills, SEEING, self.before / messages) if kills else []
            killing = asyncio.create_task(killer.run(strikes))
            try:
                await until_rest(bus, QUIET_S + KILL_S * kills, killing)
                await asyncio.wait_for(killing, QUIET_S)
                await until_rest(bus, QUIET_S, killing)
            finally:
                killing.cancel()
            self.killed = killer.killed
            self.messages = await last_sequence(bus.nc, subjects.stream(NAME))
        self.seconds = time.monotonic() - began
        await bus.close()
        await asyncio.to_thread(self.target.stop)

    async def _deploy(self, bus: Bus) -> None:
        flow, problems = lint(kill.FLOW.format(host=self.site.base.removeprefix("http://")) + LOOKING)
        assert flow, problems
        await deploy(bus.nc, flow)
        await self.target.hasten(bus, NAME)


async def run(seed: int, videos: int, kills: int) -> tuple[dict[str, Any], list[str]]:
    """Figures of a run under kills and one without, and what is wrong with the first, in words."""
    with tempfile.TemporaryDirectory(prefix="lode") as name:
        folder = Path(name)
        async with small_site(videos) as site:
            await _mine(folder / "mined", site)
            wanted, quiet = await _look(folder, "quiet", site, seed, 0, 1)
            got, under = await _look(folder, "killed", site, seed, kills, quiet.messages)
    return _figures(quiet, under, wanted, got), differences(wanted, got) + _empty(wanted)


async def _mine(folder: Path, site: SmallSite) -> None:
    """An instance that has the site's shards, stopped."""
    with kill.instance(folder, False, ACK_WAIT) as target:
        for model in MODELS:
            await asyncio.to_thread(standins.install, model, target.home.models)
        await Run(target, site).mine([])


async def _look(
    folder: Path, name: str, site: SmallSite, seed: int, kills: int, messages: int
) -> tuple[Harvest, Looking]:
    """A copy of the mined instance looks at its frames; what it has in the end."""
    shutil.copytree(folder / "mined", folder / name, symlinks=True)
    target = Instance(Home(folder / name / "home"), None, ACK_WAIT, sees=True)
    looking = Looking(target, site)
    try:
        await looking.run(seed, kills, messages)
    finally:
        target.kill_all()
    harvest = await reap(target, site.clips())
    for key in [key for key in harvest.objects if key.startswith(keys.LEDGERS)]:
        del harvest.objects[key]  # how a ledger is cut into objects is its own affair
    return harvest, looking


def _empty(wanted: Harvest) -> list[str]:
    """A comparison of nothing with nothing says nothing."""
    return [f"{table} has no rows" for table in TABLES if not wanted.tables[table]]


def _figures(quiet: Looking, under: Looking, wanted: Harvest, got: Harvest) -> dict[str, Any]:
    killed = under.killed
    return {
        "shards": wanted.tables["main.shards"].total(),
        "kills": killed.total(),
        "of": ", ".join(f"{kind} {count}" for kind, count in sorted(killed.items())),
        "messages": under.messages - under.before,
        "dead letters": got.dead - wanted.dead,
        "seconds": round(under.seconds, 1),
        "seconds without kills": round(quiet.seconds, 1),
    }


def main() -> None:
    """Entry point; status 1 where something is wrong."""
    given = arguments(__doc__)
    figures, wrong = asyncio.run(run(given.seed, *(SHORT if given.short else LONG)))
    keep("seeing", given.seed, figures | {"wrong": len(wrong)})
    for what in wrong:
        print(what)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
