"""`lode run`, `test`, `bench`, `demo`: for those who work on nodes, or on Lodestream itself."""

import sys
from pathlib import Path

import click

from lodestream.cli.commands import asynchronous, examples
from lodestream.cli.nodes import complete_type

ROOT = Path(__file__).parents[2]
"""The source tree."""
PASSED_ON = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


@click.command(epilog=examples("lode demo", "LODE_HOME=/tmp/try lode demo"))
@asynchronous
async def demo() -> int:
    """Mine a small web site of its own.

    End to end, and what comes out is checked. It serves real video on loopback, publishes seeds, shows live
    progress and prints what was found, in under a minute. Run a second time it adds nothing and says so.
    """
    from lodestream.demo.run import demo as run_demo

    return await run_demo()


@click.command(
    epilog=examples(
        "lode run extract", "LODE_DEBUG=1 lode run fetch", "LODE_DEBUG=1 lode run fetch --flow cats --node get"
    )
)
@click.argument("node_type", metavar="TYPE", shell_complete=complete_type)
@click.option("--flow", default="", metavar="FLOW", help="With LODE_DEBUG=1: messages of this flow only.")
@click.option("--node", default="", metavar="NODE", help="With LODE_DEBUG=1: messages of this node only.")
def run(node_type: str, flow: str, node: str) -> None:
    """Run one worker in the foreground.

    It works beside those of the running instance. Its log goes to the terminal; Ctrl-C ends it and hands back what
    it has in hand.

    With LODE_DEBUG=1 it takes one message at a time and shows it with all that comes of it. Put breakpoint() into a
    node's code: the message is held for as long as you look, and the other workers serve the rest. Of a failure you
    see the traceback and choose; it makes no dead letter. Code in child processes has no terminal.
    """
    import os

    from lodestream.cli import output
    from lodestream.cli.instance import worker_environment
    from lodestream.cli.nodes import unknown_type
    from lodestream.registry import node_types

    if node_type not in node_types():
        raise unknown_type(node_type, sorted(node_types()))
    environment = worker_environment(node_type)
    if os.environ.get("LODE_DEBUG") == "1":
        asked = [sys.executable, "-m", "lodestream.debug", node_type, flow, node]
        os.execve(sys.executable, asked, {**os.environ, **environment})
    if flow or node:
        raise click.UsageError("--flow and --node are for LODE_DEBUG=1: a worker serves every node of its type.")
    output.note(f"a worker of {node_type}; quiet unless something is wrong. Ctrl-C stops it.")
    os.execve(sys.executable, [sys.executable, "-m", "lodestream.worker", node_type], {**os.environ, **environment})


@click.command(
    context_settings=PASSED_ON, epilog=examples("lode test", "lode test --all", "lode test tests/unit -k flow")
)
@click.option("--all", "everything", is_flag=True, help="Style and types as well.")
@click.argument("arguments", metavar="[PYTEST ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def test(everything: bool, arguments: tuple[str, ...]) -> int:
    """Run the tests.

    On real servers and real video; what pytest takes is passed on to it.
    """
    import subprocess

    checks = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]] if everything else []
    statuses = []
    for name, *rest in [*checks, ["pytest", *arguments]]:
        try:
            statuses.append(subprocess.run([sys.executable, "-m", name, *rest], cwd=ROOT, check=False).returncode)
        except KeyboardInterrupt:
            return 130
    return max(map(abs, statuses))  # a check that was killed has a negative one


@click.command(epilog=examples("lode bench", "lode bench hop", "lode bench --write"))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--write", is_flag=True, help="Keep the figures in tests/bench/RESULTS.md.")
def bench(names: tuple[str, ...], write: bool) -> int:
    """Measure speed.

    Each figure is a ratio of two things in one run on this machine; NAME chooses benchmarks by a part of their name.
    """
    from lodestream.cli.bench import run_all

    return run_all(ROOT / "tests" / "bench", names, write)
