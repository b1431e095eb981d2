"""How much waits for the workers of each service: over all its consumers, in all flows."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from lodestream.flow.consumers import NODE
from lodestream.streams import ask
from proto import subjects


@dataclass
class Lag:
    """Messages of one service, in all flows together; what is paused does not count."""

    waiting: int = 0
    """Not yet handed to a worker."""
    in_flight: int = 0
    """Handed to a worker for the first time and not yet answered; the others may wait for their next attempt."""
    finished: int = 0
    """Answered so far."""


async def lags(nc: Client) -> dict[str, Lag]:
    """By service, of those that have a consumer. Raises LodeError where the server does not answer."""
    found: dict[str, Lag] = defaultdict(Lag)
    for stream in await _pages(nc, "STREAM.NAMES", "streams"):
        if stream == subjects.SEEDS or subjects.is_stream_of_flow(stream):
            for info in await _pages(nc, f"CONSUMER.LIST.{stream}", "consumers"):
                if NODE in (info["config"].get("metadata") or {}):
                    _count(found[_service(stream, info["name"])], info)
    return dict(found)


def _service(stream: str, durable: str) -> str:
    return subjects.INTAKE if stream == subjects.SEEDS else durable.rpartition("-")[0]


def _count(lag: Lag, info: dict[str, Any]) -> None:
    pending = info["num_ack_pending"]
    lag.finished += info["delivered"]["consumer_seq"] - pending
    if not info.get("paused"):
        lag.waiting += info["num_pending"]
        lag.in_flight += max(pending - info["num_redelivered"], 0)


async def _pages(nc: Client, what: str, field: str) -> list[Any]:
    """Everything that a list has, page by page."""
    found: list[Any] = []
    while page := await ask(nc, what, {"offset": len(found)}, may_lack=True):
        found += page[field] or []
        if not page[field] or len(found) >= page["total"]:
            break
    return found
