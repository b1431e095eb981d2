"""The deployed flows as a service sees them: read by direct get, watched by a core subscription that is only a hint."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from math import inf

import msgspec
import structlog
from nats.aio.msg import Msg

from lodestream.bus import Bus
from lodestream.flow import model
from lodestream.flow.model import Deployed
from proto import subjects

log = structlog.get_logger()

ANSWER_TIMEOUT = 5.0
"""Seconds to wait for the server's records."""
LOOK_AGAIN = 30.0
"""Seconds between looks where no hint comes."""


async def deployed_flows(bus: Bus) -> dict[str, Deployed]:
    """Every deployed flow, by name. Raises TimeoutError when the server does not answer."""
    nc, inbox = bus.nc, bus.nc.new_inbox()
    answers = await nc.subscribe(inbox)
    found: dict[str, Deployed] = {}
    try:
        ask = msgspec.json.encode({"multi_last": [subjects.flow_key("*")]})
        await nc.publish(f"{subjects.API}.DIRECT.GET.KV_{subjects.FLOWS_BUCKET}", ask, reply=inbox)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while not _last(msg := await answers.next_msg(timeout=None)):
                if record := _record(msg):
                    found[record.flow] = record
    finally:
        await answers.unsubscribe()
    return found


def _last(msg: Msg) -> bool:
    return (msg.headers or {}).get("Status", "") in ("204", "404")


def _record(msg: Msg) -> Deployed | None:
    if (msg.headers or {}).get("KV-Operation"):
        return None
    try:
        return model.decode(msg.data)
    except msgspec.MsgspecError as error:
        log.error("flow record unreadable", subject=msg.subject, error=str(error))
        return None


class Newest:
    """The deployed flows for many who ask at once: one reading answers all who asked before it began."""

    def __init__(self, bus: Bus):
        self._bus, self._reading = bus, asyncio.Lock()
        self._next: asyncio.Task[dict[str, Deployed]] | None = None
        self._asked = -inf

    @property
    def age(self) -> float:
        """Seconds for which the last answer has been true at least."""
        return asyncio.get_running_loop().time() - self._asked

    async def flows(self) -> dict[str, Deployed]:
        """What is deployed at this moment or later. Raises TimeoutError when the server does not answer."""
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        return await asyncio.shield(self._next)

    async def _read(self) -> dict[str, Deployed]:
        async with self._reading:
            self._next, asked = None, asyncio.get_running_loop().time()
            flows = await deployed_flows(self._bus)
            self._asked = asked
            return flows


async def watch_flows(bus: Bus, apply: Callable[[dict[str, Deployed]], Awaitable[None]]) -> None:
    """Call `apply` with every deployed flow, now and whenever something may have changed; runs until cancelled."""
    changed = asyncio.Event()

    async def hint(_: Msg) -> None:
        changed.set()

    await bus.nc.subscribe(subjects.flow_key("*"), cb=hint)
    while True:
        changed.clear()
        try:
            await apply(await deployed_flows(bus))
        except TimeoutError:
            log.debug("no answer about flows; asking again")
            await asyncio.sleep(0.5)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                await changed.wait()
                await asyncio.sleep(0.05)  # the hint may run ahead of what is stored
