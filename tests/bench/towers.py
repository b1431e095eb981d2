"""A model as heavy as an image tower, for benchmarks of what stands between pictures and it."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.support.triton import add_model

SIDE, WIDTH, DEPTH, BATCH = 224, 384, 4, 16


def add_tower(models: Path, name: str, *, kind: str = "KIND_CPU", dim: int = WIDTH) -> Path:
    """Patches of a picture (uint8, NHWC), then convolutions; of the mean its embedding is made. The model's folder."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array((rng.standard_normal(shape) / scale).astype(np.float32), name)

    held = [numpy_helper.from_array(np.float32(1 / 255).reshape(()), "scale"), weight("w0", WIDTH, 3, 16, 16)]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w0"], ["y0"], strides=[16, 16]),
    ]
    for layer in range(1, DEPTH + 1):
        held.append(weight(f"w{layer}", WIDTH, WIDTH, 3, 3))
        nodes += [
            helper.make_node("Conv", [f"y{layer - 1}", f"w{layer}"], [f"c{layer}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{layer}"], [f"y{layer}"]),
        ]
    nodes.append(helper.make_node("GlobalAveragePool", [f"y{DEPTH}"], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "out"], ["embedding"]))
    held.append(weight("out", WIDTH, dim))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])
    config = f"""
        input [{{name: "image" data_type: TYPE_UINT8 dims: [{SIDE}, {SIDE}, 3]}}]
        output [{{name: "embedding" data_type: TYPE_FP32 dims: [{dim}]}}]
        instance_group [{{count: 1 kind: {kind}}}]
        dynamic_batching {{ max_queue_delay_microseconds: 2000 }}
    """
    return add_model(models, name, helper.make_graph(nodes, name, [image], [embedding], held), config, BATCH)
