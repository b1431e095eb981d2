"""`lode show`: one seed, video, shard or frame, from its cause to its outputs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples
from proto import subjects

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from lodestream.cli.instance import Ask
    from lodestream.cli.lineage import Lineage, Row

FEW = 20
"""Things of one kind below one cause that are shown."""


@click.command(
    epilog=examples(
        "lode show youtube-dQw4w9WgXcQ",
        "lode show web-4f2ac19d_12000",
        "lode show web-4f2ac19d_12000 --png frame.png",
        "lode show query-cat-jumps-91",
    )
)
@click.argument("ident", metavar="ID")
@click.option(
    "--png",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a frame into this file, with the boxes found in it.",
)
@click.option("--flow", metavar="FLOW", shell_complete=complete_flow, help="Boxes that this flow found.")
@click.option("--node", metavar="NODE", help="Boxes that this node found.")
@asynchronous
async def show(ident: str, png: Path | None, flow: str | None, node: str | None) -> None:
    """Walk from causes to outputs.

    ID is that of a seed, a video, a record, a shard or a frame; its beginning is enough where only one begins
    so. A frame's id is its video's, _ and its milliseconds.
    """
    if png is None and (flow or node):
        raise click.UsageError("--flow and --node say whose boxes to draw: give --png as well")
    from lodestream.cli import output
    from lodestream.cli.instance import catalog, objects
    from lodestream.cli.lineage import Lineage
    from lodestream.cli.show_picture import save
    from lodestream.errors import LodeError

    async with catalog() as ask:
        lineage = Lineage(ask)
        tops = await _find(ask, lineage, ident)
        if not tops and len(near := await lineage.beginning(ident)) == 1:
            ident, tops = near[0], await _find(ask, lineage, near[0])
        drawn = await save(ask, objects(), ident, flow, node, png) if tops and png else ""
    if not tops:
        if near:
            raise LodeError(
                f"{len(near)} ids begin with {ident!r}, among them {' and '.join(near[:2])}; give more of it"
            )
        raise LodeError(
            f"nothing is known by the id {ident!r}; ids are in: lode sql 'select media_id, title from candidates'"
        )
    for top in tops:
        output.show(_tree(top, ident))
    if drawn:
        output.note(drawn)


async def _find(ask: "Ask", lineage: "Lineage", ident: str) -> "list[Row]":
    """The trees in which it is; below a frame all that was said of it."""
    from lodestream.cli.verdicts import verdicts

    tops = await lineage.trees(ident)
    if tops or not (top := await lineage.frame(ident)):
        return tops
    frame = top
    while frame.children:
        frame = frame.children[0]
    media, _, time = ident.rpartition("_")
    frame.children = await verdicts(ask, media, int(time))
    return [top]


def _tree(row: "Row", ident: str) -> "Tree":
    """The row and all below it; what was asked for stands out."""
    from rich.tree import Tree

    tree = Tree(_label(row, ident), guide_style="dim")
    _grow(tree, row, ident)
    return tree


def _grow(tree: "Tree", row: "Row", ident: str) -> None:
    for child in row.children[:FEW]:
        _grow(tree.add(_label(child, ident)), child, ident)
    if (more := len(row.children) - FEW) > 0:
        tree.add(f"and {more:,} more")


def _label(row: "Row", ident: str) -> "Text":
    """What it is and where it stands; below that, what there is to know of it."""
    from rich.text import Text

    from lodestream.cli.output import clean

    style = "bold" if row.id == ident else ""
    where = f"  {row.node}, message {row.seq} of {subjects.stream(row.flow)}" if row.subject else ""
    lines = "".join(f"\n{clean(line)}" for line in _says(row) if line)
    return Text.assemble(f"{row.kind} ", (row.id, style), (where, "dim"), lines, overflow="fold")


def _says(row: "Row") -> list[str]:
    """Lines of what is known of it, some of them empty."""
    from lodestream.cli.verdicts import seen
    from lodestream.cli.wording import plural, size

    f = row.fields
    match row.kind:
        case "seed":
            return [f"{f['kind']}: {f['value']}"]
        case "candidate":
            return [f["title"], f["url"]]
        case "listing":
            return [_joined(f"{f['offered']} offered", "" if f["complete"] else "incomplete", f["detail"])]
        case "record":
            data = f["data"] or f["object_key"]
            return [f"{f['source']}, number {f['position']:,}", data if len(data) <= 200 else f"{data[:197]}..."]
        case "media":
            length = "" if f["duration_s"] is None else f"{f['duration_s']:.4g} s"
            shape = _joined(f"{size(f['bytes'])} of {f['codec']} {f['width']}x{f['height']}", length)
            return [shape, f["damage"] and f"damaged: {f['damage']}", f["object_key"]]
        case "shard":
            span = f"{f['first_ms']} to {f['last_ms']} ms"
            return [_joined(f"{plural(f['frames'], 'frame')} {f['width']}x{f['height']}", span), f["shard_key"]]
        case "frame":
            return [f"{f['width']}x{f['height']}, {f['byte_length']:,} bytes from {f['byte_offset']:,} of the shard"]
        case "rejected" | "dead letter":
            return [_joined(f["reason"], f["detail"])]
    return seen(row.kind, f)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
