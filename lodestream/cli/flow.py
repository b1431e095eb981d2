"""`lode flow`: write, check, deploy and look at flows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, confirm, examples
from lodestream.cli.flow_file import FILE, checked, lint, new
from lodestream.cli.flow_rm import rm

if TYPE_CHECKING:
    from lodestream.cli.output import Cell
    from lodestream.flow.diff import Diff
    from lodestream.status import FlowStatus

NEW_ONLY = (
    "Node whose new wires give only what comes from now on, not what is stored; NODE:SOURCE for the wire from one "
    "node. May be given more than once."
)


@click.group(
    epilog=examples(
        'lode flow new cats --query "cat jumps" --every 1s', "lode flow lint cats.yaml", "lode flow deploy cats.yaml"
    )
)
def flow() -> None:
    """Write, check, deploy and look at flows."""


@flow.command(epilog=examples("lode flow diff cats.yaml"))
@click.argument("file", type=FILE)
@click.option("--new-only", metavar="NODE[:SOURCE]", multiple=True, help=NEW_ONLY)
@asynchronous
async def diff(file: Path, new_only: tuple[str, ...]) -> None:
    """Say what a deploy would do, and touch nothing."""
    from lodestream.cli.instance import operator
    from lodestream.flow import deploy as deploying

    flow = checked(file)
    async with operator() as bus:
        found, _ = await deploying.preview(bus.nc, flow, new_only=new_only)
    _print_diff(found)


def _print_diff(diff: "Diff") -> None:
    """A line for each thing, in the colour of what happens to its node."""
    from rich.text import Text

    from lodestream.cli import output

    colours = {"added": "good", "removed": "bad", "recomputes": "warn"}
    styles = {f"{change.node} ({change.type})": colours.get(change.kind, "") for change in diff.changes}
    lines = [Text(output.clean(f"  {line}"), styles.get(line.partition(":")[0], "")) for line in diff.lines()]
    output.show(Text.assemble("flow ", (diff.flow, "bold")), *lines)


@flow.command(epilog=examples("lode flow deploy cats.yaml", "lode flow deploy cats.yaml --new-only frames:more --yes"))
@click.argument("file", type=FILE)
@click.option("--new-only", metavar="NODE[:SOURCE]", multiple=True, help=NEW_ONLY)
@click.option("--yes", is_flag=True, help="Do not ask, also where work is done again.")
@asynchronous
async def deploy(file: Path, new_only: tuple[str, ...], yes: bool) -> None:
    """Put a flow to work, or change it.

    It may work meanwhile: only what differs is touched. On a terminal it asks first where a node would do its work
    again or be removed.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.flow import deploy as deploying

    flow = checked(file)
    async with operator() as bus:
        found, version = await deploying.preview(bus.nc, flow, new_only=new_only)
        _print_diff(found)
        if not yes and any(change.kind in ("recomputes", "removed") for change in found.changes):
            confirm("Deploy that?")
        report = await deploying.deploy(bus.nc, flow, version=version, new_only=new_only)
    if report.consumers and not found.changes:
        output.show(*(f"  put right: {line}" for line in report.consumers))
    if found.text or found.changes:
        output.note(f'Deployed. Give it something: lode seed {flow.name} "..."; watch it: lode status --watch')


@flow.command(epilog=examples("lode flow ls", "lode flow ls --json"))
@click.option("--json", "as_json", is_flag=True, help="An array of records, for programs.")
@asynchronous
async def ls(as_json: bool) -> None:
    """List the deployed flows."""
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.flow import store
    from lodestream.status import flow_status

    async with operator() as bus:
        records = await store.listing(bus.nc)
        flows = [await flow_status(bus, record) for record in records]
    if as_json:
        output.print_json(records)
    elif not flows:
        output.note(
            'No flow is deployed. Write one: lode flow new cats --query "cat jumps"; then: lode flow deploy FILE'
        )
    else:
        heads = ["flow", "nodes", "waiting", "in flight", "messages", "stream", "changed"]
        output.print_table(heads, [_summary(flow) for flow in flows])


def _summary(flow: "FlowStatus") -> "list[Cell]":
    from lodestream.cli.wording import ago, size

    waiting, in_flight = sum(node.waiting for node in flow.nodes), sum(node.in_flight for node in flow.nodes)
    return [flow.flow, len(flow.nodes), waiting, in_flight, flow.messages, size(flow.bytes), ago(flow.at)]


@flow.command(epilog=examples("lode flow show cats", "lode flow show cats > cats.yaml"))
@click.argument("name", metavar="FLOW", shell_complete=complete_flow)
@asynchronous
async def show(name: str) -> None:
    """Print the file of a deployed flow."""
    from lodestream.cli.instance import operator
    from lodestream.flow import store

    async with operator() as bus:
        click.echo((await store.load_deployed(bus.nc, name)).text.rstrip("\n"))


@flow.command(epilog=examples("lode flow reset cats get", "lode flow reset cats get frames --yes"))
@click.argument("name", metavar="FLOW", shell_complete=complete_flow)
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@asynchronous
async def reset(name: str, nodes: tuple[str, ...], yes: bool) -> None:
    """Let nodes do their work again, from the beginning of their wires.

    What is remembered of it (the memo) is not computed again, and what was given once is known and not given twice:
    to have that anew as well, change a setting that shapes it. It says first how many messages wait.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.flow import deploy as deploying

    async with operator() as bus:
        flow = await deploying.running(bus.nc, name)
        found, version = await deploying.preview(bus.nc, flow, reset=nodes)
        _print_diff(found)
        if not yes:
            confirm("Do that?")
        await deploying.deploy(bus.nc, flow, version=version, reset=nodes)
    output.note(f"Reset. Watch it: lode status {name} --watch")


def _switch(verb: str, done: str, doc: str) -> click.Command:
    """`pause` and `resume` differ in one call."""

    @click.command(verb, help=doc, epilog=examples(f"lode flow {verb} cats", f"lode flow {verb} cats get"))
    @click.argument("name", metavar="FLOW", shell_complete=complete_flow)
    @click.argument("nodes", metavar="[NODE]...", nargs=-1)
    @asynchronous
    async def switch(name: str, nodes: tuple[str, ...]) -> None:
        from lodestream.cli import output
        from lodestream.cli.instance import operator
        from lodestream.flow import deploy as deploying

        async with operator() as bus:
            turned = await getattr(deploying, verb)(bus.nc, name, nodes)
        output.show(f"{done}: {', '.join(turned)}" if turned else f"nothing to {verb}: {name} is so already")

    return switch


flow.add_command(new)
flow.add_command(lint)
flow.add_command(rm)
flow.add_command(_switch("pause", "paused", "Let a flow, or some of its nodes, take nothing more for now."))
flow.add_command(_switch("resume", "resumed", "Let a paused flow, or some of its nodes, go on."))
