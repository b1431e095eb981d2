"""From arguments to an exit status: 0; 1 for an error, on one line; 2 for a wrong call; 130 when interrupted."""

import os
import sys
import time
import traceback
from pathlib import Path

import click

from lodestream.cli import (
    catalog,
    dead,
    develop,
    doctor,
    env,
    export,
    fakes,
    flow,
    forget,
    models,
    nodes,
    output,
    replay,
    seed,
    sheet,
    show,
    sql,
    stack,
    status,
    tune,
    wait,
)
from lodestream.cli.commands import CONTEXT, START, Sections
from lodestream.cli.completion import completion
from lodestream.errors import LodeError

DISTRIBUTION = "lodestream"
ERROR, USAGE, INTERRUPTED = 1, 2, 130


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    """Say which version this is, and of what Python."""
    if not asked:
        return
    import tomllib
    from importlib import metadata

    source = Path(__file__).parents[2] / "pyproject.toml"
    version = (
        tomllib.loads(source.read_text())["project"]["version"] if source.exists() else metadata.version(DISTRIBUTION)
    )
    click.echo(f"lode {version}, Python {sys.version.split()[0]}")
    ctx.exit()


def _stack(ctx: click.Context, param: click.Parameter, given: str | None) -> None:
    """Speak to this stack, in this command and what it starts."""
    if given:
        os.environ["LODE_STACK"] = given


@click.group(cls=Sections, context_settings=CONTEXT, epilog=START)
@click.option(
    "--stack",
    metavar="STACK",
    expose_value=False,
    is_eager=True,
    callback=_stack,
    help="local (LODE_HOME) or compose, the containers of compose.yaml; LODE_STACK says it for every command.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def lode() -> None:
    """Mine the web's video into datasets, on a stream.

    Publish a seed (a search, a page, a channel, a feed); get back frames in object storage and a catalog that
    answers SQL. An instance lives in LODE_HOME (~/.lodestream where it is not set).
    """


for command in (
    *(develop.demo, stack.up, stack.down, status.status, stack.logs, doctor.doctor, env.env),
    *(
        seed.seed,
        wait.wait,
        sql.sql,
        show.show,
        sheet.sheet,
        tune.tune,
        export.export,
        flow.flow,
        nodes.nodes,
        models.models,
        dead.dead,
        catalog.catalog,
    ),
    *(forget.forget, fakes.fakes),
    *(develop.run, replay.replay, develop.test, develop.bench, completion),
):
    lode.add_command(command)


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        status = lode.main(arguments, prog_name="lode", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.UsageError as error:
        return _usage(error)
    except (LodeError, click.ClickException) as error:
        output.fail(error.format_message() if isinstance(error, click.ClickException) else str(error))
        return ERROR
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return ERROR
    except Exception as error:
        return _unexpected(error)


def _usage(error: click.UsageError) -> int:
    """A wrong call: what is wrong, and where its help is."""
    output.fail(error.format_message())
    path = error.ctx.command_path if error.ctx else "lode"
    sys.stderr.write(f"Try: {path} --help\n")
    return USAGE


def _unexpected(error: Exception) -> int:
    """A mistake of ours: one line, and the details in a file; all of it at once with LODE_DEBUG=1."""
    if os.environ.get("LODE_DEBUG") == "1":
        raise error
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    try:
        where = f"details in {_keep(error)}"
    except OSError:
        where = "LODE_DEBUG=1 shows the details"
    output.fail(f"unexpected {what} ({where})")
    return ERROR


def _keep(error: Exception) -> Path:
    """Write the traceback into the instance's logs; the file."""
    from lodestream.local.home import logs_folder

    folder = logs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "cli-error.log"
    head = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} lode {' '.join(sys.argv[1:])}\n"
    with file.open("a") as log:
        log.write(head + "".join(traceback.format_exception(error)))
    return file
