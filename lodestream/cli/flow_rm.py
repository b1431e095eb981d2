"""`lode flow rm`: stops a flow, once it has said what that frees."""

from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, confirm, examples

if TYPE_CHECKING:
    from lodestream.flow.removal import Held

OBJECTS = """
with own as (
    select object_key as key, bytes from history.media where flow = {flow}
    union all select shard_key, list_sum(byte_length) from history.shards where flow = {flow}),
  others as (
    select object_key as key from history.media where flow <> {flow}
    union all select shard_key from history.shards where flow <> {flow})
select count(*) as objects, coalesce(sum(bytes), 0)::bigint as bytes
from (select key, max(bytes) as bytes from own group by key) where key not in (from others)
"""
"""The videos and shards that only this flow speaks of."""


@click.command(epilog=examples("lode flow rm cats", "lode flow rm cats --purge"))
@click.argument("name", metavar="FLOW", shell_complete=complete_flow)
@click.option(
    "--purge",
    is_flag=True,
    help="Its stream as well: seeds, outputs, dead letters, and which frames it has had. Other objects stay.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@asynchronous
async def rm(name: str, purge: bool, yes: bool) -> None:
    """Stop a flow.

    It says first what that takes away. Without --purge what the flow gave is kept, and deploying it again finds that
    done.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.flow import removal

    async with operator() as bus:
        held = await removal.held(bus.nc, name)
        output.show(*_lines(held, purge, await _objects(name) if purge else ""))
        if not yes:
            confirm(f"Forget everything that flow {name} has seen and given?" if purge else f"Stop flow {name}?")
        if purge:  # first while all is there: if the store is away, it can be done again
            await _free(name, purge)
        await removal.remove(bus.nc, name, purge=purge)
        await _free(name, purge)
    output.note("Removed." if purge else f"Removed; what it gave is kept. That as well: lode flow rm {name} --purge")


async def _free(flow: str, purge: bool) -> None:
    from lodestream.cli.instance import objects
    from lodestream.errors import LodeError, Outage
    from lodestream.flow import removal

    try:
        await removal.free(objects(), flow, purge=purge)
    except Outage as why:
        if purge:  # what is left otherwise does no harm
            raise LodeError(str(why)) from None


def _lines(held: "Held", purge: bool, objects: str) -> list[str]:
    from lodestream.cli.wording import plural, size

    gone, kept = ("goes", "go") if purge else ("stays", "stay")
    return [
        f"flow {held.flow}",
        f"  {plural(len(held.consumers), 'consumer')}: {_list(held.consumers)}",
        f"  its stream {gone}: {plural(held.messages, 'message')}, {size(held.bytes)}",
        f"  {plural(held.seeds, 'publication')} of seeds and {plural(held.dead, 'dead letter')} {kept}",
        *([objects] if objects else []),
    ]


def _list(durables: list[str]) -> str:
    return f"{', '.join(sorted(durables))} {'goes' if len(durables) == 1 else 'go'}" if durables else "none is left"


async def _objects(flow: str) -> str:
    """What stays in the object store though no flow speaks of it any more, where the catalog answers."""
    from contextlib import suppress

    from lodestream.cli.instance import catalog
    from lodestream.cli.wording import plural, size
    from lodestream.errors import LodeError

    with suppress(LodeError):
        async with catalog() as ask:
            quoted = "'" + flow.replace("'", "''") + "'"
            [[count, held]] = (await ask(OBJECTS.format(flow=quoted))).rows
            return f"  {plural(count, 'object')} of no other flow ({size(held)}) {'stays' if count == 1 else 'stay'}"
    return ""
