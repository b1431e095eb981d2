"""Installed models run by onnxruntime itself, without Triton."""

from pathlib import Path

import numpy as np
import onnxruntime

from lodestream.models.shelf import MODEL


def run(folder: Path, model: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of an installed model."""
    return run_file(folder / model / MODEL, **inputs)


def run_file(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
