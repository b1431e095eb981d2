"""The NATS services protocol: `nats micro ls`, `info` and `stats` see every worker, with one endpoint a node.

https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
"""

from collections.abc import Callable, Iterable

from nats.micro.service import EndpointInfo, EndpointStats, Service, ServiceConfig, ServiceInfo, ServiceStats

from lodestream.bus import Bus
from lodestream.runner import Runner

VERSION = "0.1.0"


class WorkerService(Service):
    """A worker, whose endpoints are the nodes that it serves: what they take is pulled, not requested."""

    def __init__(self, bus: Bus, node_type: str, summary: str, runners: Callable[[], Iterable[Runner]]):
        super().__init__(bus.nc, ServiceConfig(name=node_type, version=VERSION, description=summary))
        self._runners = runners

    def info(self) -> ServiceInfo:
        """What it serves now."""
        info = super().info()
        info.endpoints = [EndpointInfo(_name(r), _subject(r), r.node.type) for r in self._runners()]
        return info

    def stats(self) -> ServiceStats:
        """Counts since it took each node up; times in nanoseconds."""
        stats = super().stats()
        stats.endpoints = [_stats(runner) for runner in self._runners()]
        return stats


def _name(runner: Runner) -> str:
    return f"{runner.flow}-{runner.name}"


def _subject(runner: Runner) -> str:
    return f"{runner.flow}.{runner.name}"


def _stats(runner: Runner) -> EndpointStats:
    tally = runner.tally
    spent = int(tally.seconds * 1e9)
    return EndpointStats(
        name=_name(runner),
        subject=_subject(runner),
        queue_group=runner.node.type,
        num_requests=tally.taken,
        num_errors=tally.dead + tally.retried,
        processing_time=spent,
        average_processing_time=spent // max(tally.taken, 1),
        last_error=tally.last_error,
        data=runner.counts(),
    )
