"""An event loop in a thread of its own, for all that must go on while a debugger holds the main thread.

The connection, heartbeats, leases and publishing live there; the node's own code runs in the main thread, where
`breakpoint()` finds the terminal. Held for hours, a message is still ours, and the server still knows us.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from lodestream.job import Job
from lodestream.leases import Hold, Leases
from lodestream.node import Node, Output
from proto.messages import Message

T = TypeVar("T")
Work = Coroutine[Any, Any, T]
Parked = Callable[[], AbstractAsyncContextManager[None]]


class Beside:
    """The other loop; `with` starts and ends its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="engine", daemon=True)

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(_end_all(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def call(self, work: "Work[T]") -> T:
        """What a coroutine gives there; cancelling this cancels it."""
        return await within(self.loop, work)


async def within(loop: asyncio.AbstractEventLoop, work: "Work[T]") -> T:
    """What a coroutine gives in another thread's loop. Raises what it raises."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class FarLeases:
    """Leases that are held and renewed in another loop than the one that asks for them."""

    def __init__(self, beside: Beside, leases: Leases):
        self._beside, self._leases = beside, leases

    @asynccontextmanager
    async def hold(self, kind: str, name: str, parked: Parked = nullcontext) -> AsyncIterator[Hold]:
        """See Leases; who waits keeps its place, for there is but one."""
        async with self._held(lambda: self._leases.hold(kind, name)) as hold:
            yield Hold(hold.waited, lambda: self._beside.call(_confirmed(hold)))

    @asynccontextmanager
    async def slot(self, kind: str, name: str, count: int, parked: Parked = nullcontext) -> AsyncIterator[None]:
        """See Leases."""
        async with self._held(lambda: self._leases.slot(kind, name, count)):
            yield

    @asynccontextmanager
    async def _held(self, lease: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[T] = loop.create_future()
        leave = asyncio.Event()

        async def keep() -> None:
            async with lease() as got:
                loop.call_soon_threadsafe(taken.set_result, got)
                await leave.wait()

        keeping: asyncio.Future[Any] = asyncio.ensure_future(self._beside.call(keep()))
        await asyncio.wait([keeping, asyncio.ensure_future(taken)], return_when=asyncio.FIRST_COMPLETED)
        if not taken.done():
            keeping.result()
        try:
            yield taken.result()
        finally:
            self._beside.loop.call_soon_threadsafe(leave.set)
            await keeping


async def _confirmed(hold: Hold) -> bool:
    return await hold.confirm()


async def _end_all() -> None:
    """Cancel what still runs in this loop, and see it end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def brought_home(node: Node, home: asyncio.AbstractEventLoop) -> Node:
    """The node type with its own code run in loop `home`, whichever loop asks for it."""

    async def handler(message: Any, job: Job) -> AsyncIterator[Output]:
        loop = asyncio.get_running_loop()
        outputs: asyncio.Queue[Output | None] = asyncio.Queue()

        async def work() -> None:
            try:
                async for output in node.handler(message, job):
                    loop.call_soon_threadsafe(outputs.put_nowait, output)
            finally:
                loop.call_soon_threadsafe(outputs.put_nowait, None)

        working = asyncio.ensure_future(within(home, work()))
        try:
            while (output := await outputs.get()) is not None:
                yield output
            await working
        finally:
            working.cancel()

    async def settle(message: Message, job: Job) -> None:
        if node.settle:
            await within(home, _settle(message, job))

    async def _settle(message: Message, job: Job) -> None:
        if node.settle:
            await node.settle(message, job)

    return replace(node, handler=handler, settle=settle if node.settle else None)
