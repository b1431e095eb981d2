"""What a Triton server's refusals mean, by what they say: each backend has its own words."""

from __future__ import annotations

from typing import Any

from lodestream.errors import Outage

MEMORY = (
    "out of memory",
    "available memory of",
    "failed to allocate",
    "bad_alloc",
    "bad allocation",
    "alloc_failed",
    "shared memory pool",
)
UNLOADED = ("unknown model", "not ready", "has no available versions", "is unavailable", "unloaded")
CRASHED = ("stub process", "is not healthy")


class OutOfMemory(Outage):
    """A batch was too large for what memory the server has left."""


class Unloaded(Outage):
    """The server is there and the model is not: it was started again, or somebody unloaded it."""


class Crashed(Unloaded):
    """The process that computes for a model has died, of too large a batch perhaps; Triton starts no other."""


class NotLoadable(Outage):
    """Triton has tried: the model is missing or broken."""


class BadInput(ValueError):
    """The model refuses what is in an input, of the right type and shape as it is."""


def meaning(error: Any, model: str) -> Exception:
    """What an `InferenceServerException` of a request to this model stands for."""
    said, status = plain(error), _status(error)
    lower = said.lower()
    if any(sign in lower for sign in MEMORY):
        return OutOfMemory(f"Triton has too little memory for model {model}: {said}")
    if all(sign in lower for sign in CRASHED):
        return Crashed(f"the process of model {model} has died; see: lode logs triton")
    if status == "INVALID_ARGUMENT":
        return BadInput(f"model {model} refuses an input: {said}")
    if f"'{model}'" in said and any(sign in lower for sign in UNLOADED):
        return Unloaded(f"Triton has not loaded model {model}: {said}")
    return away(error, model) or Outage(f"Triton failed at model {model}: {said or status}")


def not_loadable(error: Any, model: str) -> Outage:
    """Why Triton did not load a model."""
    said = plain(error)
    if "failed to poll" in said:
        words = f"Triton finds no model {model}, or no sense in its config.pbtxt"
        return NotLoadable(f"{words}; get it with: lode models pull NAME; see also: lode logs triton")
    if any(sign in said.lower() for sign in UNLOADED):
        return Unloaded(f"somebody has unloaded model {model} just now: {said}")
    return away(error, model) or NotLoadable(f"Triton cannot load model {model}: {said}; see: lode logs triton")


def away(error: Any, model: str) -> Outage | None:
    """Where the server does not answer at all."""
    if _status(error) == "DEADLINE_EXCEEDED":
        return Outage(f"Triton hangs: it gave no answer for model {model} in time")
    if _status(error) in ("UNAVAILABLE", "CANCELLED"):
        why = plain(error).rpartition(": ")[2]
        return Outage(f"Triton does not run, or not yet ({why}); see: lode status")
    return None


def plain(error: Any) -> str:
    """What it says, without what speaks to programmers alone."""
    said = str(error.message() or "").partition("\n\nAt:")[0].strip()
    for before in ("last error: ", "TritonModelException: ", "[request id: <id_unknown>] "):
        said = said.rpartition(before)[2]
    return said


def _status(error: Any) -> str:
    return str(error.status()).removeprefix("StatusCode.")
