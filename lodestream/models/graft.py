"""Puts what belongs to a model into its graph: bytes of a picture in, only what is used out."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from lodestream.errors import LodeError
from lodestream.models.card import MASK, PIXELS, Card

IMAGE = "image"
ROWS = "n"
"""The first dimension of what goes in and comes out, of exports that take one row at a time too: Triton counts it."""
OWN = "lode_"
"""Begins the names of what is put in."""


def graft(model: ModelProto, card: Card, part: str) -> ModelProto:
    """The export of a part as Triton serves it, changed in place.

    `image` (n, height, width, 3) bytes takes the place of its normalised pixels. Raises LodeError where the export is
    not what its card says.
    """
    check(model, card, part)
    graph = model.graph
    for given in graph.input:
        given.type.tensor_type.shape.dim[0].dim_param = ROWS
    first = _front(graph, card)
    for node in reversed(first):
        graph.node.insert(0, node)
    _rename_outputs(graph, card.raw[part].gives)
    return model


def check(model: ModelProto, card: Card, part: str) -> None:
    """Raises LodeError where the inputs and outputs of an export are not those of its card."""
    raw = card.raw[part]
    for kind, have, want in (("inputs", model.graph.input, raw.inputs), ("outputs", model.graph.output, raw.outputs)):
        weights = {each.name for each in model.graph.initializer}
        found = {each.name: signature(each) for each in have if each.name not in weights}
        wanted = {each.name: (each.type, len(each.shape)) for each in want}
        if {name: (kind, len(shape)) for name, (kind, shape) in found.items()} != wanted:
            raise LodeError(f"{raw.file} of {card.name} has {kind} {_words(found)}; its card says {_words(wanted)}")


def signature(value: ValueInfoProto) -> tuple[str, tuple[int | str, ...]]:
    """Type and shape of an input or output; dimensions that vary by their names."""
    tensor = value.type.tensor_type
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    return kind, tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)


def load(path: Path) -> ModelProto:
    """An export, with its weights where they lie in files beside it. Raises LodeError where it is none."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own, or the checker's
        raise LodeError(f"{path} is no ONNX model: {str(error).splitlines()[0]}") from None


def _words(found: dict) -> str:
    return ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in sorted(found.items())) or "none"


def _front(graph: onnx.GraphProto, card: Card) -> list[NodeProto]:
    """Takes the picture's inputs away and makes them in the graph."""
    inputs = {each.name: each for each in graph.input}
    if PIXELS not in inputs:
        return []
    kind = inputs[PIXELS].type.tensor_type.elem_type
    for name in {PIXELS, MASK} & inputs.keys():
        graph.input.remove(inputs[name])
    shape: list[int | str] = [ROWS, card.height, card.width, 3]
    graph.input.insert(0, helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape))
    nodes = _normalised(graph, card, kind)
    return nodes + (_unmasked(graph, card) if MASK in inputs else [])


def _normalised(graph: onnx.GraphProto, card: Card, kind: int) -> list[NodeProto]:
    mean, std = (np.array(values, np.float64) for values in (card.mean, card.std))
    _constant(graph, "scale", (1 / (255 * std)).astype(np.float32))
    _constant(graph, "shift", (-mean / std).astype(np.float32))
    return [
        helper.make_node("Cast", [IMAGE], [OWN + "float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [OWN + "float", OWN + "scale"], [OWN + "scaled"]),
        helper.make_node("Add", [OWN + "scaled", OWN + "shift"], [OWN + "normal"]),
        helper.make_node("Transpose", [OWN + "normal"], [OWN + "planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [OWN + "planes"], [PIXELS], to=kind),
    ]


def _unmasked(graph: onnx.GraphProto, card: Card) -> list[NodeProto]:
    """All of the picture is picture."""
    _constant(graph, "first", np.array([0], np.int64))
    _constant(graph, "sides", np.array([card.height, card.width], np.int64))
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    return [
        helper.make_node("Shape", [IMAGE], [OWN + "shape"]),
        helper.make_node("Gather", [OWN + "shape", OWN + "first"], [OWN + "rows"]),
        helper.make_node("Concat", [OWN + "rows", OWN + "sides"], [OWN + "mask_shape"], axis=0),
        helper.make_node("ConstantOfShape", [OWN + "mask_shape"], [MASK], value=one),
    ]


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(value, OWN + name))


def _rename_outputs(graph: onnx.GraphProto, gives: dict[str, str]) -> None:
    """Keeps these outputs, under other names and as 32-bit floats."""
    outputs = {each.name: each for each in graph.output}
    del graph.output[:]
    for name, ours in gives.items():
        shape = signature(outputs[name])[1]
        if name != ours:
            graph.node.append(helper.make_node("Cast", [name], [ours], to=TensorProto.FLOAT))
        graph.output.append(helper.make_tensor_value_info(ours, TensorProto.FLOAT, [ROWS, *shape[1:]]))
