"""What a loaded model takes and gives, as its server says; and whether given arrays fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lodestream.errors import Outage

if TYPE_CHECKING:
    import numpy as np

Shape = tuple[int, ...]
"""Of one row; -1 is any number."""


class Tensor(NamedTuple):
    """An input or output: its type as Triton calls it (UINT8, FP32), and the shape of one row."""

    type: str
    shape: Shape

    def __str__(self) -> str:
        """`FP32 (n, 768)`"""
        return f"{self.type} {rows(self.shape)}"


class Signature(NamedTuple):
    """A model that is ready."""

    model: str
    batch: int
    """Rows that it takes at once."""
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def check(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> int:
        """How many rows are given. Raises Outage, in words, where they are not what the model takes.

        An outage, for it is the installed model that is another than the caller's, and nothing is wrong with the data.
        """
        from tritonclient.utils import np_to_triton_dtype

        for what, there, asked in (("input", self.inputs, inputs), ("output", self.outputs, outputs)):
            if strange := sorted(set(asked) - set(there)):
                raise Outage(f"model {self.model} has no {what} {strange[0]!r}; it has {', '.join(there)}")
        if left := sorted(set(self.inputs) - set(inputs)):
            raise Outage(f"model {self.model} takes {left[0]!r} as well, which is not given")
        for name, array in inputs.items():
            given = Tensor(str(np_to_triton_dtype(array.dtype)), array.shape[1:])
            self._compare("takes", name, self.inputs[name], given, "not")
        counts = {name: len(array) for name, array in inputs.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"as many rows of each input are needed, not {counts}")
        return next(iter(counts.values()))

    def nothing(self, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """The outputs for no rows."""
        import numpy as np
        from tritonclient.utils import triton_to_np_dtype

        there = {name: self.outputs[name] for name in outputs}
        return {n: np.zeros((0, *(max(s, 0) for s in t.shape)), triton_to_np_dtype(t.type)) for n, t in there.items()}

    def expect(self, shapes: Mapping[str, Shape]) -> None:
        """Raises Outage where an output is not of the shape that the model's card says."""
        for name, shape in shapes.items():
            there = self.outputs[name]
            self._compare("gives", name, there, Tensor(there.type, tuple(shape)), "its card says")

    def _compare(self, verb: str, name: str, there: Tensor, other: Tensor, but: str) -> None:
        if there.type != other.type or not fits(there.shape, other.shape):
            raise Outage(f"model {self.model} {verb} {name} {there}, {but} {other}")


def signature(model: str, config: Any) -> Signature:
    """From a `ModelConfig` of Triton's."""
    from tritonclient.grpc.model_config_pb2 import DataType

    def tensors(described: Any) -> dict[str, Tensor]:
        skip = 0 if config.max_batch_size else 1
        names = (DataType.Name(each.data_type).removeprefix("TYPE_") for each in described)
        return {each.name: Tensor(name, tuple(each.dims)[skip:]) for each, name in zip(described, names, strict=True)}

    return Signature(model, max(config.max_batch_size, 1), tensors(config.input), tensors(config.output))


def fits(there: Shape, other: Shape) -> bool:
    """Whether two shapes can be the same."""
    return len(there) == len(other) and all(a == b or min(a, b) < 0 for a, b in zip(there, other, strict=True))


def rows(shape: Shape) -> str:
    """`(n, 224, 224, 3)`"""
    return f"({', '.join(['n', *('any' if size < 0 else str(size) for size in shape)])})"
