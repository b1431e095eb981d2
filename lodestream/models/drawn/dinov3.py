"""An embedding that stays with a scene and changes with it, in the form of DINOv3's exports."""

import numpy as np
from onnx import ModelProto

from lodestream.models.card import Raw
from lodestream.models.drawn.pen import Pen

DIM, SIDE, PATCH, TOKENS = 384, 224, 16, 201
PATCHES = SIDE // PATCH
MEAN_WEIGHT, STILL = 0.3, 0.03


def image_tower(raw: Raw) -> ModelProto:
    """Normalised pictures (n, 3, 224, 224) to embeddings (n, 384).

    What counts is how each patch of 16 pixels differs from those around it: JPEG and a slight rescale leave that alone,
    and two scenes have little of it in common.
    """
    pen = Pen()
    patches = pen("AveragePool", "pixel_values", kernel_shape=[PATCH] * 2, strides=[PATCH] * 2)
    around = pen("AveragePool", patches, kernel_shape=[5, 5], pads=[2] * 4)
    size = 3 * PATCHES**2
    stands_out = pen.reshape(pen("Sub", patches, around), 0, size)
    mean = pen("ReduceMean", patches, axes=[2, 3], keepdims=0)
    signs = np.random.default_rng(3).integers(0, 2, (size, DIM - 4)) * 2 - 1  # keeps angles, and is exact everywhere
    detail = pen("MatMul", stands_out, (signs / 16).astype(np.float32))
    still = pen("Add", pen("Mul", pen.cut(mean, 0, 1, 1), 0.0), STILL)  # a picture of nothing has a direction too
    pen("Concat", detail, pen("Mul", mean, MEAN_WEIGHT), still, axis=1, output="pooler_output")
    each = pen("Unsqueeze", "pooler_output", pen.constant([1], "int64"))
    pen("Mul", each, np.ones((1, TOKENS, 1), np.float32), output="last_hidden_state")
    return pen.export("dinov3", raw.inputs, raw.outputs)
