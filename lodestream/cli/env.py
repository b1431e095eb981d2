"""`lode env`: how other programs reach the instance."""

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from lodestream.cli.commands import examples

if TYPE_CHECKING:
    from pathlib import Path


@click.command(epilog=examples("lode env", 'eval "$(lode env --shell)"; nats stream ls'))
@click.option("--shell", is_flag=True, help="Only lines that a shell can evaluate.")
def env(shell: bool) -> None:
    """Print what nats, duckdb and a shell need.

    This is the only command that prints secrets.
    """
    from lodestream.stack import current

    stack = current()
    url, user, password = stack.connection()
    variables = {**stack.variables(), "NATS_URL": url, "NATS_USER": user, "NATS_PASSWORD": password}
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    if not shell:
        for line in [*_advice(), *_store(stack.objects()), *_triton(*stack.triton()), *_duckdb(*stack.quack())]:
            click.echo(f"# {line}".rstrip())


def _advice() -> list[str]:
    """What can be done with them."""
    from proto import subjects

    return [
        "",
        'The nats CLI, in a shell that has done  eval "$(lode env --shell)"',
        f"  nats pub {subjects.seeds('FLOW')} https://example.org/a.mp4",
        f"  nats req {subjects.CATALOG_SQL} 'from progress'",
        "  nats micro ls",
    ]


def _store(url: str) -> list[str]:
    """How an S3 client reaches the objects, where they are in an S3 server."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return ["", f"Objects are files below {parts.path}"]
    return [
        "",
        "The objects, with mc or any S3 client:",
        f"  mc alias set lode http://{parts.hostname}:{parts.port} {parts.username} {parts.password}",
        f"  mc ls lode{parts.path}/media/",
    ]


def _triton(address: str, models: "Path | None") -> list[str]:
    """How a gRPC client reaches the Triton server."""
    if not address:
        return []
    where = f", with the models in {models}" if models else ""
    return ["", f"Triton{where}:", f"  tritonclient.grpc.InferenceServerClient({address!r})"]


def _duckdb(door: str, token: str) -> list[str]:
    """How a DuckDB of the same version reads the catalog, from a copy that is seconds old."""
    import duckdb

    from lodestream.catalog.extensions import NAMES, extension

    return [
        "",
        f"Any DuckDB {duckdb.__version__}:",
        *(f"  load '{extension(name)}';" for name in NAMES),
        f"  create secret (type quack, token '{token}');",
        f"  attach '{door}' as lode;",
        "  from lode.query('from sources');",
    ]
