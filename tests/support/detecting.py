"""Frames of films whose things are known, detectors on a real Triton server, and what the node says."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lodestream.demo.shapes import Film, Seen
from lodestream.job import Parts
from lodestream.models import standins
from lodestream.models.card import Card, Raw, Tensor
from proto.messages import Boxes, Message, Shard
from services.detect.node import NODE
from tests.support.frames import Alone, Counted, job, put_shard
from tests.support.triton import TritonServer, add_model
from tests.support.video import extract

REVISION = "0badcafe" * 5
SIDE = 32
"""Pixels of the square that the blind detector looks at."""


@dataclass
class Bench:
    """The node as a worker has it."""

    parts: Parts
    state: Any
    settings: dict[str, Any] = field(default_factory=dict)

    async def detect(self, message: Message, **given: Any) -> Boxes:
        """The one message that the node gives."""
        settings = NODE.read_settings({**self.settings, **given})
        work = job(self.parts, settings, self.state)
        outputs = [output async for output in NODE.handler(message, work)]
        assert [port for port, _ in outputs] == ["boxes"]
        return outputs[0][1]  # type: ignore[return-value]


@cache
def frames(film: Film, folder: Path) -> tuple[list[int], list[bytes]]:
    """Times and JPEGs of a frame for each half second, encoded and extracted as they would be."""
    got = extract(film.encode(), folder / film.name, every=0.5)
    return got.times, got.jpegs


async def stored(parts: Parts, film: Film, folder: Path, *, broken: Sequence[int] = (), media: str = "web-1") -> Shard:
    """The film's frames as a shard; those in `broken` are cut off in the middle."""
    times, jpegs = frames(film, folder)
    some = [jpeg[: len(jpeg) // 2] if i in broken else jpeg for i, jpeg in enumerate(jpegs)]
    shard = await put_shard(parts.objects, some, width=film.width, height=film.height, media=media)
    return msgspec.structs.replace(shard, time_ms=times)


def store(folder: Path, triton: TritonServer) -> Parts:
    """The parts of a worker on a folder of its own and the server of all tests."""
    from lodestream.objects import open_objects

    (folder / "work").mkdir()
    objects = Counted(open_objects(f"file://{folder}/objects"))
    return replace(triton.parts(folder / "work"), objects=objects, leases=Alone())


def install(triton: TritonServer, name: str) -> None:
    """A stand-in, if it is not there."""
    if not (triton.models / name).exists():
        standins.install(name, triton.models)


def add_blind(models: Path, name: str, queries: int = 2, columns: int = 1) -> Card:
    """A detector that sees the whole picture as one thing, and has no number for a dark one. Its card.

    Its logits have `columns` columns, of which the card knows one.
    """
    logits = np.full((1, queries, columns), 3, np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "last"], ["light"]),
        helper.make_node("Less", ["light", "dark"], ["is_dark"]),
        helper.make_node("Where", ["is_dark", "nan", "logit"], ["logits"]),
        helper.make_node("Mul", ["light", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "box"], ["pred_boxes"]),
    ]
    constants = {
        "last": np.array([3], np.int64),
        "dark": np.array(40, np.float32),
        "nan": np.array(np.nan, np.float32),
        "logit": logits,
        "zero": np.array(0, np.float32),
        "box": np.tile(np.array([0.5, 0.5, 1, 1], np.float32), (1, queries, 1)),
    }
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", queries, columns]),
        helper.make_tensor_value_info("pred_boxes", TensorProto.FLOAT, ["n", queries, 4]),
    ]
    graph = helper.make_graph(
        nodes, name, inputs, outputs, [numpy_helper.from_array(a, n) for n, a in constants.items()]
    )
    config = f"""
        input [{{name: "image" data_type: TYPE_UINT8 dims: [{SIDE}, {SIDE}, 3]}}]
        output [{{name: "logits" data_type: TYPE_FP32 dims: [{queries}, {columns}]}},
                {{name: "pred_boxes" data_type: TYPE_FP32 dims: [{queries}, 4]}}]
    """
    folder = add_model(models, name, graph, config)
    card = _card(name, queries)
    (folder / "card.json").write_bytes(msgspec.json.encode(card))
    return card


def _card(name: str, queries: int) -> Card:
    raw = Raw(
        file="model.onnx",
        inputs=(Tensor(name="pixel_values", type="float32", shape=("n", 3, SIDE, SIDE)),),
        outputs=(
            Tensor(name="logits", type="float32", shape=("n", queries, 1)),
            Tensor(name="pred_boxes", type="float32", shape=("n", queries, 4)),
        ),
        gives={"logits": "logits", "pred_boxes": "pred_boxes"},
    )
    return Card(
        name=name,
        role="detector",
        summary="For tests.",
        revision=REVISION,
        licence="none",
        parts={"detector": name},
        raw={"detector": raw},
        height=SIDE,
        width=SIDE,
        labels=("thing",),
    )


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0) * max(high, 0)
    return common / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - common)


def agrees(said: Boxes, truth: Sequence[Sequence[Seen]], names: dict[str, str] | None = None) -> None:
    """Each frame has just the things that are there, each where it is, under its label or what `names` calls that."""
    for index, boxes, labels in zip(said.frames, said.boxes, said.labels, strict=True):
        found = sorted(zip(labels, boxes, strict=True))
        there = sorted(((names or {}).get(seen.label, seen.label), seen.box) for seen in truth[index])
        assert [label for label, _ in found] == [label for label, _ in there], index
        for (label, box), (_, real) in zip(found, there, strict=True):
            assert iou(real, box) > 0.8, (index, label, real, box)
