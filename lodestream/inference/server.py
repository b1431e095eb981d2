"""One Triton server over gRPC: single requests with limits of time. Imported at the first inference."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # children of services are other programs; it only warns
import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from lodestream.errors import Outage
from lodestream.inference.failures import Unloaded, meaning, not_loadable
from lodestream.inference.signature import Signature, fits, signature

LOOK_EVERY, SHORT = 5.0, 20.0
"""Seconds between looks whether a server that computes is alive, and those that it has to say so."""
FIRST_LIMIT, LONGEST_LIMIT = 120.0, 1800.0
"""Seconds that one batch may take; doubled each time that they were too few, as on a machine with much to do."""
LOAD_LIMIT = 600.0
"""Seconds that loading may take."""
PAUSE = 0.1
"""Seconds between looks whether a model is unloaded."""
CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_http_proxy", 0),
]
"""Batches of any size; back soon after a restart; no detour over a proxy that is meant for the web."""
T = TypeVar("T")


class Server:
    """A connection. Every method raises Outage, in words, for what is wrong with the server or the model."""

    def __init__(self, address: str):
        """Connects with the first request, and again whenever it has to."""
        self._client = InferenceServerClient(address, channel_args=CHANNEL)
        self._limits: dict[str, float] = {}
        """Seconds that a batch of a model may take."""

    async def close(self) -> None:
        """Let go of it."""
        await self._client.close()

    async def load(self, model: str) -> Signature:
        """Have the model loaded, if it is not, and learn what it takes."""
        try:
            if not await self._client.is_model_ready(model, client_timeout=SHORT):
                await self._patiently(self._client.load_model(model, client_timeout=LOAD_LIMIT))
            described = await self._client.get_model_config(model, client_timeout=SHORT)
        except InferenceServerException as error:
            raise not_loadable(error, model) from None
        return signature(model, described.config)

    async def unload(self, model: str) -> None:
        """Have it unloaded, for the next `load` to begin anew."""
        try:
            await self._patiently(self._client.unload_model(model, client_timeout=LOAD_LIMIT))
            for _ in range(int(SHORT / PAUSE)):  # somebody else may have it loaded again at once
                if not await self._client.is_model_ready(model, client_timeout=SHORT):
                    return
                await asyncio.sleep(PAUSE)
        except InferenceServerException as error:
            raise not_loadable(error, model) from None

    async def infer(self, model: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, Any]:
        """One batch. Raises BadInput too, OutOfMemory where it is too large, and Unloaded."""
        rows = len(next(iter(inputs.values())))
        limit = self._limits.get(model.model, FIRST_LIMIT)
        asked = [InferRequestedOutput(name) for name in outputs]
        given = [_tensor(name, array, model.inputs[name].type) for name, array in inputs.items()]
        try:
            answer = await self._patiently(
                self._client.infer(model.model, given, outputs=asked, client_timeout=limit),
            )
        except InferenceServerException as error:
            if error.status() == "StatusCode.DEADLINE_EXCEEDED":
                self._limits[model.model] = min(2 * limit, LONGEST_LIMIT)
            raise meaning(error, model.model) from None
        made = {name: answer.as_numpy(name) for name in outputs}
        for name, array in made.items():
            if array is None or not fits((rows, *model.outputs[name].shape), array.shape):
                shape = None if array is None else array.shape
                raise Unloaded(f"model {model.model} gave {name} {shape} for {rows} rows of {model.outputs[name]}")
        return made

    async def _patiently(self, request: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer as long as the server is alive."""
        task = asyncio.ensure_future(request)
        try:
            while not task.done():
                if not (await asyncio.wait([task], timeout=LOOK_EVERY))[0]:
                    await self._look()
            return task.result()
        finally:
            task.cancel()

    async def _look(self) -> None:
        try:
            await self._client.is_server_live(client_timeout=SHORT)
        except InferenceServerException as error:
            raise Outage(f"Triton hangs: it has work, and no answer whether it lives ({error.message()})") from None


def _tensor(name: str, array: np.ndarray, kind: str) -> InferInput:
    tensor = InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(np.ascontiguousarray(array))
    return tensor
