"""One node of one flow on a real server, without a worker process around it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from nats.js import api

from lodestream.bus import Bus, Publisher, Puller, connect
from lodestream.job import Parts
from lodestream.node import Handler, Node, Settings
from lodestream.objects import Objects, open_objects
from lodestream.runner import Fate, Runner
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import Candidate, Media, Message, decode_any, encode

SOURCE = ("x", "source")
"""Type and name of the node whose outputs the node under test takes."""


def declare(handler: Handler, **more: Any) -> Node:
    """A node type `probe` that takes candidates and gives media."""
    fields: dict[str, Any] = {"takes": (Candidate,), "gives": {"media": Media}, "settings": Settings, "memo": True}
    return Node(type="probe", summary="For tests.", handler=handler, **(fields | more))


def candidate(number: int, **more: Any) -> Candidate:
    """A video somebody might want."""
    return Candidate(
        id=f"web-{number}", url=f"https://example.org/{number}.mp4", source="example.org", seed="s", **more
    )


def media(message: Candidate, key: str = "") -> Media:
    """What a fetch would give for it."""
    facts: dict[str, Any] = {"sha256": "0", "bytes": 1, "container": "mp4", "codec": "h264", "width": 1, "height": 1}
    return Media(id=message.id, url=message.url, source=message.source, object_key=key, **facts)


@dataclass
class Bench:
    """A flow's stream with one consumer, and the parts that a runner needs."""

    bus: Bus
    publisher: Publisher
    objects: Objects
    folder: Path
    flow: str = "t"
    pullers: list[Puller] = field(default_factory=list)

    async def offer(self, *messages: Message) -> None:
        """Publish inputs, as the node before would."""
        for message in messages:
            await self.publisher.publish(subjects.output(self.flow, *SOURCE, "out", message.id), encode(message))

    async def run(
        self,
        node: Node,
        *,
        fate: Callable[[str], Fate] = lambda subject: "work",
        **options: Any,
    ) -> Runner:
        """Serve the node."""
        parts = Parts(self.objects, None, self.folder, structlog.get_logger())  # type: ignore[arg-type]
        settings = node.settings()

        async def judge(subject: str, recipe: str, seq: int) -> Fate:
            return fate(subject)

        async def stands() -> bool:
            return True

        runner = Runner(self.flow, "mine", node, settings, parts, None, self.publisher, judge, stands)
        stream = subjects.stream(self.flow)
        options = {"window": 8, **options}
        puller = Puller(self.bus, subjects.next_message(stream, "probe-1"), runner.handle, **options)
        self.pullers.append(await puller.start())
        return runner

    async def stored(self, pattern: str = "flow.*.probe.>", stream: str = "") -> dict[str, Message]:
        """The messages of the flow's stream (or another) whose subject fits, by subject."""
        js = self.bus.nc.jetstream()
        name = stream or subjects.stream(self.flow)
        info = await js.stream_info(name, subjects_filter=pattern)
        return {s: decode_any((await js.get_last_msg(name, s)).data or b"") for s in info.state.subjects or {}}

    async def pending(self) -> int:
        """Inputs not yet acked."""
        info = await self.bus.nc.jetstream().consumer_info(subjects.stream(self.flow), "probe-1")
        return (info.num_pending or 0) + (info.num_ack_pending or 0)


@asynccontextmanager
async def bench(
    url: str, folder: Path, *, flow: str = "t", ack_wait: float = 30, **limits: Any
) -> AsyncIterator[Bench]:
    """A bench on a running server; `limits` go into the configuration of the flow's stream."""
    bus = await connect(url, patience=10)
    publisher = await Publisher(bus).start()
    await ensure_streams(bus.nc)
    js = bus.nc.jetstream()
    await js.add_stream(
        api.StreamConfig(
            name=subjects.stream(flow),
            subjects=[subjects.everything(flow)],
            max_msgs_per_subject=1,
            discard=api.DiscardPolicy.NEW,
            discard_new_per_subject=True,
            allow_direct=True,
            **limits,
        )
    )
    await js.add_consumer(
        subjects.stream(flow),
        name="probe-1",
        durable_name="probe-1",
        filter_subjects=[subjects.wire(flow, *SOURCE, "out"), subjects.wire(flow, "probe", "mine", subjects.AGAIN)],
        ack_wait=ack_wait,
        max_ack_pending=1000,
    )
    made = Bench(bus, publisher, open_objects(f"file://{folder / 'objects'}"), folder, flow)
    try:
        yield made
    finally:
        for puller in made.pullers:
            await puller.stop(grace=1)
        await publisher.stop()
        await bus.close()


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Wait until `check` holds; fails the test when it never does."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)
