"""`lode env`: how other programs reach the instance."""

import shlex
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import examples

if TYPE_CHECKING:
    from lodestream.local import Home


@click.command(epilog=examples("lode env", 'eval "$(lode env --shell)"; nats stream ls'))
@click.option("--shell", is_flag=True, help="Only lines that a shell can evaluate.")
def env(shell: bool) -> None:
    """Print what nats, duckdb and a shell need.

    This is the only command that prints secrets.
    """
    from lodestream.local import Home, connection, read_state

    home = Home.find()
    url, user, password = connection(home)
    variables = {"LODE_HOME": str(home.root), "NATS_URL": url, "NATS_USER": user, "NATS_PASSWORD": password}
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    if not shell:
        for line in _advice(home, running=read_state(home) is not None):
            click.echo(f"# {line}".rstrip())


def _advice(home: "Home", *, running: bool) -> list[str]:
    """What can be done with them."""
    from proto import subjects

    return [
        "",
        'The nats CLI, in a shell that has done  eval "$(lode env --shell)"',
        f"  nats pub {subjects.seeds('FLOW')} https://example.org/a.mp4",
        f"  nats req {subjects.CATALOG_SQL} 'from progress'",
        "  nats micro ls",
        *(_duckdb(home) if running else ["", "Nothing is up at the moment: lode up -d"]),
    ]


def _duckdb(home: "Home") -> list[str]:
    """How a DuckDB of the same version reads the catalog, from a copy that is seconds old."""
    import duckdb

    from lodestream.catalog.client import DOOR_FILE, TOKEN_FILE
    from lodestream.catalog.extensions import NAMES, extension

    door, token = ((home.catalog / name).read_text().strip() for name in (DOOR_FILE, TOKEN_FILE))
    return [
        "",
        f"Any DuckDB {duckdb.__version__}:",
        *(f"  load '{extension(name)}';" for name in NAMES),
        f"  create secret (type quack, token '{token}');",
        f"  attach '{door}' as lode;",
        "  from lode.query('from sources');",
    ]
