"""config.pbtxt: how Triton serves a model, on processors and, under another name beside it, on GPUs."""

from lodestream.models.card import MASK, PIXELS, Card, Tensor
from lodestream.models.graft import IMAGE

GPU = "gpu"
"""`tritonserver --model-config-name=gpu` takes configs/gpu.pbtxt of each model in place of its config.pbtxt."""
KINDS = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8"}
QUEUE_US = 2000
"""How long Triton waits for rows to put together, in microseconds."""


def config(card: Card, part: str, kind: str = "KIND_CPU") -> str:
    """The configuration of one Triton model, in protobuf's text format."""
    inputs, outputs = taken(card, part), given(card, part)
    return "\n".join(
        [
            f'name: "{card.parts[part]}"',
            'backend: "onnxruntime"',
            f"max_batch_size: {card.max_batch}",
            *(f"input {_tensor(each)}" for each in inputs),
            *(f"output {_tensor(each)}" for each in outputs),
            f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_US} }}",
            "version_policy { latest { num_versions: 1 } }",
            f"instance_group [{{ count: 1 kind: {kind} }}]",
            'model_warmup [{ name: "zeros" batch_size: 1',
            *(f'  inputs {{ key: "{each.name}" value: {_warm(each)} }}' for each in inputs),
            "}]",
            "",
        ]
    )


def taken(card: Card, part: str) -> list[Tensor]:
    """The inputs of a Triton model; the first dimension counts rows."""
    raw = card.raw[part].inputs
    texts = [
        Tensor(name=t.name, type=t.type, shape=("n", card.text_length)) for t in raw if t.name not in (PIXELS, MASK)
    ]
    if not any(t.name == PIXELS for t in raw):
        return texts
    return [Tensor(name=IMAGE, type="uint8", shape=("n", card.height, card.width, 3)), *texts]


def given(card: Card, part: str) -> list[Tensor]:
    """The outputs of a Triton model."""
    raw = {t.name: t for t in card.raw[part].outputs}
    return [
        Tensor(name=ours, type="float32", shape=("n", *raw[name].shape[1:]))
        for name, ours in card.raw[part].gives.items()
    ]


def _tensor(tensor: Tensor) -> str:
    return f'[{{ name: "{tensor.name}" data_type: {KINDS[tensor.type]} dims: {_dims(tensor)} }}]'


def _warm(tensor: Tensor) -> str:
    return f"{{ data_type: {KINDS[tensor.type]} dims: {_dims(tensor)} zero_data: true }}"


def _dims(tensor: Tensor) -> str:
    return "[" + ", ".join(str(d if isinstance(d, int) else -1) for d in tensor.shape[1:]) + "]"
