"""A real Triton server for tests, with a folder of models; and a model as small as can be."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper

from lodestream.job import Parts
from lodestream.local import Home
from lodestream.local.triton import lacks
from tests.support.servers import Running, missing

SIZE, DIM, BATCH = 8, 4, 8
"""Of the toy: the side of its pictures, what it gives for each, and how many of them at once."""


@dataclass
class TritonServer:
    """A server that runs, on models that anybody may add to."""

    address: str
    models: Path
    process: Running

    def parts(self, folder: Path, **more: Any) -> Parts:
        """What a worker would have, of which a test of inference needs no more than this server."""
        fields: dict[str, Any] = {"objects": None, "leases": None, "work": folder, "log": None, **more}
        return Parts(**fields, triton=self.address, models=self.models)


def start_triton(folder: Path) -> TritonServer:
    """A server with no model, as `lode up` runs it. Stop its `process`.

    Skips the test where Triton is not installed (`./lode test` does it), and fails it under CI.
    """
    if lack := lacks():
        missing(lack)
    home = Home(folder / "triton")
    home.prepare()
    command = [sys.executable, "-P", "-m", "lodestream.local.tritonserver"]
    address = home.triton()
    environment = {"LODE_HOME": str(home.root), "LODE_MODELS": str(home.models)}
    server = Running(command, home.root, lambda _: address if answers(address) else "", environment)
    return TritonServer(address, home.models, server)


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """One server for all tests; a model's name is used by one test alone, unless its bytes are always the same."""
    server = start_triton(tmp_path_factory.mktemp("t"))
    with server.process:
        yield server


def answers(address: str) -> bool:
    """Whether a server is ready there; asked from another process, which gRPC leaves no threads in."""
    ask = "import sys, tritonclient.grpc as t; sys.exit(not t.InferenceServerClient(sys.argv[1]).is_server_ready())"
    return subprocess.run([sys.executable, "-c", ask, address], capture_output=True).returncode == 0


def add_toy(models: Path, name: str = "toy", *, batch: int = BATCH, instances: int = 1) -> Path:
    """A model that gives DIM sums of a picture: of everything, then of each channel. Its folder."""
    weights = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["float", "axes"], ["channels"], keepdims=0),
        helper.make_node("MatMul", ["channels", "weights"], ["embedding"]),
        helper.make_node("Identity", ["channels"], ["sums"]),
    ]
    constants = [(np.array([1, 2], np.int64), "axes"), (weights.T.copy(), "weights")]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])]
    outputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIM]),
        helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["n", 3]),
    ]
    weighted = [numpy_helper.from_array(array, name) for array, name in constants]
    graph = helper.make_graph(nodes, name, inputs, outputs, weighted)
    config = f"""
        input [{{name: "image" data_type: TYPE_UINT8 dims: [{SIZE}, {SIZE}, 3]}}]
        output [{{name: "embedding" data_type: TYPE_FP32 dims: [{DIM}]}}]
        output [{{name: "sums" data_type: TYPE_FP32 dims: [3]}}]
        instance_group [{{count: {instances} kind: KIND_CPU}}]
        dynamic_batching {{ max_queue_delay_microseconds: 2000 }}
    """
    return add_model(models, name, graph, config, batch)


def add_model(models: Path, name: str, graph: Any, config: str, batch: int = BATCH) -> Path:
    """Put a graph into the folder of models, whole or not at all; `config` says what it takes and gives."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    made = models / f".{name}"
    (made / "1").mkdir(parents=True)
    (made / "1" / "model.onnx").write_bytes(model.SerializeToString())
    head = f'name: "{name}" backend: "onnxruntime" max_batch_size: {batch}\n'
    (made / "config.pbtxt").write_text(head + config)
    return made.rename(models / name)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Random ones of the toy's size."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def wanted(images: np.ndarray) -> np.ndarray:
    """The toy's `embedding` of pictures."""
    channels = images.sum((1, 2), dtype=np.float64)
    return np.concatenate([channels.sum(1, keepdims=True), channels], 1)
