"""How many workers a service should have, played second by second with a service that can be reckoned."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from lodestream.errors import LodeError
from lodestream.scaling.policy import CALM, TOO_LONG, Limits, Policy, Sample, read_limits

STEP = 2.0
"""Seconds between samples."""


@dataclass
class Service:
    """Works off `rate` messages a second with each worker, one at a time; `start` seconds until a new worker works."""

    rate: float
    most: int = 8
    least: int = 1
    start: float = 1.0
    arrive: Callable[[float], float] = lambda at: 0.0
    """Messages that come in the step before a time."""
    at: float = 1000.0
    waiting: float = 0.0
    finished: float = 0.0
    workers: int = 0
    ready_at: float = 0.0
    ready: int = 0
    changes: list[tuple[float, int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workers = self.ready = self.least
        self.policy = Policy(Limits(self.least, self.most))
        self.began = self.at

    def run(self, seconds: float) -> "Service":
        """Let time go by; what the policy says is done at once."""
        end = self.at + seconds
        while self.at < end:
            self.at += STEP
            if self.at >= self.ready_at:
                self.ready = self.workers
            hands = min(self.ready, self.workers)
            self.waiting += self.arrive(self.at - self.began)
            done = min(self.waiting, hands * self.rate * STEP)
            self.waiting, self.finished = self.waiting - done, self.finished + done
            busy = math.ceil(done / (self.rate * STEP))
            self.decide(Sample(self.at, int(self.waiting), busy, int(self.finished), self.workers))
        return self

    def decide(self, sample: Sample) -> None:
        """Show one sample, do what is said."""
        if decision := self.policy.decide(sample):
            self.changes.append((self.at - self.began, self.workers, decision.workers, decision.reason))
            self.workers, self.ready_at = decision.workers, self.at + self.start

    def path(self) -> list[int]:
        """The numbers of workers, in order."""
        return [after for _, _, after, _ in self.changes]


def test_a_backlog_brings_more_workers_within_15_s_doubling_and_then_fewer_again() -> None:
    service = Service(rate=1.0)
    service.waiting = 200
    service.run(15)
    assert service.path()[:2] == [2, 4]
    service.run(300)
    assert service.waiting == 0
    assert max(service.path()) == 8
    assert all(after <= 2 * before for _, before, after, _ in service.changes)
    assert service.workers == 1
    downs = [after < before for _, before, after, _ in service.changes]
    assert downs == sorted(downs), "up, then down, and no more"


def test_work_of_minutes_brings_workers_before_any_of_it_is_finished() -> None:
    service = Service(rate=1 / 300, most=4)
    service.waiting = 10
    service.run(15)
    assert service.path() == [2, 4]
    assert all("not one was finished" in reason for *_, reason in service.changes)


def test_the_reason_names_what_waits_and_how_long_it_would_take() -> None:
    service = Service(rate=4.0, most=2)
    service.waiting = 380
    service.run(6)
    [(_, before, after, reason)] = service.changes
    assert (before, after) == (1, 2)
    assert reason.startswith("3")
    assert "s of work for 1" in reason


@pytest.mark.parametrize("waiting", [1, 5, 9])
def test_what_is_soon_done_brings_nobody(waiting: int) -> None:
    service = Service(rate=1.0)
    service.waiting = waiting
    service.run(120)
    assert service.changes == []


def test_a_burst_that_is_gone_at_the_next_look_brings_nobody() -> None:
    service = Service(rate=500.0, arrive=lambda at: 900 if at % 60 == 0 else 0)
    service.run(600)
    assert service.changes == []


@pytest.mark.parametrize("load", [0.3, 0.7, 1.5, 2.5, 3.3])
def test_noise_does_not_make_it_flap(load: float) -> None:
    """A steady load with bursts: it finds its number and stays there."""
    noise = Random(7)
    service = Service(rate=1.0, arrive=lambda at: noise.choice([0, 0, 1, 1, 1, 3]) * load * STEP)
    service.run(300)
    service.run(3600)
    assert load <= service.workers <= 2 * load + 1
    downs = [at for at, before, after, _ in service.changes if after < before]
    assert len(downs) <= 6, f"at most every ten minutes: {service.changes}"


def test_it_goes_down_only_after_a_calm_while_and_straight_to_what_is_needed() -> None:
    service = Service(rate=1.0, most=4, arrive=lambda at: 12.0 if at <= 60 else 0.0)
    service.run(60)
    assert service.workers == 4
    while service.waiting:
        service.run(STEP)
    over = service.at - service.began
    service.run(120)
    when, _, after, reason = service.changes[-1]
    assert when >= over + CALM / 2
    assert after == service.workers == 1
    assert "1 would have done for" in reason


def test_workers_that_hold_long_work_are_not_stopped() -> None:
    policy = Policy(Limits(1, 8))
    held = [policy.decide(Sample(at, 0, 4, 0, 4)) for at in range(0, 600, 2)]
    assert not any(held)
    two = [policy.decide(Sample(at, 0, 2, 2, 4)) for at in range(600, 700, 2)]
    assert [decision.workers for decision in two if decision][:1] == [2]


def test_what_comes_keeps_as_many_as_it_needs_though_nothing_waits() -> None:
    service = Service(rate=1.0, arrive=lambda at: 200.0 if at == STEP else 3.0 * STEP)
    service.run(300)
    assert service.waiting == 0
    assert service.workers == 4
    service.run(600)
    assert service.workers == 4


def test_limits_hold_whatever_waits() -> None:
    service = Service(rate=0.01, most=3, least=2)
    service.waiting = 10_000
    service.run(120)
    assert service.path() == [3]
    policy = Policy(Limits(2, 3))
    decisions = [policy.decide(Sample(at, 0, 0, 0, workers)) for at, workers in enumerate((1, 7, 0))]
    assert [decision and decision.workers for decision in decisions] == [2, 3, None]


def test_a_server_that_was_away_teaches_nothing() -> None:
    policy = Policy(Limits(1, 4))
    for at in (0, 2, 4, 6, 8):
        assert policy.decide(Sample(at, 20, 1, 5 * at, 1)) is None, "20 wait, which is 4 s of work"
    assert policy.decide(Sample(600, 20, 1, 40, 1)) is None
    assert policy.decide(Sample(602, 20, 1, 50, 1)) is None


def test_a_consumer_that_is_gone_takes_its_count_along() -> None:
    policy = Policy(Limits(1, 4))
    samples = [Sample(at, 20, 1, 1000 + 5 * at if at < 20 else 5 * at, 1) for at in range(0, 60, 2)]
    assert not any(map(policy.decide, samples))


def test_limits_are_read() -> None:
    assert read_limits("extract=1-4 fetch=2-8") == {"extract": Limits(1, 4), "fetch": Limits(2, 8)}
    assert read_limits("") == {}


@pytest.mark.parametrize(
    "text", ["extract", "extract=4", "extract=0-4", "extract=3-2", "extract=1-x", "=1-2", "a=-1-2"]
)
def test_limits_that_are_none_are_refused_by_what_was_written(text: str) -> None:
    with pytest.raises(LodeError, match=r"is not SERVICE=LEAST-MOST") as told:
        read_limits(f"fetch=1-2 {text}")
    assert repr(text) in str(told.value)


def test_the_time_that_may_wait_leaves_room_for_15_s() -> None:
    assert TOO_LONG + 2 * STEP < 15
