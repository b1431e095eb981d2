"""How well each query of a detector fits each label, from its logits; zero where it does not count for the label."""

from collections.abc import Sequence

import numpy as np


def closed(logits: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """A closed detector's: one logit for each query and class; `columns` are the classes that are asked for.

    A query may count for several labels, as DETR-like detectors do.
    """
    return sigmoid(logits[:, list(columns)])


def grounded(logits: np.ndarray, spans: Sequence[Sequence[int]]) -> np.ndarray:
    """Grounding DINO's: one logit for each query and token; `spans` are the tokens of each label.

    A query's score is that of its best token, as in the paper's own demo, and it counts for one label: the one whose
    tokens fit best on average, as in its evaluation on COCO. So of "red ball" and "blue ball" the first word decides,
    though "ball" fits both.
    """
    tokens = sigmoid(logits[:, [token for span in spans for token in span]])
    ends = np.cumsum([len(span) for span in spans])[:-1]
    by_label = np.split(tokens, ends, axis=1)
    best = np.stack([part.max(axis=1) for part in by_label], axis=1)
    fits = np.stack([part.mean(axis=1) for part in by_label], axis=1)
    chosen = np.arange(len(spans)) == fits.argmax(axis=1)[:, None]
    return np.where(chosen | np.isnan(best), best, 0)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """0 to 1; a logit of minus infinity, which hides a token, gives 0."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(np.float32)))


def is_sound(scores: np.ndarray, boxes: np.ndarray) -> bool:
    """Whether a model's answer about one picture can be used."""
    return not np.isnan(scores).any() and bool(np.isfinite(boxes).all())
