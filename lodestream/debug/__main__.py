"""A worker under a debugger: `python -m lodestream.debug TYPE [FLOW] [NODE]`; `LODE_DEBUG=1 lode run` starts it."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog

from lodestream.bus import Bus, Publisher
from lodestream.debug.beside import Beside, FarLeases, brought_home
from lodestream.debug.onebyone import OneByOne
from lodestream.debug.screen import say
from lodestream.debug.showing import showing
from lodestream.errors import LodeError
from lodestream.flow.model import Consumer, Deployed, DeployedNode
from lodestream.flows import deployed_flows, watch_flows
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.node import Node
from lodestream.objects import open_objects
from lodestream.process import Process
from lodestream.registry import node_types
from lodestream.runner import Runner
from lodestream.worker import Worker
from lodestream.workfolder import own_folder

log = structlog.get_logger()


class OneWorker(Worker):
    """Serves one message at a time, of one flow or node where they are named."""

    flow = node = ""

    async def _take_up(self, consumer: Consumer, flow: Deployed, node: DeployedNode) -> None:
        if self.flow in ("", flow.flow) and self.node in ("", consumer.node):
            await super()._take_up(consumer, flow, node)


async def debug(node_type: str, process: Process, flow: str, node: str) -> None:
    """Serve until told to stop: the node's code here, all else in a thread beside it. Raises LodeError."""
    declaration, home, stop = node_types()[node_type], asyncio.get_running_loop(), asyncio.Event()
    home.add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        beside = stack.enter_context(Beside())
        bus = await beside.call(process.connect(node_type))
        stack.push_async_callback(lambda: beside.call(bus.close()))
        _check(await beside.call(deployed_flows(bus)), node_type, flow, node)
        leases = NatsLeases(bus)
        stack.push_async_callback(lambda: beside.call(leases.close()))
        folder = stack.enter_context(own_folder(process.work, node_type))
        objects, far = open_objects(process.objects, folder), FarLeases(beside, leases)
        parts = Parts(objects, far, folder, log, triton=process.triton, models=process.models)
        state = await stack.enter_async_context(declaration.open(parts)) if declaration.open else None
        end = partial(home.call_soon_threadsafe, stop.set)
        engine = _engine(bus, brought_home(declaration, home), parts, state, showing(home, end), (flow, node))
        await _until(stop, asyncio.ensure_future(beside.call(engine)))


def _check(flows: dict[str, Deployed], node_type: str, flow: str, node: str) -> None:
    """Raises LodeError where no deployed node is meant."""
    if flow and flow not in flows:
        raise LodeError(f"no flow {flow!r} is deployed; deployed: {', '.join(sorted(flows)) or 'none'}")
    there = {
        name for one in flows.values() if flow in ("", one.flow) for name, n in one.nodes.items() if n.type == node_type
    }
    if not there or (node and node not in there):
        raise LodeError(
            f"no node {node!r} of type {node_type} is deployed; deployed: {', '.join(sorted(there)) or 'none'}"
        )


async def _until(stop: asyncio.Event, serving: "asyncio.Future[None]") -> None:
    """Wait for `stop`, or for what ended the engine, which is then over."""
    stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not serving.done():
            serving.cancel()
        await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


async def _engine(
    bus: Bus, node: Node, parts: Parts, state: Any, runner: Callable[..., Runner], only: tuple[str, str]
) -> None:
    """All that a worker does but the node's own code; runs until cancelled."""
    publisher = await Publisher(bus).start()
    worker = OneWorker(bus, node, parts, state, publisher)
    worker.flow, worker.node = only
    worker.runner, worker.puller = runner, partial(OneByOne, turn=asyncio.Lock())
    known = asyncio.Event()
    following = asyncio.create_task(parts.forgotten.follow(bus, parts.objects, known.set))
    try:
        await known.wait()
        say(f"A debugged worker of {node.type}: one message at a time. Ctrl-C ends it.")
        await watch_flows(bus, worker.apply)
    finally:
        following.cancel()
        await worker.stop()
        await publisher.stop()


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    node_type, flow, node = [*sys.argv[1:], "", "", ""][:3]
    try:
        asyncio.run(debug(node_type, Process.from_env(), flow, node))
    except LodeError as error:
        sys.exit(f"{node_type}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
