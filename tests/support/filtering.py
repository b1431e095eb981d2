"""The filter as a worker has it, and what it says of a shard."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lodestream.errors import Reject
from lodestream.inference.client import open_triton
from lodestream.job import Parts
from lodestream.models import standins
from lodestream.models.shelf import CARD, CONFIG, RECORD, Shelf, seal
from proto.messages import Kept, Message
from services.filter.node import NODE, Sight
from tests.support.frames import job
from tests.support.triton import add_model


@dataclass
class Filtering:
    """The node with what its `open` gave."""

    parts: Parts
    state: Any
    settings: dict[str, Any]
    asked: "Asked"
    no: Reject | None = None
    """What it said where it kept nothing."""

    async def __call__(self, message: Message, **given: Any) -> Kept:
        """The one message that it gives; by the right port."""
        settings = NODE.read_settings({**self.settings, **given})
        work = job(self.parts, settings, self.state, NODE.recipe(settings, message.recipe))
        handler, self.no = NODE.handler(message, work), None
        port, made = await anext(handler)
        try:
            assert [more async for more in handler] == []
        except Reject as no:
            self.no = no
        assert isinstance(made, Kept)
        assert (port, self.no is None) == (("kept", True) if made.kept else ("empty", False))
        return made


def reasons(made: Kept) -> dict[int, str]:
    """Why frames are dropped, by index, in full."""
    assert [bool(reason) for reason in made.reason] == [bool(detail) for detail in made.detail]
    return {index: detail for index, detail in enumerate(made.detail) if detail}


class Asked:
    """A Triton that counts the rows that each model is asked for."""

    def __init__(self, triton: Any):
        self._triton = triton
        self.rows: Counter[str] = Counter()

    async def infer(self, model: str, inputs: Any, outputs: Any, shapes: Any = None) -> Any:
        """See Triton."""
        self.rows[model] += len(next(iter(inputs.values())))
        return await self._triton.infer(model, inputs, outputs, shapes)


@asynccontextmanager
async def filtering(parts: Parts, **settings: Any) -> AsyncIterator[Filtering]:
    """The node, whose questions to Triton are counted; the settings hold where a test says nothing else."""
    async with open_triton(parts) as triton:
        asked = Asked(triton)
        yield Filtering(parts, Sight(asked), settings, asked)  # type: ignore[arg-type]


def install_blind(models: Path, name: str, dim: int = 768) -> None:
    """The stand-in with another image tower: it has no number for dark pictures, and gives vectors of `dim`."""
    standin = "standin-siglip2"
    if not (models / f"{standin}-image").exists():
        standins.install(standin, models)
    card = Shelf(models).card(standin)
    parts = {part: f"{name}-{part}" for part in card.parts}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["sums"]),
        helper.make_node("Less", ["sums", "dark"], ["is_dark"]),
        helper.make_node("Where", ["is_dark", "nan", "sums"], ["embedding"]),
    ]
    constants = {
        "weights": np.ones((3, dim), np.float32),
        "dark": np.array(3 * 40, np.float32),
        "nan": np.array(np.nan, np.float32),
    }
    shape = ["n", card.height, card.width, 3]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    config = f"""
        input [{{name: "image" data_type: TYPE_UINT8 dims: [{card.height}, {card.width}, 3]}}]
        output [{{name: "embedding" data_type: TYPE_FP32 dims: [{dim}]}}]
    """
    add_model(models, parts["image"], graph, config)
    shutil.copytree(models / card.parts["text"], models / parts["text"])
    text = models / parts["text"] / CONFIG
    text.write_text(text.read_text().replace(card.parts["text"], parts["text"]))
    for folder in parts.values():
        (models / folder / RECORD).unlink(missing_ok=True)
        (models / folder / CARD).write_bytes(msgspec.json.encode(msgspec.structs.replace(card, name=name, parts=parts)))
        seal(models / folder)
