"""`lode show`: one seed, video, shard or frame, from its cause to its outputs."""

from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import asynchronous, examples
from proto import subjects

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from lodestream.cli.lineage import Lineage, Row

FEW = 20
"""Things of one kind below one cause that are shown."""


@click.command(
    epilog=examples("lode show youtube-dQw4w9WgXcQ", "lode show web-4f2ac19d_12000", "lode show query-cat-jumps-91")
)
@click.argument("ident", metavar="ID")
@asynchronous
async def show(ident: str) -> None:
    """Walk from causes to outputs.

    ID is that of a seed, a video, a shard or a frame; its beginning is enough where only one begins so. A frame's id
    is its video's, _ and its milliseconds.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import catalog
    from lodestream.cli.lineage import Lineage
    from lodestream.errors import LodeError

    async with catalog() as ask:
        lineage = Lineage(ask)
        tops = await _find(lineage, ident)
        if not tops and len(near := await lineage.beginning(ident)) == 1:
            ident, tops = near[0], await _find(lineage, near[0])
    if not tops:
        if near:
            more = f" and {len(near) - FEW} more" if len(near) > FEW else ""
            raise LodeError(f"{len(near)} ids begin with {ident!r}: {', '.join(near[:FEW])}{more}")
        raise LodeError(
            f"nothing is known by the id {ident!r}; ids are in: lode sql 'select media_id, title from candidates'"
        )
    for top in tops:
        output.show(_tree(top, ident))


async def _find(lineage: "Lineage", ident: str) -> "list[Row]":
    tops = await lineage.trees(ident)
    if not tops and (top := await lineage.frame(ident)):
        return [top]
    return tops


def _tree(row: "Row", ident: str) -> "Tree":
    """The row and all below it; what was asked for stands out."""
    from rich.tree import Tree

    tree = Tree(_line(row, ident), guide_style="dim")
    _grow(tree, row, ident)
    return tree


def _grow(tree: "Tree", row: "Row", ident: str) -> None:
    for child in row.children[:FEW]:
        _grow(tree.add(_line(child, ident)), child, ident)
    if (more := len(row.children) - FEW) > 0:
        tree.add(f"and {more:,} more")


def _line(row: "Row", ident: str) -> "Text":
    from rich.text import Text

    from lodestream.cli.output import clean

    style = "bold" if row.id == ident else ""
    where = f"  [{row.node}, message {row.seq} of stream {subjects.stream(row.flow)}]" if row.subject else ""
    return Text.assemble(f"{row.kind} ", (row.id, style), f": {clean(_says(row))}", (where, "dim"))


def _says(row: "Row") -> str:
    """What there is to know of a row, in one line."""
    from lodestream.cli.wording import plural, size

    f = row.fields
    match row.kind:
        case "seed":
            return f"{f['kind']} {f['value']}"
        case "candidate":
            return _joined(f["title"], f["url"])
        case "listing":
            return _joined(f"{f['offered']} offered", "" if f["complete"] else "incomplete", f["detail"])
        case "media":
            length = "" if f["duration_s"] is None else f"{f['duration_s']:.4g} s"
            shape = f"{size(f['bytes'])} of {f['codec']} {f['width']}x{f['height']}"
            return _joined(shape, length, f["damage"] and f"damaged ({f['damage']})", f["object_key"])
        case "shard":
            span = f"{f['first_ms']} to {f['last_ms']} ms"
            return _joined(f"{plural(f['frames'], 'frame')} {f['width']}x{f['height']}", span, f["shard_key"])
        case "frame":
            end = f["byte_offset"] + f["byte_length"]
            return _joined(f"{f['width']}x{f['height']}", f"bytes {f['byte_offset']} to {end} of {f['shard_key']}")
    return _joined(f["reason"], f["detail"])


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
