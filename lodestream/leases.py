"""Leases: who is downloading what, and the slots of a host, in a KV bucket whose entries expire.

A lease is an entry that was created where there was none; the server decides. Its holder renews it; a dead one loses it
with the entry. They keep work from being done twice at once, they do not make results right: while the server is away
nobody can take one, and their holders go on.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import NamedTuple, Protocol

import nats.errors

from lodestream.bus import Bus
from lodestream.errors import Outage, Postpone
from proto import ids, subjects

TTL = 15.0
"""Seconds until a dead holder's lease is free: `max_age` of the bucket."""
ANSWER = 2.0
"""Seconds that the server has for an answer."""
LOOKS = (0.1, 0.2, 0.5, 1.0)
"""Seconds between looks at a lease that somebody else has; the last one again and again."""
SOON = 0.05
"""Seconds that a job waits for a slot before it gives its place to another."""
LINGER = 1.0
"""Seconds that a slot is kept after its last use: handing it on within a process asks the server nothing."""
_TAKEN = 10071
"""JetStream's code for: the subject's last sequence is another."""


class Lost(Postpone):
    """A lease was lost while its work went on: somebody else does that work by now."""


Parked = Callable[[], AbstractAsyncContextManager[None]]
"""`Job.parked`: what a wait is wrapped in."""


class Hold(NamedTuple):
    """A lease as its holder sees it."""

    waited: bool
    """Whether somebody else had it first: the work may be done."""
    confirm: Callable[[], Awaitable[bool]]
    """Raises Lost unless it is ours, as the server has it; False where it had expired since it was asked last, so that
    others may have had it and done the work. Costs nothing while it cannot have expired."""


class Leases(Protocol):
    """Leases that a dead holder loses in seconds."""

    def hold(self, kind: str, name: str, parked: Parked = nullcontext) -> AbstractAsyncContextManager[Hold]:
        """Waits for the lease, renews it while it is held, and gives it back.

        Raises Lost from inside when it was lost, Outage where the server is away.
        """

    def slot(self, kind: str, name: str, count: int, parked: Parked = nullcontext) -> AbstractAsyncContextManager[None]:
        """Waits for one of `count` leases; otherwise as `hold`."""


class Lease:
    """One entry of the bucket that is ours."""

    def __init__(self, subject: str, seq: int, since: float):
        self.subject, self.seq, self.lost, self.lapsed = subject, seq, False, False
        self.since = since
        """When it was taken or last renewed."""
        self.idle = since
        """When it was last used, where it is a slot that waits for its next use."""
        self.work: asyncio.Timeout | None = None
        """What ends when the lease is lost."""

    def lose(self) -> None:
        """Somebody else has it: end the work."""
        self.lost = True
        if self.work:
            self.work.reschedule(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work that needs this lease. Raises Lost when it is lost meanwhile, or was before."""
        try:
            async with asyncio.timeout(0 if self.lost else None) as self.work:
                yield
        except TimeoutError:
            if self.lost:
                raise Lost("lease lost", self.subject) from None
            raise
        finally:
            self.work = None


class NatsLeases:
    """Leases in the KV bucket of a NATS server; the bucket is there already."""

    def __init__(self, bus: Bus, ttl: float = TTL):
        """`ttl` is the bucket's, in seconds."""
        self._nc, self._ttl = bus.nc, ttl
        self._held: dict[str, Lease] = {}
        self._pools: dict[tuple[str, str, int], _Pool] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()

    @contextlib.asynccontextmanager
    async def hold(self, kind: str, name: str, parked: Parked = nullcontext) -> AsyncIterator[Hold]:
        """See Leases."""
        subject, looks = subjects.lease(kind, ids.token(name)), 0
        lease = await self.take(subject)
        try:
            if lease is None:
                async with parked():
                    while lease is None:
                        await _pause(looks)
                        lease, looks = await self.take(subject), looks + 1
            async with lease.working():
                yield Hold(looks > 0, partial(self._confirm, lease))
        finally:
            if lease:
                await self.give_back(lease)

    @contextlib.asynccontextmanager
    async def slot(self, kind: str, name: str, count: int, parked: Parked = nullcontext) -> AsyncIterator[None]:
        """See Leases."""
        key = (kind, ids.token(name), count)
        if key not in self._pools:
            self._pools[key] = _Pool(self, *key, lambda: self._pools.pop(key, None))
        async with self._pools[key].slot(parked) as lease, lease.working():
            yield

    async def close(self) -> None:
        """Give back what is held."""
        for lease in list(self._held.values()):
            await self.give_back(lease)

    async def take(self, subject: str) -> Lease | None:
        """The lease, or None where somebody has it. Raises Outage."""
        now = asyncio.get_running_loop().time()
        if subject in self._held or (seq := await self._store(subject, 0)) is None:
            return None
        self._held[subject] = lease = Lease(subject, seq, now)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return lease

    async def give_back(self, lease: Lease) -> None:
        """Free it for others; only ever deletes the entry that we made."""
        if self._held.get(lease.subject) is lease:
            del self._held[lease.subject]
            await self._delete(lease.seq)

    async def _store(self, subject: str, last: int) -> int | None:
        """The sequence of the entry as written over sequence `last` (0: none); None where that is not the last."""
        expected = {"Nats-Expected-Last-Subject-Sequence": str(last)}
        try:
            answer = await self._nc.request(subject, self._holder, timeout=ANSWER, headers=expected)
        except (nats.errors.Error, OSError) as error:
            raise Outage(f"leases: no answer from NATS ({type(error).__name__})") from None
        said = json.loads(answer.data)
        if "error" not in said:
            return int(said["seq"])
        if said["error"]["err_code"] == _TAKEN:
            return None
        raise Outage(f"leases: {said['error']['description']}")

    async def _delete(self, seq: int) -> None:
        with contextlib.suppress(nats.errors.Error, OSError):  # it expires by itself
            asked = json.dumps({"seq": seq, "no_erase": True}).encode()
            await self._nc.request(subjects.delete_lease(), asked, timeout=ANSWER)

    async def _renew(self) -> None:
        """Renew each lease about three times in its life, for as long as there are any."""
        loop = asyncio.get_running_loop()
        while self._held:
            await asyncio.sleep(self._ttl / 3)
            due = [lease for lease in self._held.values() if loop.time() - lease.since > self._ttl / 6]
            await asyncio.gather(*map(self._renew_one, due))

    async def _confirm(self, lease: Lease) -> bool:
        """See Hold; while the server is away nobody can have taken it."""
        if asyncio.get_running_loop().time() - lease.since > self._ttl / 2:
            await self._renew_one(lease)
        if lease.lost:
            raise Lost("lease lost", lease.subject)
        lapsed, lease.lapsed = lease.lapsed, False
        return not lapsed

    async def _renew_one(self, lease: Lease) -> None:
        """An entry that expired while the server was out of reach, and that nobody took since, is made anew."""
        now = asyncio.get_running_loop().time()
        try:
            if (seq := await self._store(lease.subject, lease.seq)) is None:
                lease.lapsed = True
                seq = await self._store(lease.subject, 0)
        except Outage:
            return
        if seq:
            lease.seq, lease.since = seq, now
        if self._held.get(lease.subject) is not lease:  # it was given back meanwhile
            await self._delete(lease.seq)
        elif not seq:
            del self._held[lease.subject]
            lease.lose()


class _Pool:
    """The slots of one host as this process has them: handed on from job to job while it has work for that host."""

    def __init__(self, leases: NatsLeases, kind: str, name: str, count: int, unused: Callable[[], object]):
        """`unused` is called when nobody uses it any more."""
        self._leases, self._unused = leases, unused
        self._subjects = [subjects.lease(kind, f"{name}-{n}") for n in range(count)]
        self._idle: asyncio.Queue[Lease] = asyncio.Queue()
        self._users = self._waiting = 0
        self._tending: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def slot(self, parked: Parked) -> AsyncIterator[Lease]:
        """Waits for one, in line."""
        self._users += 1
        lease: Lease | None = None
        try:
            lease = await self._take(parked)
            yield lease
        finally:
            self._users -= 1
            if lease and not lease.lost:
                lease.idle = asyncio.get_running_loop().time()
                self._idle.put_nowait(lease)
            self._tend()

    async def _take(self, parked: Parked) -> Lease:
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOON):
                    return await self._next()
            lease: Lease | None = None
            try:
                async with parked():
                    lease = await self._next()
            except BaseException:
                if lease:
                    self._idle.put_nowait(lease)
                raise
            return lease
        finally:
            self._waiting -= 1

    async def _next(self) -> Lease:
        """The next idle one that is still ours."""
        while True:
            self._tend()
            if not (lease := await self._idle.get()).lost:
                return lease

    def _tend(self) -> None:
        if self._tending is None or self._tending.done():
            self._tending = asyncio.create_task(self._look_after())

    async def _look_after(self) -> None:
        """Seek slots while jobs wait; free those that have been idle for a while."""
        looks = 0
        while self._waiting or not self._idle.empty():
            if self._waiting > self._idle.qsize() and await self._found_one():
                looks = 0
            else:
                await _pause(looks)
                looks += 1
                await self._free_idle()
        if not self._users:
            self._unused()

    async def _found_one(self) -> bool:
        for subject in self._subjects:
            with contextlib.suppress(Outage):
                if lease := await self._leases.take(subject):
                    self._idle.put_nowait(lease)
                    return True
        return False

    async def _free_idle(self) -> None:
        before = asyncio.get_running_loop().time() - LINGER
        while not self._waiting and not self._idle.empty():
            lease = self._idle.get_nowait()
            if lease.idle > before:
                self._idle.put_nowait(lease)
                return
            await self._leases.give_back(lease)


async def _pause(looks: int) -> None:
    await asyncio.sleep(LOOKS[min(looks, len(LOOKS) - 1)] * random.uniform(0.5, 1))
