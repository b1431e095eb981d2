"""Shards that were told to repeat a forgotten frame are given to their node again: it may be new now."""

from datetime import datetime

import msgspec
import nats.js.errors

from lodestream import deadletters
from lodestream.bus import Bus
from lodestream.flows import deployed_flows
from lodestream.forget.lineage import Said
from lodestream.forget.tombs import Tombstone
from lodestream.ledger.strike import owing
from lodestream.objects import Objects
from proto import keys, subjects
from proto.messages import Again

_said = msgspec.json.Decoder(Said).decode


async def offer_owing(bus: Bus, objects: Objects, stone: Tombstone) -> int:
    """Offer what every ledger of a deployed flow owes a verdict; how many shards. Raises LodeError and Outage.

    Done again for the same tombstone, it offers nothing twice.
    """
    number = int(datetime.fromisoformat(stone.at).timestamp() * 1000)
    ledgers = dict.fromkeys([keys.ledger_of(s.key) async for s in objects.list(keys.LEDGERS) if keys.is_ledger(s.key)])
    flows, offered = await deployed_flows(bus) if ledgers else {}, 0
    for ledger in ledgers:
        flow, name = keys.ledger_owner(ledger)
        node = flows[flow].nodes.get(name) if flow in flows else None
        for judged in await owing(objects, ledger) if node else ():
            if node and judged.recipe in node.recipes:
                offered += await _offer(bus, flow, node.type, name, judged.cause, number)
    return offered


async def _offer(bus: Bus, flow: str, kind: str, name: str, cause: str, number: int) -> bool:
    js = bus.nc.jetstream()
    try:
        data = (await js.get_last_msg(subjects.stream(flow), cause)).data or b"{}"
    except nats.js.errors.NotFoundError:  # forgotten as well
        return False
    again = Again(id=_said(data).id, subject=cause, input=msgspec.Raw(data), cause=cause)
    return await deadletters.offer(js, deadletters.offered_on(flow, kind, name, cause, number), again)
