"""`lode doctor`: looks for what keeps an instance from working, and says what to do."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, examples

if TYPE_CHECKING:
    from lodestream.cli.checks import Finding
    from lodestream.cli.output import Cell
    from lodestream.stack import Stack


@click.command(epilog=examples("lode doctor", "lode doctor --check-objects", "lode doctor --repair --deep"))
@click.option("--check-objects", is_flag=True, help="Compare every message and manifest with the object store, too.")
@click.option("--repair", is_flag=True, help="The same, and have made again what is gone or wrong.")
@click.option("--deep", is_flag=True, help="Read every object for that, not only those that somebody has written to.")
@click.option("--json", "as_json", is_flag=True, help="An array of findings, for programs.")
@asynchronous
async def doctor(check_objects: bool, repair: bool, deep: bool, as_json: bool) -> int:
    """Look for what is in the way.

    Checks versions, disk, ports, servers, write access, the clock and node types, and says what to do. Fails where
    something keeps Lodestream from working; a note alone does not.
    """
    from lodestream.cli import checks, output
    from lodestream.cli.doctor_objects import compare
    from lodestream.cli.wording import plural
    from lodestream.compose.stack import ComposeStack
    from lodestream.stack import LocalStack, current

    stack = current()
    found = [*checks.machine(), *checks.node_types()]
    if isinstance(stack, LocalStack):
        found += [*checks.folder(stack.home), *checks.ports(stack.home), checks.triton()]
    if isinstance(stack, ComposeStack):
        found += checks.published(stack)
    found += [finding async for finding in _instance(stack)]
    if check_objects or repair or deep:
        found += await compare(stack, deep=deep, repair=repair)
    bad = sum(finding.verdict == "bad" for finding in found)
    if as_json:
        output.print_json([finding._asdict() for finding in found])
    else:
        output.show(output.table(["", "", ""], [_row(finding) for finding in found], fold=True))
        output.show("", f"{plural(bad, 'problem')}." if bad else "Everything is as it should be.")
    return 1 if bad else 0


def _row(finding: "Finding") -> "list[Cell]":
    from lodestream.cli.output import Mark

    style = {"ok": "good", "note": "warn", "bad": "bad"}[finding.verdict]
    said = Mark(f"{finding.said}\n-> {finding.advice}", style) if finding.advice else finding.said
    return [Mark(finding.verdict, style), finding.what, said]


async def _instance(stack: "Stack") -> "AsyncIterator[Finding]":
    """What runs: the server, the object store, the catalog, everything that `lode status` finds in the way."""
    from lodestream.catalog import Ways, sql
    from lodestream.cli.checks import Finding, skew
    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError
    from lodestream.status import gather
    from lodestream.streams import ask
    from proto import subjects

    try:
        state = stack.state()
    except LodeError as error:
        yield Finding("instance", "note", str(error))
        return
    try:
        async with operator() as bus:
            yield Finding("instance", "ok", f"up, NATS answers at {state.nats_url}")
            info = await ask(bus.nc, f"STREAM.INFO.{subjects.SEEDS}", {}) or {}
            yield skew(info["ts"])
            yield await _objects()
            answer = await sql("select 1", Ways(bus.nc))
            yield Finding("catalog", "ok", f"answers in {answer.ms:.0f} ms")
            for problem in (await gather(bus, stack, state)).problems:
                yield Finding("status", "bad", problem)
    except LodeError as error:
        yield Finding("instance", "bad", str(error), "lode down, then lode up -d")


async def _objects() -> "Finding":
    """Whether the object store keeps what it is given."""
    from lodestream.cli import instance
    from lodestream.cli.checks import Finding
    from proto import keys

    objects, key = instance.objects(), keys.snapshot("doctor")
    await objects.put(key, b"doctor")
    kept = await objects.get(key) == b"doctor"
    await objects.delete(key)
    if not kept:
        return Finding("objects", "bad", "gave back something else than was stored", "look at the disk")
    return Finding("objects", "ok", "keeps what it is given")
