"""A worker: one process that serves every node of one type, in every deployed flow.

`python -m lodestream.worker <type>`; more of them are more hands on the same consumers.
"""

import lodestream.lean  # isort: skip  # noqa: F401
import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog
import uvloop

from lodestream.alive import show_alive
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
from lodestream.workfolder import own_folder
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
        self.runner: Callable[..., Runner] = Runner
        self.puller: Callable[..., Any] = Puller
        """What handles messages and what pulls them: others where a person looks on."""
        self.serving: dict[Consumer, Serving] = {}
        self._retiring: dict[asyncio.Task[None], tuple[Consumer, Serving]] = {}
        """What takes nothing more, but has work in hand that is still wanted."""
        self._newest = Newest(bus)

    def runners(self) -> list[Runner]:
        """One for each consumer that is served, and those that finish what they have in hand."""
        return [serving.runner for serving in (*self.serving.values(), *(s for _, s in self._retiring.values()))]

    async def apply(self, flows: dict[str, Deployed]) -> None:
        """Serve what the flows say, no more and no less; what did not change is not touched.

        Work in hand goes on to its end where its consumer stays, whatever else of the node changes.
        """
        there = {
            consumer: (flow, flow.nodes[consumer.node])
            for flow in flows.values()
            for consumer in flow.consumers()
            if flow.nodes[consumer.node].type == self.declaration.type
        }
        wanted = {consumer: of for consumer, of in there.items() if not consumer.paused}
        staying = {_identity(consumer) for consumer in there}
        stale = [c for c, s in self.serving.items() if c not in wanted or wanted[c][1] != s.node]
        gone = [s.puller.finish(GRACE) for c, s in self._retiring.values() if _identity(c) not in staying]
        await asyncio.gather(*gone, *(self._retire(c) if _identity(c) in staying else self._drop(c) for c in stale))
        for consumer, (flow, node) in wanted.items():
            if consumer not in self.serving:
                await self._take_up(consumer, flow, node)

    async def stop(self) -> None:
        """Finish what is in hand, hand back the rest."""
        retiring = [serving.puller.finish(GRACE) for _, serving in self._retiring.values()]
        await asyncio.gather(*retiring, *(self._drop(consumer) for consumer in list(self.serving)))

    async def _take_up(self, consumer: Consumer, flow: Deployed, node: DeployedNode) -> None:
        try:
            settings = self.declaration.read_settings(node.settings)
        except msgspec.ValidationError as error:
            log.error("cannot serve", flow=flow.flow, node=consumer.node, error=str(error))
            return
        if node.revised(self.declaration, settings):
            log.error("node type was revised; deploy the flow again", flow=flow.flow, node=consumer.node)
            return
        runner = self.runner(
            flow.flow,
            consumer.node,
            self.declaration,
            settings,
            self.parts,
            self.state,
            self.publisher,
            partial(self._judge, flow.flow, consumer.node, node),
            partial(self._stands, flow.flow, consumer),
            node.recipes,
        )
        puller = self.puller(
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
        now = newest.nodes.get(name) if newest else None
        if now is None or (now.type, now.since) != (node.type, node.since):
            return "later"
        return "work" if now.accepts(subject, recipe, seq) else "skip"

    async def _stands(self, flow: str, consumer: Consumer) -> bool:
        """Whether a consumer is in the newest record of its flow; False where the server does not answer."""
        try:
            newest = (await self._newest.flows()).get(flow)
        except TimeoutError:
            return False
        return newest is not None and _identity(consumer) in map(_identity, newest.consumers())

    async def _drop(self, consumer: Consumer) -> None:
        serving = self.serving.pop(consumer)
        await serving.puller.stop(GRACE)

    async def _retire(self, consumer: Consumer) -> None:
        """Take nothing more from it, and let what is in hand come to its end."""
        serving = self.serving.pop(consumer)
        await serving.puller.close()
        task = asyncio.create_task(serving.puller.finish(None))
        self._retiring[task] = consumer, serving
        task.add_done_callback(lambda done: self._retiring.pop(done))


def _identity(consumer: Consumer) -> tuple[str, str, str]:
    """What stays the same when filters or settings change: work that came from it can be acked as long as it stands."""
    return consumer.stream, consumer.durable, consumer.since


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
        folder = stack.enter_context(own_folder(process.work, node_type))
        objects = open_objects(process.objects, folder)
        parts = Parts(objects, leases, folder, log, triton=process.triton, models=process.models)
        state = await stack.enter_async_context(declaration.open(parts)) if declaration.open else None
        worker = Worker(bus, declaration, parts, state, publisher)
        service = WorkerService(bus, node_type, declaration.summary, worker.runners)
        await service.start()
        known = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(parts.forgotten.follow(bus, parts.objects, known.set)),
            asyncio.create_task(_serve_flows(bus, worker, known)),
            asyncio.create_task(report(bus, worker.runners)),
            asyncio.create_task(show_alive(folder)),
        ]
        if not declaration.takes:
            tasks.append(asyncio.create_task(refuse_unclaimed(bus, publisher, node_type)))
        gc.freeze()  # what is there now stays: look only through what comes, and less often
        gc.set_threshold(20_000, 50, 50)
        await _until(stop, tasks)
        await worker.stop()


async def _serve_flows(bus: Bus, worker: Worker, known: asyncio.Event) -> None:
    """Serve what is deployed, once it is known what was forgotten."""
    await known.wait()
    await watch_flows(bus, worker.apply)


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for `stop`, or raise what ended one of the tasks."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task not in done:
            task.cancel()
    for task in done - {waiting}:
        task.result()


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
