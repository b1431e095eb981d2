"""`lode wait`: returns when a flow has nothing left to do."""

import sys
import time
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

if TYPE_CHECKING:
    from lodestream.status import FlowStatus

LINE_EVERY = 5.0
"""Seconds between lines where there is no terminal."""


def _duration(ctx: click.Context, param: click.Parameter, given: str) -> float:
    from lodestream.units import Duration

    try:
        return float(Duration.parse(given))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog=examples("lode wait cats", "lode wait cats --timeout 2h", "lode seed cats - < urls.txt && lode wait cats")
)
@click.argument("name", metavar="FLOW", shell_complete=complete_flow)
@click.option("--timeout", default="10m", show_default=True, callback=_duration, help="Give up after 30s, 10m, 2h ...")
@asynchronous
async def wait(name: str, timeout: float) -> None:
    """Wait until a flow is idle.

    Nothing waits then, nothing is in flight, and the catalog has it all. Shows how it goes meanwhile, and at the end
    what the newest seeds brought that is new, or why they brought nothing. Fails, saying what still waits, when the
    time is up.
    """
    from lodestream.catalog import Ways
    from lodestream.cli import output, screen
    from lodestream.cli.instance import operator
    from lodestream.cli.wording import span
    from lodestream.idle import until_idle
    from lodestream.runs import latest

    began = time.monotonic()
    async with operator() as bus:
        with Meanwhile(began) as meanwhile:
            async for now in until_idle(bus, name, timeout):
                meanwhile.show(now)
        run = await latest(bus, Ways(bus.nc), name)
    output.show(screen.flow_table(now))
    if run:
        output.show("", *screen.run_summary(run))
    output.note(f"{name} is idle, after {span(time.monotonic() - began)}.")


class Meanwhile:
    """What is shown while a flow works, on stderr: a table drawn over and over, or a line now and then."""

    def __init__(self, began: float):
        from lodestream.cli.output import Redrawn, is_terminal

        self._began, self._said = began, began
        self._screen = Redrawn(sys.stderr) if is_terminal(sys.stderr) else None

    def __enter__(self) -> "Meanwhile":
        if self._screen:
            self._screen.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._screen:
            self._screen.__exit__(*failure)

    def show(self, flow: "FlowStatus") -> None:
        """Show where it stands."""
        from lodestream.cli import output, screen
        from lodestream.cli.wording import span
        from lodestream.idle import left

        passed = time.monotonic() - self._began
        if self._screen:
            self._screen.show(f"{flow.flow}: waiting for {span(passed)}", screen.flow_table(flow))
        elif time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            output.note(f"{span(passed)}: {left(flow) or 'idle'}")
