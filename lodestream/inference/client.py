"""Inference for services: one Triton server, models loaded when they are first asked, batches that fit.

What the server does wrong is an Outage, so that the message waits and nothing is dead-lettered for it. Nothing heavy is
imported before the first inference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lodestream.errors import Outage
from lodestream.inference.failures import BadInput, OutOfMemory, Unloaded
from lodestream.inference.signature import Shape, Signature

if TYPE_CHECKING:
    import numpy as np

    from lodestream.inference.server import Server
    from lodestream.job import Parts

    Arrays = dict[str, np.ndarray]

IN_FLIGHT = 4
"""Batches that this process has with the server at once: one is computed while others are on their way."""
REST = 5.0
"""Seconds after which a model that could not be loaded is tried again."""
NARROW = 300.0
"""Seconds for which batches stay small after memory ran out."""


class Model:
    """A model that is loaded."""

    def __init__(self, signature: Signature):
        self.signature, self.batch = signature, signature.batch

    def narrow(self, rows: int) -> None:
        """Take no more than these rows at once, for a while."""
        self.batch = min(self.batch, rows)
        asyncio.get_running_loop().call_later(NARROW, self._widen)

    def _widen(self) -> None:
        self.batch = self.signature.batch


class Triton:
    """A Triton server. Use `open_triton`."""

    def __init__(self, address: str):
        """`address` is what gRPC connects to: `host:port` or `unix:path`; empty where there is no server."""
        self.address = address
        self._server: Server | None = None
        self._models: dict[str, asyncio.Task[Model]] = {}
        self._places = asyncio.Semaphore(IN_FLIGHT)

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        shapes: Mapping[str, Shape] | None = None,
    ) -> Arrays:
        """The outputs for every row of the inputs (axis 0), of which there may be any number; NaN comes as it is.

        `shapes` are those that one row of an output has to have. Raises Outage, in words, where the server or the
        model is not as it should be, and BadInput (a ValueError) where the model refuses what an input says.
        """
        loaded = await self._ready(model)
        try:
            return await self._infer(loaded, inputs, outputs, shapes or {})
        except (Unloaded, BadInput):  # it may be another one since the server was started again
            self._drop(model, loaded)
        return await self._infer(await self._ready(model), inputs, outputs, shapes or {})

    async def close(self) -> None:
        """Let go of the connection."""
        for loading in self._models.values():
            loading.cancel()
        if self._server:
            await self._server.close()

    async def _ready(self, name: str) -> Model:
        """The model, loaded by the first who asks while the others wait."""
        if name not in self._models:
            self._models[name] = loading = asyncio.create_task(self._load(name))
            loading.add_done_callback(lambda done: self._loaded(name, done))
        return await asyncio.shield(self._models[name])

    async def _load(self, name: str) -> Model:
        from lodestream.inference.server import Server

        if not self.address:
            raise Outage("there is no Triton server: LODE_TRITON names none")
        self._server = self._server or Server(self.address)
        return Model(await self._server.load(name))

    def _loaded(self, name: str, done: asyncio.Task[Model]) -> None:
        if not done.cancelled() and done.exception():
            asyncio.get_running_loop().call_later(REST, self._models.pop, name, None)

    def _drop(self, name: str, model: Model) -> None:
        """Have it loaded anew, unless that was done meanwhile."""
        known = self._models.get(name)
        if known and known.done() and not known.exception() and known.result() is model:
            del self._models[name]

    async def _infer(
        self, model: Model, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], shapes: Mapping[str, Shape]
    ) -> Arrays:
        import numpy as np

        count = model.signature.check(inputs, outputs)
        model.signature.expect(shapes)
        if not count:
            return model.signature.nothing(outputs)
        size = model.batch
        tasks = [
            asyncio.create_task(self._span(model, inputs, outputs, start, min(start + size, count)))
            for start in range(0, count, size)
        ]
        try:
            parts = [part for made in await asyncio.gather(*tasks) for part in made]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    async def _span(
        self, model: Model, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], start: int, stop: int
    ) -> list[Arrays]:
        """Some rows; in two halves where they are too many for the server's memory."""
        assert self._server
        async with self._places:
            if stop - start <= model.batch:
                try:
                    some = {name: array[start:stop] for name, array in inputs.items()}
                    return [await self._server.infer(model.signature, some, outputs)]
                except OutOfMemory:
                    if stop - start == 1:
                        raise
                    model.narrow((stop - start) // 2)
        middle = (start + stop) // 2
        first = await self._span(model, inputs, outputs, start, middle)
        return first + await self._span(model, inputs, outputs, middle, stop)


@asynccontextmanager
async def open_triton(parts: Parts) -> AsyncIterator[Triton]:
    """The server that this process was told of; nothing is connected or loaded before the first inference."""
    triton = Triton(parts.triton)
    try:
        yield triton
    finally:
        await triton.close()
