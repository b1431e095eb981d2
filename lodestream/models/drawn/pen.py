"""A pen to draw ONNX graphs with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from lodestream.models.card import Tensor

OPSET, IR = 17, 8
"""Old enough for every runtime that Triton comes with."""
TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


class Pen:
    """Draws one node after the other; values are named by strings, and constants may be given as they are."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: object, dtype: str = "float32") -> str:
        """A value that never changes."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: object, output: str = "", **attributes: Any) -> str:
        """The value that an operator gives; `output` names it where it is one of the graph."""
        name = output or f"v{len(self.nodes)}"
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(helper.make_node(op, names, [name], **attributes))
        return name

    def number(self, truth: str) -> str:
        """1.0 where it is true, 0.0 elsewhere."""
        return self("Cast", truth, to=TensorProto.FLOAT)

    def above(self, value: str, threshold: float) -> str:
        """1.0 where the value is greater."""
        return self.number(self("Greater", value, threshold))

    def total(self, value: str, *axes: int, keep: bool = True) -> str:
        """The sum along axes."""
        return self("ReduceSum", value, self.constant(axes, "int64"), keepdims=int(keep))

    def most(self, value: str, *axes: int, keep: bool = True) -> str:
        """The maximum along axes."""
        return self("ReduceMax", value, axes=list(axes), keepdims=int(keep))

    def top(self, value: str, count: int) -> str:
        """The greatest values along the last axis, in falling order."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node("TopK", [value, self.constant([count], "int64")], [name, f"{name}_places"]))
        return name

    def reshape(self, value: str, *shape: int) -> str:
        """0 keeps a dimension, -1 takes what is left."""
        return self("Reshape", value, self.constant(shape, "int64"))

    def cut(self, value: str, start: int, stop: int, axis: int) -> str:
        """A piece of it."""
        return self("Slice", value, *(self.constant([x], "int64") for x in (start, stop, axis)))

    def export(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> ModelProto:
        """The finished model, checked."""
        graph = helper.make_graph(
            self.nodes, name, [_info(each) for each in inputs], [_info(each) for each in outputs], self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lodestream")
        model.ir_version = IR
        checker.check_model(model)
        return model


def _info(tensor: Tensor) -> ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, TYPES[tensor.type], list(tensor.shape))
