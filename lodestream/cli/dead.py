"""`lode dead`: what could not be done; look at it, try it again, drop it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from lodestream.deadletters import Dead

    Resolve = Callable[[JetStreamContext, Dead], Awaitable[bool]]

SHOWN = 3
"""Dead letters that `ls` names of each group."""


@click.group(epilog=examples("lode dead ls", "lode dead show get", 'lode dead retry "timed out"'))
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
    from lodestream import deadletters
    from lodestream.cli import output
    from lodestream.cli.instance import operator

    async with operator() as bus:
        found = await deadletters.unresolved(bus.nc.jetstream(), flow)
    if as_json:
        output.print_json([each.letter for each in found])
    elif found:
        _groups(found)
        output.note("\nAll of one: lode dead show ID. Again: lode dead retry ID, NODE or REASON.")
    else:
        output.note("No dead letters." if flow == "*" else f"No dead letters in flow {flow}.")


def _groups(found: "list[Dead]") -> None:
    """Reason by reason, the most frequent first, with some of each."""
    from lodestream.cli import output
    from lodestream.cli.wording import ago

    groups: dict[tuple[str, str, str], list[Dead]] = defaultdict(list)
    for each in found:
        groups[each.letter.flow, each.letter.node, each.letter.reason].append(each)
    for (flow, node, reason), members in sorted(groups.items(), key=lambda group: -len(group[1])):
        output.show(f"{len(members):,} x {reason}, at node {node} of flow {flow}")
        newest = sorted(members, key=lambda member: member.letter.at, reverse=True)[:SHOWN]
        rows = [["   ", m.letter.entity, ago(m.letter.at), m.letter.detail] for m in newest]
        output.show(output.table(["", "", "", ""], rows))
        if len(members) > SHOWN:
            output.show(f"    and {len(members) - SHOWN:,} more")


@dead.command(epilog=examples("lode dead show youtube-dQw4w9WgXcQ", 'lode dead show "not JSON" --json'))
@click.argument("what", metavar="ID", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="An array of whole dead letters, for programs.")
@asynchronous
async def show(what: tuple[str, ...], as_json: bool) -> None:
    """Show dead letters in full: input, attempts, traceback.

    ID is the id of what failed; the name of a node or a reason shows all of its dead letters.
    """
    from lodestream import deadletters
    from lodestream.cli import output
    from lodestream.cli.instance import operator

    async with operator() as bus:
        chosen = deadletters.select(await deadletters.unresolved(bus.nc.jetstream()), what)
    if as_json:
        output.print_json([each.letter for each in chosen])
        return
    for index, each in enumerate(chosen):
        output.show(*([""] if index else []), *_lines(each))


def _lines(each: "Dead") -> list[str]:
    """One dead letter for people."""
    from lodestream.cli.wording import ago, plural

    letter = each.letter
    return [
        f"{letter.entity}: {letter.reason}" + (f": {letter.detail}" if letter.detail else ""),
        f"  node       {letter.node} ({letter.node_type}) of flow {letter.flow}",
        f"  when       {ago(letter.at)} ({letter.at}), after {plural(letter.deliveries, 'delivery', 'deliveries')}",
        f"  worker     {letter.worker}",
        f"  came from  {letter.input_subject}, message {letter.input_seq} of stream {letter.input_stream}",
        *(f"  attempt    {attempt.at}  {attempt.error}" for attempt in letter.attempts),
        "  input" + (" (base64)" if letter.input_encoding == "base64" else ""),
        *(f"    {line}" for line in _pretty(letter.input).splitlines()),
        *(["  traceback"] if letter.traceback else []),
        *(f"    {line}" for line in letter.traceback.splitlines()),
    ]


def _pretty(text: str) -> str:
    """JSON with a field a line; anything else as it is."""
    import msgspec

    try:
        return msgspec.json.format(text, indent=2) if text[:1] in ("{", "[") else text
    except msgspec.MsgspecError:
        return text


@dead.command(
    epilog=examples("lode dead retry youtube-dQw4w9WgXcQ", "lode dead retry get", 'lode dead retry "timed out"')
)
@click.argument("what", metavar="ID|NODE|REASON", nargs=-1, required=True)
@asynchronous
async def retry(what: tuple[str, ...]) -> int:
    """Offer dead letters to their nodes once more."""
    from lodestream import deadletters

    return await _resolve(what, deadletters.retry, "retried")


@dead.command(epilog=examples("lode dead drop youtube-dQw4w9WgXcQ", 'lode dead drop "not JSON"'))
@click.argument("what", metavar="ID|NODE|REASON", nargs=-1, required=True)
@asynchronous
async def drop(what: tuple[str, ...]) -> int:
    """Take dead letters off the list for good."""
    from lodestream import deadletters

    return await _resolve(what, deadletters.drop, "dropped")


async def _resolve(what: tuple[str, ...], how: "Resolve", done: str) -> int:
    """Do it to each that is meant; one that cannot be done does not keep the others from it."""
    from lodestream import deadletters
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError

    failed = 0
    async with operator() as bus:
        js = bus.nc.jetstream()
        for each in deadletters.select(await deadletters.unresolved(js), what):
            try:
                resolved = await how(js, each)
            except LodeError as error:
                output.fail(str(error))
                failed += 1
                continue
            output.show(f"{done if resolved else 'already resolved'}  {each.letter.entity}  {each.letter.reason}")
    return 1 if failed else 0
