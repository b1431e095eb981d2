"""How many workers one service should have, decided from samples alone.

Up, at most to the double, when what waits would take too long at the rate that was measured. Down when fewer would
have been enough for a while: for what waits, for what comes, and for what is in hand.
"""

import math
import re
from collections import deque
from typing import NamedTuple

import msgspec

from lodestream.errors import LodeError

TOO_LONG = 10.0
"""Seconds of work that may wait before there are more workers."""
SETTLE = 4.0
"""Seconds that new workers have to show what they do before there are more."""
CALM, LONGEST_CALM = 30.0, 480.0
"""Seconds for which fewer must have been enough before some are stopped; doubled each time that it was too early."""
TOO_EARLY = 300.0
"""Seconds after some were stopped within which it counts as too early that more are needed again."""
HALF_LIFE = 60.0
"""Seconds of full work after which a measurement counts half."""
GAP = 10.0
"""Seconds between two samples from which on nothing is learned from them: the server may have been away."""
SPARE = 0.8
"""Share of its time that a worker may be busy with what comes, as far as stopping others goes."""


class Limits(msgspec.Struct, frozen=True):
    """How many workers a service has at least and at most."""

    least: int
    most: int


class Sample(NamedTuple):
    """One look at a service."""

    at: float
    """Seconds of any clock that only goes forward."""
    waiting: int
    """Messages not yet handed to a worker."""
    in_flight: int
    """Messages in the hands of workers."""
    finished: int
    """Messages answered so far, counted from anywhere."""
    workers: int


class Decision(NamedTuple):
    """Another number of workers, and why, in words."""

    workers: int
    reason: str


def read_limits(text: str) -> dict[str, Limits]:
    """`extract=1-4 fetch=1-8` by service. Raises LodeError for anything else."""
    found = {}
    for part in text.split():
        match = re.fullmatch(r"([a-z][a-z0-9_-]*)=([0-9]{1,4})-([0-9]{1,4})", part)
        if not match or not 1 <= int(match[2]) <= int(match[3]):
            raise LodeError(f"{part!r} is not SERVICE=LEAST-MOST, such as extract=1-4, with at least 1")
        found[match[1]] = Limits(int(match[2]), int(match[3]))
    return found


class Policy:
    """Decides for one service; it remembers the samples that it was shown."""

    def __init__(self, limits: Limits):
        self._least, self._most = limits.least, limits.most
        self._rate = _Rate()
        self._seen: deque[tuple[Sample, int]] = deque()
        """The samples of the last while, each with how many workers would have been enough for it."""
        self._changed = -math.inf
        self._calm, self._fewer_since = CALM, -math.inf

    def decide(self, now: Sample) -> Decision | None:
        """What should change after this sample; None for nothing. A service without workers was switched off."""
        self._remember(now)
        if not now.workers:
            return None
        decision = self._bounded(now) or self._more(now) or self._fewer(now)
        if decision:
            self._changed = now.at
            self._learn_calm(now.at, decision.workers > now.workers)
        return decision

    def _learn_calm(self, at: float, more: bool) -> None:
        """Who stops workers only to start them again soon should wait longer the next time."""
        if not more:
            self._fewer_since = at
        elif self._fewer_since > -math.inf:
            early = at - self._fewer_since < TOO_EARLY
            self._calm = min(2 * self._calm, LONGEST_CALM) if early else CALM
            self._fewer_since = -math.inf

    def _remember(self, now: Sample) -> None:
        before = self._seen[-1][0] if self._seen else None
        if before and before.workers != now.workers:
            self._changed = now.at
        elif before and now.at - self._changed >= SETTLE:
            self._rate.learn(before, now)
        self._seen.append((now, self._enough(now)))
        while len(self._seen) > 1 and now.at - self._seen[1][0].at >= self._calm:
            self._seen.popleft()

    def _bounded(self, now: Sample) -> Decision | None:
        if now.workers < self._least:
            return Decision(self._least, f"there are at least {self._least}")
        if now.workers > self._most:
            return Decision(self._most, f"there are at most {self._most}")
        return None

    def _more(self, now: Sample) -> Decision | None:
        rate = self._rate.of_one
        if not rate or not now.waiting or now.workers == self._most or now.at - self._changed < SETTLE:
            return None
        left = now.waiting / (rate * now.workers)
        if left <= TOO_LONG:
            return None
        wanted = max(math.ceil(now.waiting / (rate * TOO_LONG)), now.workers + 1)
        wanted = min(wanted, 2 * now.workers, self._most)
        return Decision(wanted, f"{now.waiting:,} wait, {self._rate.words(left, now)}")

    def _fewer(self, now: Sample) -> Decision | None:
        span = now.at - max(self._seen[0][0].at, self._changed)
        if span < self._calm:
            return None
        wanted = max(self._busy(now), *(enough for _, enough in self._seen), self._least)
        if wanted >= now.workers:
            return None
        idle = "" if now.waiting or now.in_flight else "nothing waits, and "
        return Decision(wanted, f"{idle}{wanted} would have done for {span:.0f} s")

    def _enough(self, now: Sample) -> int:
        """Workers that would do for what waits, in half the time that it may take, and for what is in hand."""
        in_hand = min(now.in_flight, now.workers)
        if not now.waiting:
            return in_hand
        rate = self._rate.of_one
        return max(in_hand, math.ceil(now.waiting / (rate * TOO_LONG / 2))) if rate else now.workers

    def _busy(self, now: Sample) -> int:
        """Workers that what came lately would keep busy."""
        first, rate = self._seen[0][0], self._rate.of_one
        if not rate or now.finished <= first.finished:
            return 0
        return math.ceil((now.finished - first.finished) / (now.at - first.at) / (rate * SPARE))


class _Rate:
    """Messages that one worker finishes in a second, measured only while more waits than is in hand."""

    def __init__(self) -> None:
        self._finished = self._seconds = 0.0

    def learn(self, before: Sample, now: Sample) -> None:
        """From two samples with the same workers; what they say counts less as time goes on."""
        span = now.at - before.at
        if not (before.waiting and now.waiting and before.workers and 0 < span < GAP):
            return
        kept = 0.5 ** (span / HALF_LIFE)
        self._finished = self._finished * kept + max(now.finished - before.finished, 0)
        self._seconds = self._seconds * kept + span * before.workers

    @property
    def of_one(self) -> float | None:
        """None where nothing is known; where nothing was finished yet, as if something were about to be."""
        return max(self._finished, 1) / self._seconds if self._seconds else None

    def words(self, left: float, now: Sample) -> str:
        """What waits as time, in words."""
        if self._finished < 1:
            return f"and not one was finished in {self._seconds / now.workers:.0f} s"
        return f"about {left:.0f} s of work for {now.workers}"
