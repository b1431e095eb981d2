"""`lode catalog`: the catalog's upkeep."""

from typing import Any

import click

from lodestream.cli.commands import asynchronous, examples

SLOWEST = 3600.0
"""Seconds that a snapshot or a rebuild may take."""


@click.group(epilog=examples("lode catalog status", "lode catalog snapshot", "lode catalog rebuild"))
def catalog() -> None:
    """Look after the catalog.

    It is a projection of the streams, and can be made anew from them at any time.
    """


@catalog.command(epilog=examples("lode catalog status", "lode catalog status --json"))
@click.option("--json", "as_json", is_flag=True, help="One object, for programs.")
@asynchronous
async def status(as_json: bool) -> None:
    """Show how far it has read each stream.

    And what is in its way, how large it is, and where DuckDB clients find it.
    """
    from lodestream.cli import output
    from proto import subjects

    told = await _ask(subjects.CATALOG_STATUS)
    output.print_json(told) if as_json else _show(told)


def _show(told: dict[str, Any]) -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import size

    rows = [[name, at["last"], at["applied"], at["lag"]] for name, at in told["streams"].items()]
    output.print_table(["stream", "messages", "applied", "behind"], rows)
    output.show("", f"{size(told['bytes'])}; DuckDB clients: {told['quack'] or 'no door'}")
    if told["trouble"]:
        output.fail(f"the catalog cannot write: {told['trouble']}")


@catalog.command(epilog=examples("lode catalog snapshot"))
@asynchronous
async def snapshot() -> None:
    """Write it as Parquet into the object store.

    Any engine can read that; what an earlier snapshot has is not written again.
    """
    from lodestream.cli import output
    from lodestream.cli.wording import plural
    from lodestream.objects import shown
    from lodestream.stack import current
    from proto import subjects

    told = await _ask(subjects.CATALOG_SNAPSHOT)
    output.print_table(["table", "rows"], sorted(told["rows"].items()))
    where = f"{shown(current().objects())}/{told['manifest']}"
    output.note(
        f"{plural(told['written'], 'file')} of {told['files']} written, in {told['seconds']} s; named by {where}"
    )


@catalog.command(epilog=examples("lode catalog rebuild"))
@asynchronous
async def rebuild() -> None:
    """Make it anew from the streams.

    It answers meanwhile, from what it has read so far. Nothing else is touched.
    """
    import asyncio
    import sys
    import time

    from lodestream.cli import output
    from lodestream.cli.wording import span
    from proto import subjects

    began = time.monotonic()
    told = await _ask(subjects.CATALOG_REBUILD)
    with output.Redrawn(sys.stderr) as redrawn:
        while told["lag"]:
            redrawn.show(f"{told['lag']:,} messages behind")
            await asyncio.sleep(1)
            told = await _ask(subjects.CATALOG_STATUS)
    output.note(f"made anew in {span(time.monotonic() - began)}")
    _show(told)


async def _ask(subject: str) -> Any:
    """One request to the service. Raises LodeError where it is away or says no."""
    import nats.errors

    from lodestream.catalog import ask
    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError

    async with operator() as bus:
        try:
            return await ask(bus.nc, subject, seconds=SLOWEST)
        except nats.errors.NoRespondersError:
            raise LodeError("the catalog does not answer; see: lode logs catalog") from None
