"""A home in which a flow has seen frames: pictures in its store, and a catalog that knows what was said of them."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from lodestream.flow.model import Deployed, DeployedNode
from lodestream.objects import open_objects
from proto import ids, subjects
from proto.messages import Kept, Shard, encode
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.catalog import CUT, Output, deployed, media
from tests.support.frames import put_shard
from tests.support.seen import DEDUP, DETECT, KEEP, TEXT, boxes, kept, unique

SIZE = (480, 270)
START = 1_700_000_000_000_000
GROUNDS = ("#58616b", "#3f5f4c", "#6b4f4f")
SCORES = [0.93, 0.9, 0.86, 0.7, 0.55, 0.31, 0.27, 0.22, 0.08, 0.04, None, None]
"""Of the frames of each video by the prompt; None where it is blurred. Each fits the prompt to drop by 0.25."""
SETTINGS = {"keep": ["a red ball"], "drop": ["text"], "threshold": 0.3, "min_sharpness": 40}


def seeing(flow: str = "demo", *, keep: str = KEEP, second: bool = False) -> Deployed:
    """A flow that filters, dedups and detects: its filter has recipe `keep`, another one follows it with `second`."""
    made, last = deployed(flow), "better" if second else "good"
    laid = {
        "good": ("filter", subjects.wire(flow, "extract", "frames", "shard"), CUT, keep),
        **({"better": ("filter", subjects.wire(flow, "filter", "good", "kept"), keep, "ffffffff")} if second else {}),
        "new": ("dedup", subjects.wire(flow, "filter", last, "kept"), keep, DEDUP),
        "things": ("detect", subjects.wire(flow, "dedup", "new", "unique"), DEDUP, DETECT),
    }
    for name, (kind, wire, taken, given) in laid.items():
        settings = SETTINGS if kind == "filter" else {"labels": ["ball", "hand"]} if kind == "detect" else {}
        made.nodes[name] = DeployedNode(
            type=kind, slot=1, since="", wires={wire: [taken]}, recipes=[given], settings=settings
        )
    return made


async def fill(home: Path, videos: int = 3, flow: str = "demo") -> None:
    """Write both, as they would be while nothing is up."""
    outputs: list[Output] = []
    for number in range(videos):
        of = await _stored(home, f"v{number}", GROUNDS[number % len(GROUNDS)])
        outputs += [("fetch", "get", "media", media(of.media_id)), ("extract", "frames", "shard", of)]
        outputs += _seen(of)
    (home / "catalog").mkdir(parents=True, exist_ok=True)
    store = Store(home / "catalog" / "catalog.duckdb")
    store.begin(subjects.stream(flow), "2024-01-01")
    store.set_flows({flow: seeing(flow)})
    store.apply(_records(outputs, flow))
    store.close()


def _seen(of: Shard) -> Sequence[Output]:
    """Six frames are kept; two or three of five repeat what was there before, two have boxes."""
    known = {1: (ids.frame_id(of.media_id, 0), 0.971)}
    if of.media_id != "v0":
        known[2] = ("v0_2000", 0.934)
    judged = kept(of, SCORES, 0.3)
    assert isinstance(judged[3], Kept)
    judged[3].scores[TEXT] = [None if score is None else 0.25 for score in SCORES]
    return [
        judged,
        unique(of, range(5), known),
        boxes(of, {0: [("ball", 0.91), ("hand", 0.36)], 3: [("ball", 0.62)], 4: []}),
    ]


def _records(outputs: Sequence[Output], flow: str) -> list[Record]:
    made = []
    for seq, (kind, node, port, message) in enumerate(outputs, 1):
        subject = subjects.output(flow, kind, node, port, ids.entity(message.id, message.recipe))
        made.append(Record(subjects.stream(flow), seq, START + seq * 1_000_000, subject, encode(message)))
    return made


async def _stored(home: Path, ident: str, ground: str) -> Shard:
    """A shard of twelve frames: a ball that gets smaller and further away."""
    jpegs = [_jpeg(number, ground) for number in range(len(SCORES))]
    objects = open_objects((home / "objects").as_uri())
    return await put_shard(objects, jpegs, media=ident, recipe=CUT, width=SIZE[0], height=SIZE[1])


def _jpeg(number: int, ground: str) -> bytes:
    image = Image.new("RGB", SIZE, ground)
    half, x = 90 - 7 * number, 80 + 30 * number
    ImageDraw.Draw(image).ellipse((x - half, 135 - half, x + half, 135 + half), fill="#c81e1e")
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
