"""Triton's `onnxruntime` backend in Python, for a Triton that comes without the one in C++.

It runs <model>/<version>/model.onnx, one process for each instance of a model. Tensors go through DLPack: Triton's own
conversion knows the memory layout of NumPy 1 alone.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton
from onnxruntime.capi import onnxruntime_pybind11_state as failures

OUT_OF_MEMORY = ("failed to allocate", "out of memory", "bad_alloc", "bad allocation", "alloc_failed")
"""What ONNX Runtime, CUDA, cuDNN and C++ say."""

Arrays = dict[str, np.ndarray]


class TritonPythonModel:
    """One instance of one model; the name and the methods are Triton's."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model. Raises TritonModelException, in words, where its file or its configuration is not right."""
        config = json.loads(args["model_config"])
        self.inputs, self.outputs = ([each["name"] for each in config[kind]] for kind in ("input", "output"))
        self.joins = config["max_batch_size"] > 0
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        try:
            self.session = onnxruntime.InferenceSession(path, options(config), providers(args))
        except Exception as error:
            raise triton.TritonModelException(f"cannot load {path.name}: {words(error)}") from None
        check(config, self.session)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """An answer to each request. Those of one batch run together; where that fails, each runs by itself."""
        if self.joins and len(requests) > 1:
            with contextlib.suppress(Exception):  # one request's fault, or too little memory for all: seen one by one
                return self._together(requests)
        return [self._alone(request) for request in requests]

    def _together(self, requests: Sequence[Any]) -> list[Any]:
        parts = [self._read(request) for request in requests]
        ends = np.cumsum([len(part[self.inputs[0]]) for part in parts])[:-1]
        joined = self._run(requests, {name: np.concatenate([part[name] for part in parts]) for name in self.inputs})
        split = {name: np.split(array, ends) for name, array in joined.items()}
        return [
            answer(request, {name: arrays[number] for name, arrays in split.items()})
            for number, request in enumerate(requests)
        ]

    def _alone(self, request: Any) -> Any:
        if request.is_cancelled():
            return triton.InferenceResponse(error=triton.TritonError("nobody waits", triton.TritonError.CANCELLED))
        try:
            return answer(request, self._run([request], self._read(request)))
        except Exception as error:
            return triton.InferenceResponse(error=triton.TritonError(words(error), code(error)))

    def _read(self, request: Any) -> Arrays:
        return {name: np.from_dlpack(triton.get_input_tensor_by_name(request, name)) for name in self.inputs}

    def _run(self, requests: Sequence[Any], given: Arrays) -> Arrays:
        """The outputs that somebody asks for."""
        asked = {name for request in requests for name in request.requested_output_names()}
        names = [name for name in self.outputs if name in asked]
        return dict(zip(names, self.session.run(names, given), strict=True))


def options(config: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """Threads share the cores among the instances; none spins while it waits, since others need the cores."""
    chosen = onnxruntime.SessionOptions()
    instances = sum(group.get("count", 1) for group in config.get("instance_group", [])) or 1
    asked = config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value")
    chosen.intra_op_num_threads = int(asked or max(1, len(os.sched_getaffinity(0)) // instances))
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen


def providers(args: Mapping[str, str]) -> list[Any]:
    """CUDA on the GPU that Triton chose, where ONNX Runtime has it; else the CPU."""
    cuda = "CUDAExecutionProvider"
    if args["model_instance_kind"] == "GPU" and cuda in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
        return [(cuda, {"device_id": args["model_instance_device_id"]}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def check(config: Mapping[str, Any], session: onnxruntime.InferenceSession) -> None:
    """Raises TritonModelException where the graph is not what the configuration says."""
    rows = [None] if config["max_batch_size"] > 0 else []
    for kind, nodes in (("input", session.get_inputs()), ("output", session.get_outputs())):
        graph = {node.name: node.shape for node in nodes}
        for each in config[kind]:
            name, said = each["name"], [*rows, *(int(size) for size in each["dims"])]
            if name not in graph:
                raise triton.TritonModelException(f"the graph has no {kind} {name!r}; it has {', '.join(graph)}")
            if not fits(said, graph[name]):
                what = f"{kind} {name!r} is {graph[name]} in the graph"
                raise triton.TritonModelException(f"{what}, {said[len(rows) :]} in the configuration")
        if kind == "input" and (left := set(graph) - {each["name"] for each in config[kind]}):
            raise triton.TritonModelException(f"the configuration lacks input {', '.join(sorted(left))}")


def fits(said: Sequence[int | None], graph: Sequence[int | str | None]) -> bool:
    """Whether two shapes can be the same; what is no positive number is any."""
    sizes = ((a, b) for a, b in zip(said, graph, strict=False) if isinstance(a, int) and isinstance(b, int))
    return not graph or (len(said) == len(graph) and all(a == b or min(a, b) < 0 for a, b in sizes))


def answer(request: Any, made: Arrays) -> Any:
    """What one request asked for, in memory of ONNX Runtime's: Triton reads it when our arrays are gone."""
    tensors = []
    for name in request.requested_output_names():
        array = np.ascontiguousarray(made[name])
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype)
        value.update_inplace(array)
        tensors.append(triton.Tensor.from_dlpack(name, value))
    return triton.InferenceResponse(tensors)


def words(error: Exception) -> str:
    """What went wrong; where memory ran out it begins with that."""
    said = f"{type(error).__name__}: {error}"
    memory = isinstance(error, MemoryError) or any(sign in said.lower() for sign in OUT_OF_MEMORY)
    return f"out of memory: {said}" if memory else said


def code(error: Exception) -> int:
    """Whose fault it was: the data's, or this server's."""
    faulty = isinstance(error, failures.InvalidArgument)
    return triton.TritonError.INVALID_ARG if faulty else triton.TritonError.INTERNAL
