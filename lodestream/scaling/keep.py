"""Keeps services scaled: looks, decides, has it done, and tells what was done."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.letters import now
from lodestream.scaling.lag import Lag, lags
from lodestream.scaling.policy import Decision, Limits, Policy, Sample
from lodestream.streams import ask
from proto import subjects
from proto.messages import Scaled, decode_any, encode

EVERY = 2.0
"""Seconds between looks."""


class Hands(Protocol):
    """Whoever can start and stop workers."""

    async def counts(self) -> Mapping[str, int]:
        """Workers of each service now. Raises LodeError."""

    async def scale(self, service: str, workers: int) -> None:
        """Give a service so many workers; returns once it has them. Raises LodeError."""


async def keep_scaled(bus: Bus, limits: Mapping[str, Limits], hands: Hands, say: Callable[[str], None]) -> None:
    """Keep each service within its limits by what waits for it, until cancelled; `say` is told what goes wrong."""
    await _Keeper(bus, limits, hands, say).run()


class _Keeper:
    def __init__(self, bus: Bus, limits: Mapping[str, Limits], hands: Hands, say: Callable[[str], None]):
        self._bus, self._hands, self._say = bus, hands, say
        self._policies = {service: Policy(bounds) for service, bounds in limits.items()}
        self._at_work: set[str] = set()
        """Services that are given workers, or lose some, at this moment."""
        self._trouble = ""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    for service, lag, decision in await self._look():
                        self._at_work.add(service)
                        group.create_task(self._act(service, lag, decision))
                    self._trouble = ""
                except (LodeError, nats.errors.Error) as error:
                    self._tell_once(f"cannot scale: {error}")
                await asyncio.sleep(EVERY)

    async def _look(self) -> list[tuple[str, "_Look", Decision]]:
        waits, counts = await lags(self._bus.nc), await self._hands.counts()
        at, found = asyncio.get_running_loop().time(), []
        for service, policy in self._policies.items():
            lag, workers = waits.get(service, Lag()), counts.get(service, 0)
            if service in self._at_work:
                continue
            if decision := policy.decide(Sample(at, lag.waiting, lag.in_flight, lag.finished, workers)):
                found.append((service, _Look(lag, workers), decision))
        return found

    async def _act(self, service: str, look: "_Look", decision: Decision) -> None:
        try:
            await self._hands.scale(service, decision.workers)
            await self._publish(service, look, decision)
        except (LodeError, nats.errors.Error, OSError) as error:
            self._say(f"cannot give {service} {decision.workers} workers: {error}")
        finally:
            self._at_work.discard(service)

    async def _publish(self, service: str, look: "_Look", decision: Decision) -> None:
        scaled = Scaled(
            id=service,
            at=now(),
            before=look.workers,
            after=decision.workers,
            waiting=look.lag.waiting,
            in_flight=look.lag.in_flight,
            reason=decision.reason,
        )
        await self._bus.nc.jetstream().publish(subjects.scaling(service), encode(scaled))

    def _tell_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(trouble)
        self._trouble = trouble


class _Look(msgspec.Struct):
    """What a decision was made upon."""

    lag: Lag
    workers: int


async def last_decisions(nc: Client) -> list[Scaled]:
    """The last decision for each service within the hour, the newest first. Raises LodeError."""
    info = await ask(nc, f"STREAM.INFO.{subjects.SCALING}", {"subjects_filter": ">"}, may_lack=True) or {}
    js, found = nc.jetstream(), []
    for subject in info.get("state", {}).get("subjects") or {}:
        try:
            message = decode_any((await js.get_last_msg(subjects.SCALING, subject)).data or b"")
        except (nats.js.errors.NotFoundError, msgspec.MsgspecError):  # it has just grown too old
            continue
        if isinstance(message, Scaled):
            found.append(message)
    return sorted(found, key=lambda scaled: scaled.at, reverse=True)
