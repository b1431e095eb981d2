"""Deploys and pauses flows while data flows.

The record is written first, over the revision that was read, and the consumers are then made what it says: a crash in
between is healed by deploying again, and of two deploys at once the second is refused.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from nats.aio.client import Client

from lodestream.errors import LodeError
from lodestream.flow import consumers, store, stream
from lodestream.flow.consumers import Done
from lodestream.flow.diff import Diff, diff
from lodestream.flow.lint import lint
from lodestream.flow.model import Deployed, Flow
from lodestream.flow.record import Facts, next_record, recipes_of
from lodestream.flow.store import Conflict, Stored
from lodestream.streams import server_time
from proto import subjects

TURNS = 8
"""Times that a change is tried again when others change the same flow."""


class Report(NamedTuple):
    """What a deploy has done."""

    diff: Diff
    revision: int
    consumers: list[Done]

    @property
    def changed(self) -> bool:
        """Whether anything was touched."""
        return self.diff.text or bool(self.consumers)

    def lines(self) -> list[str]:
        """In words, a line for each thing."""
        said = self.diff.lines()
        if self.consumers and not self.diff.changes:
            said = ["deployed as it is, but for what was cut short or changed by hand and is now put right:"]
            said += [f"  {done}" for done in self.consumers]
        if resting := {done.node: done.rest for done in self.consumers if done.rest}:
            wait = f"in {max(resting.values()):.0f} s, when no worker knows the consumer by a former use"
            said.append(f"{', '.join(resting)}: work begins {wait}")
        return said


async def running(nc: Client, name: str) -> Flow:
    """A flow as it is deployed, read from its file. Raises LodeError where that is not right any more."""
    flow, problems = lint((await store.load_deployed(nc, name)).text)
    if flow is None:
        raise LodeError(f"flow {name} must be put right and deployed first: {problems[0].show('its file')}")
    return flow


async def preview(
    nc: Client, flow: Flow, *, new_only: Collection[str] = (), reset: Collection[str] = ()
) -> tuple[Diff, str]:
    """What deploying `flow` would do now, and the version of the deployed flow that this is true of."""
    plan = await _plan(nc, flow, new_only, reset)
    return plan.diff, plan.stored.version


async def deploy(
    nc: Client,
    flow: Flow,
    *,
    version: str | None = None,
    new_only: Collection[str] = (),
    reset: Collection[str] = (),
) -> Report:
    """Make `flow` what runs; only what changed is touched.

    `new_only` names new wires that give only what comes from now on (see `record.next_record`); the nodes in `reset`
    do their work again. Raises Conflict where somebody else changed the flow meanwhile, or it is not at `version` any
    more; LodeError where the server refuses.
    """
    plan = await _plan(nc, flow, new_only, reset)
    for turn in range(TURNS):
        if plan.stored.version != (version := plan.stored.version if version is None else version):
            raise Conflict(f"flow {flow.name} was changed by somebody else meanwhile; look at it: lode flow diff")
        await stream.ensure(nc, flow.name, recipes_of(plan.record) | recipes_of(plan.stored.record))
        try:
            revision = await _save(nc, plan)
            break
        except Conflict:  # it may be only that a backfill was through
            if turn == TURNS - 1:
                raise
            plan = await _plan(nc, flow, new_only, reset)
    done = await converge(nc, flow.name, Stored(plan.record, revision))
    await finish_backfills(nc, [flow.name])
    return Report(plan.diff, revision, done)


async def mend(nc: Client) -> list[str]:
    """Put right the consumers of every flow where a deploy was cut short; gives what was done, in words.

    For the start of an instance. It names also the flows that an upgrade holds up, for they would do work again: that
    is for a person to decide.
    """
    said = []
    for record in await store.listing(nc):
        done = await converge(nc, record.flow, await store.load(nc, record.flow))
        said += [f"flow {record.flow}: put right: {each}" for each in done]
        said += [f"flow {record.flow}: {why}; it waits to be deployed again (lode flow diff)" for why in _held(record)]
    return said


def _held(record: Deployed) -> list[str]:
    """Why workers of this version do not serve a flow."""
    flow, problems = lint(record.text)
    if flow is None:
        return [problems[0].show("its file")]
    nodes = [node for name, node in flow.nodes.items() if record.nodes[name].revised(node.declaration, node.settings)]
    return [f"node type {kind} was revised" for kind in sorted({node.declaration.type for node in nodes})]


class _Plan(NamedTuple):
    stored: Stored
    record: Deployed
    diff: Diff


async def _plan(nc: Client, flow: Flow, new_only: Collection[str], reset: Collection[str]) -> _Plan:
    stored = await store.load(nc, flow.name)
    at, facts = await _now(nc), await _facts(nc, flow.name, stored)
    record = next_record(stored.record, flow, at, new_only=new_only, reset=reset, facts=facts)
    wires = {wire for node in record.nodes.values() for wire in node.wires} if record is not stored.record else ()
    counts = await consumers.count(nc, wires, flow.name)
    return _Plan(stored, record, diff(stored.record, record, flow, counts, reset))


async def _save(nc: Client, plan: _Plan) -> int:
    if plan.record is plan.stored.record:
        return plan.stored.revision
    return await store.save(nc, plan.record, plan.stored.revision)


async def _facts(nc: Client, flow: str, stored: Stored) -> Facts:
    known, last = await stream.seen(nc, flow), consumers.last_sequence
    return Facts(
        seen=None if known is None else known | recipes_of(stored.record),
        last_seed=await last(nc, subjects.SEEDS),
        last_output=await last(nc, subjects.stream(flow)),
        removed=stored.removed,
    )


async def converge(nc: Client, flow: str, stored: Stored) -> list[Done]:
    """Make consumers what the newest record says: whoever changes it while we do is not undone by us."""
    done: list[Done] = []
    for _ in range(TURNS):
        done += await consumers.reconcile(nc, stored.record) if stored.record else await consumers.delete_all(nc, flow)
        newest = await store.load(nc, flow)
        if newest.revision == stored.revision:
            return done
        stored = newest
    raise Conflict(f"flow {flow} is changed by others all the time; deploy again when they are done")


async def pause(nc: Client, flow: str, nodes: Collection[str] = ()) -> list[str]:
    """Let workers take nothing more for these nodes, or for all; gives those that ran. Raises LodeError.

    What they have in hand they finish; once this returns, the server gives them nothing.
    """
    return await _set_paused(nc, flow, nodes, True)


async def resume(nc: Client, flow: str, nodes: Collection[str] = ()) -> list[str]:
    """Undo `pause`; gives those nodes that were paused. Raises LodeError."""
    return await _set_paused(nc, flow, nodes, False)


async def _set_paused(nc: Client, flow: str, nodes: Collection[str], paused: bool) -> list[str]:
    def switch(record: Deployed, at: str) -> list[str]:
        if unknown := [name for name in nodes if name not in record.nodes]:
            raise LodeError(f"flow {flow} has no node {unknown[0]!r}; its nodes: {', '.join(record.nodes)}")
        turned = [name for name in nodes or record.nodes if record.nodes[name].paused is not paused]
        for name in turned:
            record.nodes[name].paused, record.at = paused, at
        return turned

    turned = await _edit(nc, flow, switch)
    await converge(nc, flow, await store.load(nc, flow))
    return turned


async def _edit(nc: Client, flow: str, change: Callable[[Deployed, str], list[str]]) -> list[str]:
    """Apply a change, told the time, to the newest record, again when others were first; writes only what changed."""
    for turn in range(TURNS):
        stored = await store.load(nc, flow)
        record = stored.record or await store.refuse(nc, flow)
        if not (done := change(record, await _now(nc))):
            return []
        try:
            await store.save(nc, record, stored.revision)
            return done
        except Conflict:
            if turn == TURNS - 1:
                raise
    return []


async def finish_backfills(nc: Client, flows: Collection[str] | None = None) -> list[str]:
    """Remove the backfills, of all flows or these, that have given everything; gives their durables, for the log.

    To be called every few seconds for as long as flows run.
    """
    finished = []
    for record in await store.listing(nc):
        if (flows is None or record.flow in flows) and any(node.backfills for node in record.nodes.values()):
            finished += await _finish(nc, record)
    return finished


async def _finish(nc: Client, record: Deployed) -> list[str]:
    temporary = [consumer for consumer in record.consumers() if consumer.temporary]
    through = {(c.durable, c.since) for c in temporary if await consumers.drained(nc, c)}

    def drop(record: Deployed, at: str) -> list[str]:
        gone = []
        for node in record.nodes.values():
            named = [(subjects.durable(node.type, b.slot), b.since) for b in node.backfills]
            node.backfills = [b for b, key in zip(node.backfills, named, strict=True) if key not in through]
            gone += [durable for durable, since in named if (durable, since) in through]
        record.freed |= dict.fromkeys(gone, at)
        return gone

    gone = await _edit(nc, record.flow, drop) if through else []
    if gone:
        await converge(nc, record.flow, await store.load(nc, record.flow))
    return gone


async def _now(nc: Client) -> str:
    return (await server_time(nc)).isoformat(timespec="microseconds")
