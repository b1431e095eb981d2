"""`lode catalog`: the catalog's upkeep."""

import click

from lodestream.cli.commands import examples


@click.group(epilog=examples("lode catalog status", "lode catalog snapshot", "lode catalog rebuild"))
def catalog() -> None:
    """Look after the catalog.

    It is a projection of the streams, and can be made anew from them at any time.
    """
