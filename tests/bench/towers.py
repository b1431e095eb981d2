"""Models as heavy as an image tower, for benchmarks of what stands between pictures and them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.support.triton import add_model

SIDE, WIDTH, DEPTH, BATCH = 224, 384, 4, 16
LAYER_GFLOP = 0.52
"""Of one convolution of 14 x 14 patches, in 10^9 operations, a multiplication and an addition being two."""


def layers(depth: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Patches of `image` (uint8, NHWC), then convolutions; `mean` (n, WIDTH) is their mean. All share their weights."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((WIDTH, 3, 16, 16)) / np.sqrt(3 * 16 * 16)
    other = rng.standard_normal((WIDTH, WIDTH, 3, 3)) * np.sqrt(2 / (WIDTH * 3 * 3))  # a Relu halves what it is given
    held = [
        numpy_helper.from_array(np.float32(1 / 255).reshape(()), "scale"),
        numpy_helper.from_array(first.astype(np.float32), "first"),
        numpy_helper.from_array(other.astype(np.float32), "other"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["y0"], strides=[16, 16]),
    ]
    for layer in range(1, depth + 1):
        nodes += [
            helper.make_node("Conv", [f"y{layer - 1}", "other"], [f"c{layer}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{layer}"], [f"y{layer}"]),
        ]
    nodes.append(helper.make_node("GlobalAveragePool", [f"y{depth}"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["mean"]))
    return nodes, held


def add_tower(models: Path, name: str, *, kind: str = "KIND_CPU") -> Path:
    """A tower of DEPTH convolutions, and what Triton wants to know of it. The model's folder."""
    nodes, held = layers(DEPTH)
    nodes.append(helper.make_node("Identity", ["mean"], ["embedding"]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", WIDTH])
    config = f"""
        input [{{name: "image" data_type: TYPE_UINT8 dims: [{SIDE}, {SIDE}, 3]}}]
        output [{{name: "embedding" data_type: TYPE_FP32 dims: [{WIDTH}]}}]
        instance_group [{{count: 1 kind: {kind}}}]
        dynamic_batching {{ max_queue_delay_microseconds: 2000 }}
    """
    return add_model(models, name, helper.make_graph(nodes, name, [image], [embedding], held), config, BATCH)


def weigh_down(path: Path, gflop: float) -> None:
    """Let an image tower in this file do so much more for each picture, and say the same as before, nearly."""
    model = onnx.load(path)
    nodes, held = layers(round(gflop / LAYER_GFLOP))
    dim = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    hardly = np.full((WIDTH, dim), 1e-9, np.float32)
    held.append(numpy_helper.from_array(hardly, "hardly"))
    nodes.append(helper.make_node("MatMul", ["mean", "hardly"], ["nothing"]))
    ours = {name: f"weight/{name}" for node in nodes for name in (*node.input, *node.output) if name != "image"}
    for node in nodes:
        node.input[:] = [ours.get(name, name) for name in node.input]
        node.output[:] = [ours[name] for name in node.output]
    for tensor in held:
        tensor.name = ours[tensor.name]
    for node in model.graph.node:
        node.output[:] = ["weight/light" if name == "embedding" else name for name in node.output]
    nodes.append(helper.make_node("Add", ["weight/light", ours["nothing"]], ["embedding"]))
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(held)
    onnx.save(model, path)
