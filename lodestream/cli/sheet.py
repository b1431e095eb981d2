"""`lode sheet`: a contact sheet of what a flow keeps, drops and finds."""

from pathlib import Path

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

LIMIT = 60
MOST = 2000
"""Frames of one sheet."""


@click.command(
    epilog=examples(
        "lode sheet cats",
        "lode sheet cats --node good -o good.png",
        "lode sheet cats --sql \"select frame_id as frame, score from kept where scores['a cat'] < 0.3\"",
        "lode sheet cats --sql \"select frame_id as frame, * from boxes where label = 'paw' order by score\"",
        'lode sheet cats --sql "select frame_id as frame, repeats, similarity from duplicates where similarity < 0.95"',
    )
)
@click.argument("flow", shell_complete=complete_flow)
@click.option("--node", help="What this node keeps and drops, or finds; else a part for each node.")
@click.option("--sql", "query", metavar="SQL", help="The frames of a query: it gives `frame`, and what to write below.")
@click.option(
    "-o",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .html that holds everything, or a .png; in place of what has that name. FLOW-sheet.html by default.",
)
@click.option("--limit", type=click.IntRange(1, MOST), default=LIMIT, show_default=True, help="Frames, some of each.")
@asynchronous
async def sheet(flow: str, node: str | None, query: str | None, target: Path | None, limit: int) -> None:
    """Make a contact sheet of a flow.

    It shows what is kept, what is dropped and why, duplicates beside what they repeat, and boxes drawn. Frames are
    spread evenly over their scores, best first; duplicates begin with the least similar. With --sql, boxes are those
    whose x1, y1, x2 and y2 the query gives, or those that --node found.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import catalog, objects
    from lodestream.cli.sheet_nodes import Chooser
    from lodestream.cli.sheet_sql import section
    from lodestream.cli.wording import plural
    from lodestream.errors import LodeError, Outage
    from lodestream.sheet.write import check, write

    path = check(target or Path(f"{flow}-{node or 'sheet'}.html"))
    async with catalog() as ask:
        chooser = Chooser(ask, flow)
        nodes = await chooser.nodes()
        if node and node not in nodes:
            raise LodeError(f"node {node!r} of flow {flow} has given no frames; those that have: {', '.join(nodes)}")
        if query:
            sections = [await section(chooser, query, node, limit)]
        else:
            shown = {node: nodes[node]} if node else _seeing(nodes)
            sections = [
                s for n, kind in shown.items() for s in await chooser.sections(n, kind, limit // len(shown) or 1)
            ]
    count = sum(len(each.cells) for each in sections)
    if not count:
        raise LodeError("there is no frame to show")
    try:
        await write(objects(), _title(flow, node, query), sections, path)
    except Outage as why:
        raise LodeError(str(why)) from None
    output.show(str(path))
    output.note(
        f"{plural(count, 'frame')}; open it with a browser" if path.suffix == ".html" else plural(count, "frame")
    )


def _title(flow: str, node: str | None, query: str | None) -> str:
    return f"{flow}: {query}" if query else f"{flow}, node {node}" if node else f"{flow}: what its nodes keep and find"


def _seeing(nodes: dict[str, str]) -> dict[str, str]:
    """The nodes that look at frames; those that give them where none does."""
    return {name: kind for name, kind in nodes.items() if kind != "shard"} or nodes
