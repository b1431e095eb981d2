"""`lode status`: where everything stands."""

import sys
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

if TYPE_CHECKING:
    from lodestream.status import Status

EVERY = 1.0
"""Seconds between looks with --watch."""


@click.command(epilog=examples("lode status", "lode status cats", "lode status --watch", "lode status --json"))
@click.argument("flow", required=False, default="", metavar="[FLOW]", shell_complete=complete_flow)
@click.option("-w", "--watch", is_flag=True, help="Keep showing it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One object, for programs.")
@asynchronous
async def status(flow: str, watch: bool, as_json: bool) -> None:
    """Show where everything stands.

    For each node: its workers, messages waiting and in flight, what it gave, skipped as known, rejected and could not
    do, and what it is at now; for each flow, new videos by the hour and what has run dry; which services were given
    more workers or fewer within the hour, and why. Ends with status 1 where the server does not answer.
    """
    import asyncio

    from lodestream.cli import output, screen

    found = await _look(flow)
    if as_json:
        output.print_json(found)
    elif not watch:
        output.show(*screen.whole(found))
    else:
        with output.Redrawn() as redrawn:
            while True:
                redrawn.show(*screen.whole(found))
                await asyncio.sleep(EVERY)
                found = await _look(flow)
    if not found.nats_answers:
        sys.exit(1)


async def _look(flow: str) -> "Status":
    """The status at this moment. Raises LodeError where nothing is up, or there is no such flow."""
    from lodestream.bus import Away
    from lodestream.cli.instance import operator
    from lodestream.stack import current
    from lodestream.status import gather, without_server

    stack = current()
    state = stack.state()
    try:
        async with operator() as bus:
            return await gather(bus, stack, state, flow)
    except Away:
        return without_server(stack, state)
