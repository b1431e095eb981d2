"""A frame as a PNG, with the boxes that a node found in it: `lode show FRAME --png FILE`."""

import asyncio
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lodestream.cli.lineage import quoted
from lodestream.cli.verdicts import looks
from lodestream.errors import LodeError, Outage

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask
    from lodestream.objects import Objects
    from lodestream.preview import Found

Row = dict[str, Any]
FRAME = "select flow, node, shard_key, byte_offset, byte_length from frames where {where} order by flow, node limit 1"


async def save(ask: "Ask", objects: "Objects", ident: str, flow: str | None, node: str | None, path: Path) -> str:
    """Write the picture; gives in words what is drawn. Raises LodeError, with what to do."""
    media, _, time = ident.rpartition("_")
    if not media or not time.isdecimal():
        raise LodeError(f"--png takes a frame, and {ident} is none: a frame's id is its video's, _ and milliseconds")
    row = await _look(ask, ident, flow, node) or await _frame(ask, ident, flow)
    jpeg = await _read(objects, row, ident)
    found = _found(row)
    await asyncio.to_thread(_write, jpeg, found, path)
    return f"{path}: {_words(row, found)}"


async def _look(ask: "Ask", ident: str, flow: str | None, node: str | None) -> Row | None:
    """What the one node found that looked at the frame; None where none did and none was named."""
    media, _, time = ident.rpartition("_")
    found = await looks(ask, media, int(time))
    fits = [row for row in found if flow in (None, row["flow"]) and node in (None, row["node"])]
    if len(fits) > 1:
        raise LodeError(f"{_names(fits)} looked for boxes in {ident}; choose one with --flow and --node")
    if fits or not node:
        return fits[0] if fits else None
    others = f"; {_names(found)} did" if found else ""
    raise LodeError(f"node {node}{f' of flow {flow}' if flow else ''} did not look for boxes in {ident}{others}")


async def _frame(ask: "Ask", ident: str, flow: str | None) -> Row:
    media, _, time = ident.rpartition("_")
    where = f"media_id = {quoted(media)} and time_ms = {int(time)}" + (f" and flow = {quoted(flow)}" if flow else "")
    if rows := (await ask(FRAME.format(where=where))).objects():
        return rows[0]
    raise LodeError(f"nothing is known of a frame {ident}{f' in flow {flow}' if flow else ''}")


async def _read(objects: "Objects", row: Row, ident: str) -> bytes:
    try:
        return await objects.get(row["shard_key"], row["byte_offset"], row["byte_length"])
    except KeyError:
        raise LodeError(f"the shard of {ident} is gone: {row['shard_key']}; see: lode doctor --check-objects") from None
    except Outage as why:
        raise LodeError(str(why)) from None


def _found(row: Row) -> "list[Found]":
    from lodestream.preview import Found

    lists = (row.get(name) or [] for name in ("corners", "labels", "scores"))
    return [Found(tuple(corners), label, score) for corners, label, score in zip(*lists, strict=True)]


def _write(jpeg: bytes, found: "list[Found]", path: Path) -> None:
    """Raises LodeError where the frame is no picture, or the file cannot be written."""
    from PIL import Image, UnidentifiedImageError

    from lodestream.preview import draw

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(jpeg)) as frame:
            draw(frame, found).save(out, "PNG")
    except (UnidentifiedImageError, OSError):
        raise LodeError("the frame is a broken JPEG: there is nothing to draw") from None
    try:
        path.write_bytes(out.getvalue())
    except OSError as error:
        raise LodeError(f"cannot write {path}: {error.strerror}") from None


def _words(row: Row, found: "list[Found]") -> str:
    """`2 boxes by cats/boxes (dfine-s): person 0.91, hand 0.44`"""
    from lodestream.cli.wording import plural

    if "labels" not in row:
        return "the frame as it is; no node looked for boxes in it"
    said = ", ".join(each.words() for each in found)
    return f"{plural(len(found), 'box', 'boxes')} by {_names([row])} ({row['model']}){said and ': ' + said}"


def _names(rows: list[Row]) -> str:
    return ", ".join(f"{row['flow']}/{row['node']}" for row in rows)
