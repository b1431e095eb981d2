"""Models that fail, each in a way of its own, as ONNX graphs."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.support.triton import add_model

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT
WORDS = 100
"""The size of the vocabulary of `add_reader`."""
FITS, TOO_MUCH = 2, 1 << 50
"""Rows that fit into any memory, and bytes that each further one needs: refused at once, where less may be given and
bring the machine to its knees."""


def add_greedy(models: Path, name: str, least: int = 1) -> None:
    """Gives twice what it gets, and needs `least` bytes for that, and TOO_MUCH for each row over FITS."""
    constants = {"fits": FITS, "each": TOO_MUCH, "zero": 0, "least": least, "two": 2.0, "first": [0]}
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("Sub", ["rows", "fits"], ["more"]),
        helper.make_node("Max", ["more", "zero"], ["over"]),
        helper.make_node("Mul", ["over", "each"], ["many"]),
        helper.make_node("Add", ["many", "least"], ["bytes"]),
        helper.make_node("ConstantOfShape", ["bytes"], ["waste"], value=helper.make_tensor("v", 2, [1], [0])),
        helper.make_node("Cast", ["waste"], ["wasted"], to=FLOAT),
        helper.make_node("ReduceMax", ["wasted"], ["none"], keepdims=0),
        helper.make_node("Mul", ["x", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "none"], ["y"]),
    ]
    _add(models, name, nodes, constants)


def add_divider(models: Path, name: str) -> None:
    """Gives x / x: not a number where x is 0."""
    _add(models, name, [helper.make_node("Div", ["x", "x"], ["y"])], {})


def add_reader(models: Path, name: str) -> None:
    """Gives the float of each word's number, and refuses numbers that stand for no word."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    _add(models, name, nodes, {"table": np.arange(WORDS, dtype=np.float32)}, kind=INT64)


def _add(models: Path, name: str, nodes: list, constants: dict, kind: int = FLOAT) -> None:
    """Rows of two numbers in and out."""
    inputs, outputs = ([helper.make_tensor_value_info(n, t, ["n", 2])] for n, t in (("x", kind), ("y", FLOAT)))
    held = [numpy_helper.from_array(_array(value), each) for each, value in constants.items()]
    config = f"""
        input [{{name: "x" data_type: TYPE_{"INT64" if kind == INT64 else "FP32"} dims: [2]}}]
        output [{{name: "y" data_type: TYPE_FP32 dims: [2]}}]
        instance_group [{{count: 1 kind: KIND_CPU}}]
        dynamic_batching {{ max_queue_delay_microseconds: 50000 }}
    """
    add_model(models, name, helper.make_graph(nodes, name, inputs, outputs, held), config)


def _array(value: object) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array
