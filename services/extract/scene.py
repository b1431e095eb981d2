"""Where another scene begins: the measure of FFmpeg's `select='gt(scene,0.3)'`."""

from typing import Any

import numpy as np


class SceneChange:
    """Scores each picture against the one before it.

    d is the mean absolute difference of their luma (0 to 255). The score is a hundredth of the smaller of d and of how
    much d differs from the d of the picture before, 1 at most: a cut scores high, steady motion does not.
    """

    def __init__(self) -> None:
        self.luma: np.ndarray | None = None
        self.difference = 0.0

    def score(self, frame: Any) -> float:
        """The picture's score; 1 for the first, and for one of another size."""
        luma = luma_of(frame)
        before, self.luma = self.luma, luma
        if before is None or before.shape != luma.shape:
            self.difference = 0.0
            return 1.0
        apart = np.subtract(np.maximum(luma, before), np.minimum(luma, before))
        difference = int(apart.sum()) / apart.size
        before_that, self.difference = self.difference, difference
        return min(1.0, min(difference, abs(difference - before_that)) / 100)


def luma_of(frame: Any) -> np.ndarray:
    """A copy of the luma, 8 bits, shape (height, width)."""
    if not frame.format.name.startswith(("yuv4", "yuvj4", "nv12", "gray")) or frame.format.components[0].bits != 8:
        frame = frame.reformat(format="gray", threads=1)
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
