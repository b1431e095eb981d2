"""`lode up`, `down`, `logs`: the instance as processes and their logs."""

from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, examples

if TYPE_CHECKING:
    from pathlib import Path

    from lodestream.local import State

TAIL = 40
"""Lines of a log that are shown."""


def _counts(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    """`--scale extract=2` as a mapping."""
    counts = {}
    for text in given:
        name, sign, number = text.partition("=")
        if not sign or not number.isdecimal():
            raise click.BadParameter(f"{text!r} is not TYPE=NUMBER, such as extract=2")
        counts[name] = int(number)
    return counts


@click.command(epilog=examples("lode up", "lode up -d --scale extract=2 --scale fetch=3", "lode up -d --autoscale"))
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background.")
@click.option("--scale", metavar="TYPE=N", multiple=True, callback=_counts, help="Workers of a node type; one of each.")
@click.option("--autoscale", is_flag=True, help="More workers while much waits, up to the cores; --scale is the least.")
def up(detach: bool, scale: dict[str, int], autoscale: bool) -> None:
    """Start the instance.

    That is a NATS server, the object directory, a worker of every node type and the catalog. In the foreground it
    runs until Ctrl-C. All that it keeps lies in LODE_HOME.
    """
    from lodestream.cli import output
    from lodestream.local import Home
    from lodestream.local import up as start

    home = Home.find()

    def said(state: "State") -> None:
        output.note(f"up in {home.root}: {len(state.processes)} processes, NATS at {state.nats_url}")
        output.note("Next: lode status; stop it with: lode down" if detach else "Ctrl-C stops it.")

    start(home, detach=detach, counts=scale, autoscale=autoscale, on_ready=said)
    if not detach:
        output.note("stopped")


@click.command(epilog=examples("lode down"))
def down() -> None:
    """Stop the instance.

    Work in hand is handed back; nothing is lost.
    """
    from lodestream.cli import output
    from lodestream.local import Home
    from lodestream.local import down as stop

    home = Home.find()
    output.note("stopped" if stop(home) else f"nothing was up in {home.root}")


def complete_log(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of logs, for the shell."""
    from lodestream.local import Home

    return [file.stem for file in sorted(Home.find().logs.glob("*.log")) if file.stem.startswith(incomplete)]


@click.command(epilog=examples("lode logs", "lode logs fetch", "lode logs nats -f"))
@click.argument("services", metavar="[SERVICE]...", nargs=-1, shell_complete=complete_log)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@asynchronous
async def logs(services: tuple[str, ...], follow: bool) -> None:
    """Show the last lines of the logs.

    Of every service, or of those that are named. On a terminal the lines are made legible; a pipe gets them as they
    are, one JSON object each.
    """
    from lodestream.cli import tailing
    from lodestream.errors import LodeError
    from lodestream.local import Home

    folder = Home.find().logs
    files = {file.stem: file for file in sorted(folder.glob("*.log"))}
    if not files:
        raise LodeError(f"no logs in {folder}; start an instance with: lode up -d")
    if strange := [name for name in services if name not in files]:
        raise LodeError(f"no log of {strange[0]!r} in {folder}; there are: {', '.join(files)}")
    chosen: dict[str, Path] = {name: files[name] for name in services} or files
    await tailing.show(chosen, TAIL, follow)
