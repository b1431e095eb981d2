"""`lode demo`: the main job on embedded parts, from published seeds to an outcome that is checked."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from lodestream.bus import Bus
from lodestream.catalog import Answer, Ways, sql
from lodestream.cli.instance import operator
from lodestream.cli.wait import Meanwhile
from lodestream.demo import pages, report
from lodestream.demo.expect import differences, expected, found
from lodestream.demo.sheet import Still, contact_sheet
from lodestream.demo.site import Site, serve
from lodestream.errors import LodeError
from lodestream.flow.consumers import last_sequence
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.local import Home, down, read_state, up
from lodestream.models import standins
from lodestream.models.shelf import Shelf
from lodestream.objects import open_objects
from lodestream.status import FlowStatus, add_details
from proto import subjects

NAME = "demo"
LIMIT = 180.0
"""Seconds until the flow must be idle."""
FLOW = """\
# What `lode demo` deploys. allow_hosts: its own site, and no other private address.
flow: demo
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{site}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{site}"]}}
  frames: {{type: extract, from: get, every: 1s}}
  good:
    type: filter
    from: frames
    min_brightness: 40
    keep: ["a red ball", "a yellow ball"]
    drop: ["a blue square"]
    model: standin-siglip2
  new:    {{type: dedup, from: good.kept, model: standin-dinov3}}
  boxes:
    type: detect
    from: new.unique
    labels: ["red ball", "yellow ball"]
    model: standin-grounding-dino
"""
MODELS = ("standin-siglip2", "standin-dinov3", "standin-grounding-dino")
"""Small models that the demo makes itself; a real one is another name in the flow."""
_STILLS = """select f.shard_key, f.byte_offset, f.byte_length, f.time_ms, regexp_replace(url, '^https?://[^/]*', ''),
        case when f.damaged then 'damaged' when u.frame_id is not null then 'new'
            when r.frame_id is not null then 'a duplicate' else coalesce(d.reason, '') end,
        list({'corners': [b.x1, b.y1, b.x2, b.y2], 'label': b.label, 'score': b.score}) filter (b.label is not null)
    from frames f join media using (flow, media_id) left join dropped d using (flow, frame_id)
    left join uniques u using (flow, frame_id) left join duplicates r using (flow, frame_id)
    left join boxes b using (flow, frame_id) where flow = 'demo' group by all order by f.time_ms"""


async def demo() -> int:
    """Run it in this environment's instance; 0 where the outcome is what the site must give. Raises LodeError."""
    home, began = Home.find(), time.monotonic()
    with running(home) as was_up:
        async with serve(home.root / "demo") as site, operator() as bus:
            report.say(
                f"site      {site.base}: {len(pages.CLIPS) + 1} videos encoded on the spot, and the web's usual mishaps"
            )
            status = await Demo(home, site, bus, began).run()
    report.what_next(was_up)
    return status


@contextmanager
def running(home: Home) -> Iterator[bool]:
    """An instance in `home`: the one that is up (True), else one for as long as the block lasts."""
    while (state := read_state(home)) and not state.ready:
        time.sleep(0.1)  # it starts, or it stops: after a demo that was killed
    if state:
        report.say(f"instance  {home.root}, which is up")
        yield True
        return
    report.say(f"instance  {home.root}, for as long as the demo lasts")
    up(home, detach=True, bound=True)
    try:
        yield False
    finally:
        down(home)


def seeds(site: Site) -> list[bytes]:
    """What is published: a seed in every form, and one that is none."""
    listed = ("/videos/", "/toys/")
    others = [path for path in pages.CLIPS if path.startswith(listed) and path not in (pages.PLAIN, pages.ORIGINAL)]
    lines = [*others, pages.TRACKED, pages.COPY, pages.FAKE, pages.GONE]
    return [
        msgspec.json.encode({"kind": "url", "value": site.url(pages.PLAIN), "labels": {"from": "demo"}}),
        site.url(pages.ORIGINAL).encode(),
        pages.NO_SEED.encode(),
        msgspec.json.encode({"kind": "feed", "value": site.url(pages.FEED)}),
        site.url(pages.PAGE).encode(),
        site.url(pages.PLAYLIST).encode(),
        "\n".join(["# one a line", *map(site.url, lines)]).encode(),
    ]


class Demo:
    """One run on a running instance."""

    def __init__(self, home: Home, site: Site, bus: Bus, began: float):
        self.home, self.site, self.bus, self.began = home, site, bus, began
        self.folder = home.root / "demo"

    async def run(self) -> int:
        """Everything in order; the exit status."""
        was_whole, known = await self.is_whole(), await self.stored()
        await self.make_models()
        await self.deploy()
        await self.publish()
        flow = await self.settle()
        wrong = differences(expected(), await found(self.rows, self.site.base))
        added = await self.stored() - known
        if was_whole and (added or self.site.hits):
            wrong.append(f"nothing new expected; {added} messages added, {self.site.sent} bytes downloaded")
        await self.show(flow)
        report.verdict(wrong, added, known, self.site, time.monotonic() - self.began)
        return 1 if wrong else 0

    async def make_models(self) -> None:
        """Put the stand-ins into the models folder, those aside that are there."""
        there = {card.name for card in Shelf(self.home.models).cards()}
        for name in sorted(set(MODELS) - there):
            await asyncio.to_thread(standins.install, name, self.home.models)
        report.say(f"models    {', '.join(MODELS)}: small ones, made here")

    async def is_whole(self) -> bool:
        """Whether an earlier run has brought everything to its end."""
        return bool(await self.stored()) and not differences(expected(), await found(self.rows, self.site.base))

    async def stored(self) -> int:
        """Outputs that the flow's stream has been given so far."""
        return await last_sequence(self.bus.nc, subjects.stream(NAME))

    async def deploy(self) -> None:
        """Write the flow file, for people to look at, and deploy it."""
        file = self.folder / "demo.yaml"
        file.write_text(FLOW.format(site=self.site.address))
        flow, problems = lint(file.read_text())
        if flow is None:
            raise LodeError("; ".join(problem.show(str(file)) for problem in problems))
        await deploy(self.bus.nc, flow)
        report.say(f"flow      {file}: {' -> '.join(flow.nodes)}")

    async def publish(self) -> None:
        """Publish the seeds, as anybody's NATS client would."""
        payloads = seeds(self.site)
        for payload in payloads:
            await self.bus.nc.jetstream().publish(subjects.seeds(NAME), payload)
        report.say(f"seeds     {len(payloads)} messages on {subjects.seeds(NAME)}, one of them malformed on purpose")

    async def published(self) -> int:
        """Seeds published so far, whatever became of them."""
        subject = subjects.seeds(NAME)
        info = await self.bus.nc.jetstream().stream_info(subjects.SEEDS, subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0)

    async def settle(self) -> FlowStatus:
        """Wait until the flow is idle, showing how it goes."""
        with Meanwhile(time.monotonic()) as meanwhile:
            async for now in until_idle(self.bus, NAME, LIMIT):
                await add_details(self.bus, [now])
                meanwhile.show(now)
        return now

    async def show(self, flow: FlowStatus) -> None:
        """Print what came of it, and draw the contact sheet."""
        waiting = {node.name: node.waiting + node.in_flight for node in flow.nodes}
        report.nodes((await self.ask(report.NODES)).objects(), await self.published(), waiting)
        report.unique((await self.ask(report.UNIQUE)).objects()[0])
        for query in report.QUERIES:
            report.answer(query, await self.ask(query))
        report.say(f"contact sheet: {await self.draw()}\n")

    async def draw(self) -> Path:
        """Write the contact sheet; its path."""
        stills = [Still.of(*row) for row in await self.rows(_STILLS)]
        sheet, videos = self.folder / "contact-sheet.png", len({still.source for still in stills})
        new = sum(still.said == "new" for still in stills)
        title = f"Lodestream demo: {len(stills)} frames of {videos} videos, {new} of them wanted and new"
        await contact_sheet(open_objects(self.home.objects.as_uri()), stills, title, sheet)
        return sheet

    async def ask(self, query: str) -> Answer:
        """What the catalog answers."""
        return await sql(query, Ways(self.bus.nc, self.home.catalog))

    async def rows(self, query: str) -> list[list[Any]]:
        """The rows of the catalog's answer."""
        return (await self.ask(query)).rows
