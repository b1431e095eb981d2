"""What a Triton server's refusals mean, by what they say: each release has its own words, and so has each backend."""

from __future__ import annotations

from typing import Any

from lodestream.errors import Outage

MEMORY = ("out of memory", "failed to allocate", "bad_alloc", "bad allocation", "alloc_failed")
UNLOADED = ("unknown model", "not ready", "has no available versions", "is unavailable", "unloaded")
ABSENT = ("failed to poll", "model not found", "no model version", "failed to poll from model repository")


class OutOfMemory(Outage):
    """A batch was too large for what memory the server has left."""


class Unloaded(Outage):
    """The server is there and the model is not: it was started again, or somebody unloaded it."""


class BadInput(ValueError):
    """The model refuses what is in an input, of the right type and shape as it is."""


def meaning(error: Any, model: str) -> Exception:
    """What an `InferenceServerException` of a request to this model stands for."""
    said, status = str(error.message() or ""), str(error.status()).removeprefix("StatusCode.")
    lower = said.lower()
    if any(sign in lower for sign in MEMORY):
        return OutOfMemory(f"Triton has too little memory for model {model}: {said}")
    if status == "INVALID_ARGUMENT":
        return BadInput(f"model {model} refuses an input: {said}")
    if model in said and any(sign in lower for sign in UNLOADED):
        return Unloaded(f"Triton has not loaded model {model}: {said}")
    if status == "UNAVAILABLE":
        return Outage(f"Triton does not answer: {said}")
    if status == "DEADLINE_EXCEEDED":
        return Outage(f"Triton gave no answer for model {model} in time")
    return Outage(f"Triton failed at model {model}: {said or status}")


def not_loadable(error: Any, model: str) -> Outage:
    """Why Triton did not load a model."""
    said, status = str(error.message() or ""), str(error.status())
    if any(sign in said.lower() for sign in ABSENT):
        return Outage(f"Triton finds no model {model}; see what is installed with: lode models ls ({said})")
    if status.endswith(("UNAVAILABLE", "DEADLINE_EXCEEDED")):
        return Outage(f"Triton does not answer: {said}")
    return Outage(f"Triton cannot load model {model}: {said}; see: lode logs triton")
