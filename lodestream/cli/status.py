"""`lode status`: where everything stands."""

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

EVERY = 1.0
"""Seconds between looks with --watch."""


@click.command(epilog=examples("lode status", "lode status cats", "lode status --watch", "lode status --json"))
@click.argument("flow", required=False, default="", metavar="[FLOW]", shell_complete=complete_flow)
@click.option("-w", "--watch", is_flag=True, help="Keep showing it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One object, for programs.")
@asynchronous
async def status(flow: str, watch: bool, as_json: bool) -> None:
    """Show where everything stands.

    For each node: its workers, messages waiting and in flight, what it gave, rejected and could not do, and what it
    is at now.
    """
    import asyncio

    from lodestream.cli import output, screen
    from lodestream.cli.instance import nothing_up, operator
    from lodestream.errors import LodeError
    from lodestream.local import Home, read_state
    from lodestream.status import Status, gather

    home = Home.find()

    async with operator() as bus:

        async def look() -> Status:
            if (state := read_state(home)) is None:
                raise LodeError(nothing_up(home))
            return await gather(bus, home, state, flow)

        first = await look()
        if as_json:
            output.print_json(first)
        elif not watch:
            output.show(*screen.whole(first))
        else:
            with output.Redrawn() as redrawn:
                redrawn.show(*screen.whole(first))
                while True:
                    await asyncio.sleep(EVERY)
                    try:
                        first = await look()
                        redrawn.show(*screen.whole(first))
                    except LodeError as error:
                        redrawn.show(*screen.whole(first), f"! {error}")
