"""Who works: what every worker says of itself, over the NATS services protocol."""

from collections import defaultdict
from typing import Any

import msgspec
import nats.errors

from lodestream.bus import Bus
from lodestream.tally import Trouble

SLOWEST_ANSWER, QUIET = 1.0, 0.15
"""Seconds to wait for the first worker's answer, and after the last: nobody knows how many workers there are."""


class Tally(msgspec.Struct):
    """What a worker counts for one node, as far as it is shown."""

    known: int = 0
    """Outputs that were there already."""
    remembered: int = 0
    """Inputs answered from the memo."""
    waits_for: str = ""
    live: dict[str, dict[str, Any]] = {}
    troubles: dict[str, Trouble] = {}


class _Endpoint(msgspec.Struct):
    subject: str
    data: Tally | None = None


class _Stats(msgspec.Struct):
    id: str
    endpoints: list[_Endpoint] | None = None


async def tallies(bus: Bus) -> dict[tuple[str, str], dict[str, list[Tally]]]:
    """By flow and node, what each worker that serves it has to say, by the worker's id."""
    found: dict[tuple[str, str], dict[str, list[Tally]]] = defaultdict(lambda: defaultdict(list))
    for worker in await _answers(bus):
        for endpoint in worker.endpoints or []:
            flow, _, node = endpoint.subject.partition(".")
            found[flow, node][worker.id].append(endpoint.data or Tally())
    return found


async def _answers(bus: Bus) -> list[_Stats]:
    """What the workers answer to `nats micro stats`."""
    found: list[_Stats] = []
    inbox, patience = bus.nc.new_inbox(), SLOWEST_ANSWER
    answers = await bus.nc.subscribe(inbox)
    await bus.nc.publish("$SRV.STATS", reply=inbox)
    try:
        while True:
            msg = await answers.next_msg(timeout=patience)
            if msg.data:
                found.append(msgspec.json.decode(msg.data, type=_Stats))
            patience = QUIET
    except nats.errors.TimeoutError:
        return found
    finally:
        await answers.unsubscribe()
