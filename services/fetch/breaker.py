"""A breaker for each host: one that keeps failing is asked ever more seldom, by one job at a time.

Closed: everybody asks. Open: nobody does until the next try is due. Half-open: one job tries, the others wait for what
comes of it. Each worker finds out for itself.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import structlog

from lodestream.errors import Postpone, Reject, Retry
from lodestream.job import Job
from lodestream.tally import Trouble

log = structlog.get_logger()

FAILURES = 5
"""In a row, which open a breaker; being told to ask less opens it at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 300.0
"""From one try to the next; doubled with each that fails. A server may ask for longer, up to the bound."""
ELSEWHERE_S = 30.0
"""What cannot wait here, for too many do, is handed back for that long at least."""
PATIENCE_S = 900.0
"""What wants a host that has not answered for so long is let go, to become dead letters: the next try goes on."""
ENOUGH = "rate limited"
FAULTS = ("network", "server", "too slow", "no such host", ENOUGH)
"""Reasons for another attempt that are the host's."""
UNASKED = ("no such host", "forbidden address", "scheme")
"""Reasons for a no before the host was asked."""


class Breaker:
    """The breaker of one host."""

    def __init__(self, host: str, troubles: dict[str, Trouble]):
        """While it is not closed, `troubles` says so under the host's name."""
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self._host, self._troubles, self._now = host, troubles, asyncio.get_running_loop().time
        self._failures = self._tries = 0
        self._since = self._due = 0.0
        """When the first of these failures was, and when the next try is due."""
        self._changed = asyncio.Event()

    async def closed(self, job: Job) -> None:
        """Waits, parked, until the host may be asked; where too many wait already, later.

        Raises Postpone, and Retry where the host has been away for too long.
        """
        if self._admits():
            return
        self._hope()
        if job.crowded():
            left = max(self._due - self._now(), ELSEWHERE_S) * random.uniform(1, 1.2)
            raise Postpone("host left alone", self._host, after=left)
        async with job.parked():
            while not self._admits():
                await self._change()
                self._hope()

    async def _change(self) -> None:
        """Until something happens, or the next try is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._due - self._now() if self.state == "open" else None):
                await self._changed.wait()

    def _hope(self) -> None:
        if not self._admits() and self._now() - self._since > PATIENCE_S:
            raise Retry("unreachable", f"{self._host} was not asked: it has failed {self._failures} times")

    @contextmanager
    def asking(self) -> Iterator[bool]:
        """Inside, the host is asked, unless this gives False: others came first. Learns from what comes of it."""
        if not self._admits():
            yield False
            return
        trial = self.state == "open"
        if trial:
            self._become("half-open")
        try:
            yield True
            self._answered()
        except (Retry, Reject) as why:
            self._learn(why)
            raise
        finally:
            if trial and self.state == "half-open":  # nothing was learned: the next one tries
                self._become("open")

    def _admits(self) -> bool:
        return self.state == "closed" or (self.state == "open" and self._now() >= self._due)

    def _learn(self, why: Retry | Reject) -> None:
        if isinstance(why, Retry) and why.reason in FAULTS:
            self._failed(why)
        elif why.reason not in (*UNASKED, "crashed"):
            self._answered()

    def _failed(self, why: Retry) -> None:
        self._since = self._since if self._failures else self._now()
        self._failures += 1
        if self.state != "open" and (self._tries or self._failures >= FAILURES or why.reason == ENOUGH):
            self._open(why)

    def _open(self, why: Retry) -> None:
        pause = min(FIRST_PAUSE_S * 2**self._tries, LONGEST_PAUSE_S) * random.uniform(0.8, 1)
        pause = min(max(pause, why.after or 0), LONGEST_PAUSE_S)
        self._due = self._now() + pause
        self._troubles[self._host] = Trouble(self._failures, str(why), time.time() + pause)
        if self._tries == 0:
            log.warning("host keeps failing", host=self._host, failed=self._failures, why=str(why), next_try_s=pause)
        self._tries += 1
        self._become("open")

    def _answered(self) -> None:
        if self.state == "half-open":
            log.info("host answers again", host=self._host, after_failures=self._failures)
            self._troubles.pop(self._host, None)
            self._become("closed")
        if self.state == "closed":
            self._failures = self._tries = 0

    def _become(self, state: Literal["closed", "open", "half-open"]) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()
