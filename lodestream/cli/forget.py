"""`lode forget`: a video, a seed or a source is removed everywhere, and does not come back."""

from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, examples
from proto import keys, subjects

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lodestream.bus import Bus
    from lodestream.forget.plan import Plan
    from lodestream.objects import Objects

PATIENCE = 10.0
"""Seconds that the catalog has to delete its rows."""
FEW = 5
"""Addresses that are named; of more, how many there are."""


@click.command(
    epilog=examples(
        "lode forget youtube-dQw4w9WgXcQ",
        "lode forget https://example.org/a.mp4 --yes",
        "lode forget example.org --yes",
        "lode forget query-cat-jumps-91c03b5a2f7e4d18 --yes --allow-again",
        "lode forget --ls",
        "lode forget --undo youtube-dQw4w9WgXcQ",
    )
)
@click.argument("what", metavar="[ID|ADDRESS|SOURCE]", required=False)
@click.option("--yes", is_flag=True, help="Do it. Without this it is only shown what would go.")
@click.option("--allow-again", is_flag=True, help="Let it be mined again, once all that there is has gone.")
@click.option("--ls", "listed", is_flag=True, help="List what was forgotten.")
@click.option("--undo", metavar="ID", help="Let what was forgotten be mined again. What is gone stays gone.")
@asynchronous
async def forget(what: str | None, yes: bool, allow_again: bool, listed: bool, undo: str | None) -> None:
    """Remove a video, a seed or a source for good.

    All that came of it goes, in every flow, removed ones included: objects, messages, dead letters, rows. The same
    bytes under other addresses go as well. A tombstone keeps it from being mined again, from anywhere. Of a seed goes
    what no other seed led to. If it is cut short, do it again, or the instance finishes it within minutes.
    """
    from lodestream.cli import instance

    if sum((what is not None, listed, undo is not None)) != 1:
        raise click.UsageError("Name one video, seed or source, or give --ls, or --undo ID.")
    async with instance.operator() as bus:
        objects = instance.objects()
        if listed:
            await _list(objects)
        elif undo:
            await _undo(bus, objects, undo)
        else:
            await _forget(bus, objects, str(what), yes, allow_again)


async def _forget(bus: "Bus", objects: "Objects", what: str, yes: bool, again: bool) -> None:
    from lodestream.cli import output
    from lodestream.flows import deployed_flows
    from lodestream.forget.plan import plan
    from lodestream.forget.work import forget

    made = await plan(bus, objects, what)
    snapshots = [found.key async for found in objects.list(keys.snapshot(""))]
    _show(made, await deployed_flows(bus))
    if not yes:
        output.note(f"\nNothing was changed. To forget it: lode forget {what} --yes")
    else:
        await forget(bus, objects, made, again=again)
        come = (
            "It may be mined again." if again else f"It will not come back; see: lode forget --undo {made.stone.ident}"
        )
        output.note(f"\nForgotten. {come}")
        if not await _rows_are_gone(bus):
            output.note(
                "The catalog has not come to it yet: it deletes the rows when it reads on; see: lode catalog status"
            )
    if snapshots:
        output.note("Parquet snapshots of before hold its rows still; afterwards make one anew: lode catalog snapshot")


async def _rows_are_gone(bus: "Bus") -> bool:
    """Whether the catalog has read all that there is, waited for a few seconds."""
    import asyncio

    import nats.errors

    from lodestream.catalog import ask
    from lodestream.errors import LodeError

    try:
        async with asyncio.timeout(PATIENCE):
            while (await ask(bus.nc, subjects.CATALOG_STATUS, seconds=0))["lag"]:
                await asyncio.sleep(0.2)
    except (TimeoutError, LodeError, nats.errors.Error):
        return False
    return True


def _show(made: "Plan", deployed: "Collection[str]") -> None:
    """What would go, for people."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    stone, found = made.stone, made.found
    output.show(f"{stone.kind} {stone.ident}" + (", forgotten before; this is what is left" if made.begun else ""))
    output.show(*_addresses(made))
    rows = [[f"  {_place(stream, deployed)}", _counted(kinds)] for stream, kinds in sorted(found.kinds.items())]
    in_flows = sum(sum(kinds.values()) for stream, kinds in found.kinds.items() if stream != subjects.SEEDS)
    rows.append(["  catalog", plural(in_flows, "row")])
    total = sum(stat.size for stat in made.objects)
    rows.append(["  objects", f"{plural(len(made.objects), 'object')}, {size(total)}{_roots(made)}"])
    if made.manifests:
        lists = f"{plural(len(made.manifests), 'list')} of what a seed led to, or of frames, written anew without it"
        rows.append(["  memory", lists])
    if stone.kept:
        rows.append(["  stays", f"{plural(len(stone.kept), 'video')} that another seed led to as well"])
    if found.mixed:
        where = ", ".join(map(str, found.mixed[:FEW]))
        names = f"{plural(len(found.mixed), 'published file')} of seeds that names it among others: message {where}"
        rows.append(["  stays", f"{names} of stream {subjects.SEEDS}; to erase it: nats stream rmm {subjects.SEEDS} N"])
    output.show(output.table(["", ""], rows, fold=True))


def _addresses(made: "Plan") -> list[str]:
    """Where it is found: one with the same bytes elsewhere goes as well."""
    from lodestream.cli.output import clean

    origins = sorted(made.lineage.origins.items())
    if made.stone.kind != "video":
        lines = [f"  {len(made.stone.media):,} videos"] if made.stone.media else []
    else:
        lines = [clean(f"  {said.title or ident}") for ident, said in origins if ident == made.stone.ident]
    same = [said for ident, said in origins if ident != made.stone.ident or made.stone.kind == "video"]
    for said in same[:FEW]:
        twin = "  (the same bytes)" if made.stone.kind == "video" and said.id != made.stone.ident else ""
        lines.append(clean(f"  {said.id}  {said.url}{twin}"))
    if len(same) > FEW:
        lines.append(f"  and {len(same) - FEW:,} more")
    return lines


def _place(stream: str, deployed: "Collection[str]") -> str:
    if stream == subjects.DEAD:
        return "dead letters"
    if stream == subjects.SEEDS:
        return "published"
    flow = subjects.flow_of(stream)
    return f"flow {flow}" + ("" if flow in deployed else " (removed)")


def _counted(kinds: "Mapping[str, int]") -> str:
    from lodestream.cli.wording import plural

    plurals = {"media": "media", "unreadable": "unreadable"}
    parts = [plural(n, kind, plurals.get(kind, "")) for kind, n in sorted(kinds.items())]
    return f"{sum(kinds.values()):,} messages: {', '.join(parts)}"


def _roots(made: "Plan") -> str:
    """How many objects of each kind."""
    roots: dict[str, int] = {}
    for stat in made.objects:
        root = stat.key.partition("/")[0]
        roots[root] = roots.get(root, 0) + 1
    return f" ({', '.join(f'{n:,} in {root}' for root, n in sorted(roots.items()))})" if roots else ""


async def _list(objects: "Objects") -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import ago, plural
    from lodestream.forget.tombs import standing

    rows = []
    async for stone in standing(objects):
        more = plural(len(stone.media), "video") if stone.kind != "video" else ""
        state = "" if stone.gone else "not all gone yet"
        rows.append([stone.kind, stone.ident, ago(stone.at), ", ".join(filter(None, (more, state)))])
    if rows:
        output.print_table(["kind", "id", "forgotten", ""], rows)
    else:
        output.note("Nothing was forgotten.")


async def _undo(bus: "Bus", objects: "Objects", ident: str) -> None:
    from lodestream.cli import output
    from lodestream.errors import LodeError
    from lodestream.forget.tombs import standing
    from lodestream.forget.work import lift

    stones = [stone async for stone in standing(objects)]
    chosen = [stone for stone in stones if stone.ident == ident]
    if not chosen:
        raise LodeError(f"nothing was forgotten by the id {ident!r}; see: lode forget --ls")
    for stone in chosen:
        await lift(bus, objects, stone)
    if still := [s for s in stones if s not in chosen and ident in (*s.media, *s.seeds)]:
        raise LodeError(
            f"it was forgotten with {still[0].kind} {still[0].ident} too: lode forget --undo {still[0].ident}"
        )
    output.note(
        f"{ident} may be mined again: publish a seed for it. A seed that was looked at before needs another round."
    )
