"""`lode seed`: publish seeds, as `nats pub seeds.<flow>` does."""

import sys
from pathlib import Path
from typing import Any, get_args

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

KINDS = "query, url, channel, playlist, feed, gallery, list, folder, records"


@click.command(
    epilog=examples(
        'lode seed cats "cat jumps over a box"',
        "lode seed cats https://example.org/cat.mp4 https://example.org/feed.xml",
        "lode seed cats --file seeds.txt --limit 50",
        "cat seeds.txt | lode seed cats -",
        "lode seed cats https://example.org/feed.xml --again",
        "lode seed prices --records prices.jsonl",
    )
)
@click.argument("flow", shell_complete=complete_flow)
@click.argument("values", metavar="[VALUE|-]...", nargs=-1)
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Seeds, one a line.")
@click.option("--kind", metavar="KIND", help=f"What the values are; guessed where not said. One of: {KINDS}.")
@click.option("--limit", type=click.IntRange(1, 100_000), help="Candidates at most, of each seed.")
@click.option("--again", is_flag=True, help="Look again where these seeds have been looked at before.")
@click.option(
    "--records", "lines", type=click.File("rb"), metavar="FILE|-", help="Records themselves, JSON objects, one a line."
)
@asynchronous
async def seed(
    flow: str,
    values: tuple[str, ...],
    file: Path | None,
    kind: str | None,
    limit: int | None,
    again: bool,
    lines: Any,
) -> int:
    """Publish seeds for a flow.

    A seed is a search, a URL, or JSON; - reads them from standard input, one a line.
    """
    if lines is None:
        return await _seeds(flow, values, file, options(kind, limit, again))
    if values or file or kind or limit or again:
        raise click.UsageError("--records takes no values and no other option", click.get_current_context())
    return await _records(flow, lines)


async def _seeds(flow: str, values: tuple[str, ...], file: Path | None, given: dict[str, Any]) -> int:
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.cli.seed_lines import collectors
    from lodestream.cli.wording import plural
    from lodestream.flow import store
    from proto import subjects

    lines = read_lines(values, file)
    if not lines:
        raise click.UsageError("no seeds; give values, --file FILE, or - to read lines", click.get_current_context())
    payloads = [payload(line, given) for line in lines]
    async with operator() as bus:
        deployed = await store.load_deployed(bus.nc, flow)
        if given.get("kind") == "records":
            collectors(deployed)
        js = bus.nc.jetstream()
        for each in payloads:
            await js.publish(subjects.seeds(flow), each)
    output.note(f"{plural(len(payloads), 'seed')} published on {subjects.seeds(flow)}; see them done: lode wait {flow}")
    return 0


async def _records(flow: str, file: Any) -> int:
    """Publish the lines of a file or of standard input; 1 where some are no records."""
    from lodestream.cli import output, seed_lines
    from lodestream.cli.instance import operator
    from lodestream.flow import store

    named = getattr(file, "name", "<stdin>")
    name = Path("/dev/stdin") if named == "<stdin>" else Path(named).resolve()
    async with operator() as bus:
        sender = seed_lines.Sender(bus, await store.load_deployed(bus.nc, flow), str(name))
        try:
            await seed_lines.send(sender, file)
        finally:
            output.note("\n".join([*sender.told.bad, sender.told.summary()]))
    return 1 if sender.told.malformed else 0


def read_lines(values: tuple[str, ...], file: Path | None) -> list[str]:
    """The seeds of the arguments, of the file and of standard input; blank lines and # comments are none."""
    texts = [file.read_bytes()] if file else []
    texts += [sys.stdin.buffer.read() if value == "-" else value.encode("utf-8", "surrogateescape") for value in values]
    try:
        lines = [line.strip() for text in texts for line in text.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        what = f"{file} is" if file else "these seeds are"
        raise click.UsageError(f"{what} no text in UTF-8 (byte {error.start})", click.get_current_context()) from None
    return [line for line in lines if line and not line.startswith("#")]


def options(kind: str | None, limit: int | None, again: bool) -> dict[str, Any]:
    """What the options say about every seed, as its JSON has it."""
    from lodestream.letters import now
    from proto.messages import SeedKind

    if kind and kind not in get_args(SeedKind):
        raise click.BadParameter(f"{kind!r} is none of: {KINDS}", param_hint="--kind")
    given = {"kind": kind, "limit": limit, "round": now() if again else None}
    return {name: value for name, value in given.items() if value is not None}


def payload(line: str, given: dict[str, Any]) -> bytes:
    """One seed as it is published: the line itself, or JSON where options say more about it."""
    import msgspec

    if not given:
        return line.encode()
    try:
        fields = msgspec.json.decode(line) if line.startswith("{") else {"value": line}
    except msgspec.MsgspecError:
        return line.encode()  # intake says what is wrong with it, and keeps it
    return msgspec.json.encode({**fields, **given})
