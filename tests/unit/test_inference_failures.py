"""What a Triton server's words mean: those of backends, and of machines, that tests do not have."""

from dataclasses import dataclass

import pytest

from lodestream.errors import Outage
from lodestream.inference.failures import BadInput, Crashed, NotLoadable, OutOfMemory, Unloaded, meaning, not_loadable


@dataclass
class Said:
    """In place of an `InferenceServerException`."""

    words: str
    code: str = "INTERNAL"

    def message(self) -> str:
        """What the server said."""
        return self.words

    def status(self) -> str:
        """As gRPC names it."""
        return f"StatusCode.{self.code}"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said("onnx runtime error 1: CUDA error cudaErrorMemoryAllocation:out of memory"), OutOfMemory),
        (Said("onnx runtime error 6: BFCArena::AllocateRawInternal Failed to allocate memory for buffer"), OutOfMemory),
        (Said("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED"), OutOfMemory),
        (Said("std::bad_alloc", "INVALID_ARGUMENT"), OutOfMemory),
        (Said("Failed to increase the shared memory pool size for key 'x' to 9 bytes."), OutOfMemory),
        (Said("Stub process 'm_0_0' is not healthy."), Crashed),
        (Said("Request for unknown model: 'm' is not found", "UNAVAILABLE"), Unloaded),
        (Said("Request for unknown model: 'm' has no available versions", "UNAVAILABLE"), Unloaded),
        (Said("indices element out of data bounds", "INVALID_ARGUMENT"), BadInput),
        (Said("Socket closed", "UNAVAILABLE"), Outage),
        (Said("Deadline Exceeded", "DEADLINE_EXCEEDED"), Outage),
        (Said("something new", "UNKNOWN"), Outage),
    ],
)
def test_each_kind_is_told_by_its_words(said: Said, kind: type[Exception]) -> None:
    assert type(meaning(said, "m")) is kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said("failed to load 'm', failed to poll from model repository"), NotLoadable),
        (Said("load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: broken"), NotLoadable),
        (Said("Request for unknown model: 'm' has no available versions", "UNAVAILABLE"), Unloaded),
        (Said("Socket closed", "UNAVAILABLE"), Outage),
    ],
)
def test_a_model_that_is_not_loaded_may_be_the_servers_fault(said: Said, kind: type[Exception]) -> None:
    assert type(not_loadable(said, "m")) is kind


def test_what_speaks_to_programmers_alone_is_left_out() -> None:
    said = Said("load failed: TritonModelException: no input 'x'\n\nAt:\n  model.py(3): initialize\n")
    assert str(not_loadable(said, "m")) == "Triton cannot load model m: no input 'x'; see: lode logs triton"
    closed = Said(
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:5: Connection refused", "UNAVAILABLE"
    )
    assert str(meaning(closed, "m")) == "Triton does not run, or not yet (Connection refused); see: lode status"
