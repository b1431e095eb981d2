"""`lode dead`: what could not be done; look at it, try it again, drop it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from lodestream.bus import Bus
    from lodestream.deadletters import Dead

    Resolve = Callable[[JetStreamContext, Dead], Awaitable[bool]]


@click.group(
    epilog=examples("lode dead ls", "lode dead show get", 'lode dead retry "timed out"', "lode dead retry --all")
)
def dead() -> None:
    """See, retry and drop dead letters.

    A dead letter is what could not be done, with all that is needed to do it later.
    """


@dead.command(epilog=examples("lode dead ls", "lode dead ls cats", "lode dead ls --json"))
@click.argument("flow", required=False, default="*", metavar="[FLOW]", shell_complete=complete_flow)
@click.option("--json", "as_json", is_flag=True, help="An array of whole dead letters, for programs.")
@asynchronous
async def ls(flow: str, as_json: bool) -> None:
    """List dead letters, grouped by reason."""
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.cli.letters import grouped

    async with operator() as bus:
        found = await _listed(bus, flow)
    if as_json:
        output.print_json([each.letter for each in found])
    elif found:
        output.show(*grouped(found))
        output.note("\nAll of one: lode dead show ID. Again: lode dead retry ID, NODE, REASON or --all.")
    else:
        output.note("No dead letters." if flow == "*" else f"No dead letters in flow {flow}.")


async def _listed(bus: "Bus", flow: str = "*") -> "list[Dead]":
    """What is on the list at this moment: what is done by now is taken off first."""
    from lodestream import deadletters
    from lodestream.flow.store import listing
    from lodestream.settled import Settling

    await Settling(bus.nc).look({record.flow: record for record in await listing(bus.nc)})
    return await deadletters.unresolved(bus.nc.jetstream(), flow)


@dead.command(epilog=examples("lode dead show youtube-dQw4w9WgXcQ", 'lode dead show "not JSON" --json'))
@click.argument("what", metavar="ID", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="An array of whole dead letters, for programs.")
@asynchronous
async def show(what: tuple[str, ...], as_json: bool) -> None:
    """Show dead letters in full: reason, attempts, input, traceback.

    ID is the id of what failed; the name of a node or a reason shows all of its dead letters.
    """
    from lodestream import deadletters
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.cli.letters import in_full

    async with operator() as bus:
        chosen = deadletters.select(await _listed(bus), what)
    if as_json:
        output.print_json([each.letter for each in chosen])
        return
    for index, each in enumerate(chosen):
        output.show(*([""] if index else []), *in_full(each.letter))


ALL = click.option("--all", "everything", is_flag=True, help="All that are listed.")


@dead.command(
    epilog=examples("lode dead retry youtube-dQw4w9WgXcQ", "lode dead retry get", 'lode dead retry "timed out"')
)
@click.argument("what", metavar="[ID|NODE|REASON]...", nargs=-1)
@ALL
@asynchronous
async def retry(what: tuple[str, ...], everything: bool) -> int:
    """Offer dead letters to their nodes once more.

    What succeeds is done; what fails again is listed again, with all that was tried before.
    """
    from lodestream import deadletters

    return await _resolve(what, everything, deadletters.retry, "retried")


@dead.command(epilog=examples("lode dead drop youtube-dQw4w9WgXcQ", 'lode dead drop "not JSON"'))
@click.argument("what", metavar="[ID|NODE|REASON]...", nargs=-1)
@ALL
@asynchronous
async def drop(what: tuple[str, ...], everything: bool) -> int:
    """Take dead letters off the list for good."""
    from lodestream import deadletters

    return await _resolve(what, everything, deadletters.drop, "dropped")


async def _resolve(what: tuple[str, ...], everything: bool, how: "Resolve", done: str) -> int:
    """Do it to each that is meant; one that cannot be done does not keep the others from it."""
    from lodestream import deadletters
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError
    from lodestream.flows import deployed_flows

    if bool(what) == everything:
        raise click.UsageError("say which: ID|NODE|REASON, or --all; they are listed by: lode dead ls")
    failed = 0
    async with operator() as bus:
        js, listed = bus.nc.jetstream(), await _listed(bus)
        flows = await deployed_flows(bus)
        for each in listed if everything else deadletters.select(listed, what):
            try:
                if how is deadletters.retry:
                    deadletters.require_taker(flows, each)
                resolved = await how(js, each)
            except LodeError as error:
                output.fail(str(error))
                failed += 1
                continue
            output.show(f"{done if resolved else 'already resolved'}  {each.letter.entity}  {each.letter.reason}")
    return 1 if failed else 0
