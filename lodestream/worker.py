"""A worker: one process that serves every node of one type, in every deployed flow.

`python -m lodestream.worker <type>`; more of them are more hands on the same consumers.
"""

import lodestream.lean  # isort: skip  # noqa: F401
import asyncio
import gc
import os
import shutil
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from lodestream.bus import Bus, Publisher, Puller
from lodestream.errors import LodeError
from lodestream.flow.model import Consumer, Deployed, DeployedNode
from lodestream.flows import Newest, watch_flows
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.micro import WorkerService
from lodestream.node import Node
from lodestream.objects import open_objects
from lodestream.process import Process
from lodestream.progress import report
from lodestream.registry import node_types
from lodestream.runner import Fate, Runner
from lodestream.unclaimed import refuse_unclaimed
from proto import subjects

log = structlog.get_logger()

GRACE = 10.0
"""Seconds that a worker told to stop has for what it has in hand; the rest is handed back."""

FRESH = 5.0
"""Seconds for which a record is served without a look whether a newer one is deployed."""


@dataclass
class Serving:
    """One consumer of one node in this worker's hands."""

    node: DeployedNode
    runner: Runner
    puller: Puller


class Worker:
    """Serves the nodes of one type, as the deployed flows have them at the moment."""

    def __init__(self, bus: Bus, declaration: Node, parts: Parts, state: Any, publisher: Publisher):
        self.bus, self.declaration, self.parts, self.state, self.publisher = bus, declaration, parts, state, publisher
        self.serving: dict[Consumer, Serving] = {}
        self._newest = Newest(bus)

    def runners(self) -> list[Runner]:
        """One for each consumer that is served."""
        return [serving.runner for serving in self.serving.values()]

    async def apply(self, flows: dict[str, Deployed]) -> None:
        """Serve what the flows say, no more and no less; what did not change is not touched."""
        wanted = {
            consumer: (flow, flow.nodes[consumer.node])
            for flow in flows.values()
            for consumer in flow.consumers()
            if flow.nodes[consumer.node].type == self.declaration.type and not flow.nodes[consumer.node].paused
        }
        stale = [c for c, s in self.serving.items() if c not in wanted or wanted[c][1] != s.node]
        await asyncio.gather(*(self._drop(consumer) for consumer in stale))
        for consumer, (flow, node) in wanted.items():
            if consumer not in self.serving:
                await self._take_up(consumer, flow, node)

    async def stop(self) -> None:
        """Finish what is in hand, hand back the rest."""
        await asyncio.gather(*(self._drop(consumer) for consumer in list(self.serving)))

    async def _take_up(self, consumer: Consumer, flow: Deployed, node: DeployedNode) -> None:
        try:
            settings = self.declaration.read_settings(node.settings)
        except msgspec.ValidationError as error:
            log.error("cannot serve", flow=flow.flow, node=consumer.node, error=str(error))
            return
        if node.revised(self.declaration, settings):
            log.error("node type was revised; deploy the flow again", flow=flow.flow, node=consumer.node)
            return
        runner = Runner(
            flow.flow,
            consumer.node,
            self.declaration,
            settings,
            self.parts,
            self.state,
            self.publisher,
            partial(self._judge, flow.flow, consumer.node, node),
        )
        puller = Puller(
            self.bus,
            subjects.next_message(consumer.stream, consumer.durable),
            runner.handle,
            window=settings.concurrency or self.declaration.concurrency,
        )
        self.serving[consumer] = Serving(node, runner, await puller.start())
        log.debug("serving", flow=flow.flow, node=consumer.node, consumer=consumer.durable)

    async def _judge(self, flow: str, name: str, node: DeployedNode, subject: str, recipe: str, seq: int) -> Fate:
        """What becomes of an input of a node; nothing is passed over, and nothing done, by a record that is old."""
        accepted = node.accepts(subject, recipe, seq)
        if accepted and self._newest.age < FRESH:
            return "work"
        try:
            newest = (await self._newest.flows()).get(flow)
        except TimeoutError:
            return "later"
        if newest is None or newest.nodes.get(name) != node:
            return "later"
        return "work" if accepted else "skip"

    async def _drop(self, consumer: Consumer) -> None:
        serving = self.serving.pop(consumer)
        await serving.puller.stop(GRACE)


async def serve(node_type: str, process: Process) -> None:
    """Serve until SIGTERM or SIGINT."""
    declaration = node_types()[node_type]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        bus = await process.connect(node_type)
        stack.push_async_callback(bus.close)
        publisher = await Publisher(bus).start()
        stack.push_async_callback(publisher.stop)
        leases = NatsLeases(bus)
        stack.push_async_callback(leases.close)
        folder = own_folder(process.work, node_type)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        parts = Parts(open_objects(process.objects, folder), leases, folder, log)
        state = await stack.enter_async_context(declaration.open(parts)) if declaration.open else None
        worker = Worker(bus, declaration, parts, state, publisher)
        service = WorkerService(bus, node_type, declaration.summary, worker.runners)
        await service.start()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(watch_flows(bus, worker.apply)),
            asyncio.create_task(report(bus, worker.runners)),
        ]
        if not declaration.takes:
            tasks.append(asyncio.create_task(refuse_unclaimed(bus, publisher, node_type)))
        gc.freeze()  # what is there now stays: look only through what comes, and less often
        gc.set_threshold(20_000, 50, 50)
        await _until(stop, tasks)
        await worker.stop()


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for `stop`, or raise what ended one of the tasks."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task not in done:
            task.cancel()
    for task in done - {waiting}:
        task.result()


def own_folder(work: Path, node_type: str) -> Path:
    """A fresh folder for this process's temporary files; what dead workers of its type left is removed."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob(f"{node_type}-*"):
            if not Path(f"/proc/{left.name.rpartition('-')[2]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        mine = work / f"{node_type}-{os.getpid()}"
        mine.mkdir(exist_ok=True)
    except OSError as error:
        raise LodeError(f"cannot write to {work}: {error.strerror}") from None
    return mine


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    types = node_types()
    if len(sys.argv) != 2 or sys.argv[1] not in types:
        sys.exit(f"usage: python -m lodestream.worker TYPE, which is one of: {', '.join(sorted(types))}")
    try:
        uvloop.run(serve(sys.argv[1], Process.from_env()))
    except LodeError as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
