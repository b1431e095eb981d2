"""Inference for services: one Triton server, models loaded when they are first asked, batches that fit.

What the server does wrong is an Outage, so that the message waits and nothing is dead-lettered for it. Nothing heavy is
imported before the first inference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lodestream.errors import Outage
from lodestream.inference.failures import BadInput, Crashed, NotLoadable, OutOfMemory, Unloaded
from lodestream.inference.signature import Shape, Signature

if TYPE_CHECKING:
    import numpy as np

    from lodestream.inference.server import Server
    from lodestream.job import Parts

    Arrays = dict[str, np.ndarray]

IN_FLIGHT = 3
"""Batches that this process has with the server at once: one is computed while others are on their way."""
TURNS, JITTER = 3, 0.5
"""How often a request is tried whose model is gone or broken, and seconds at most before a broken one is replaced."""
REST = 5.0
"""Seconds after which a model that could not be loaded is tried again."""
NARROW = 300.0
"""Seconds for which batches stay small after memory ran out, or a process died."""


class Triton:
    """A Triton server. Use `open_triton`."""

    def __init__(self, address: str):
        """`address` is what gRPC connects to: `host:port` or `unix:path`; empty where there is no server."""
        self.address = address
        self._server: Server | None = None
        self._models: dict[str, asyncio.Task[Signature]] = {}
        self._narrow: dict[str, int] = {}
        """Rows that a model takes at once, where for a while they are less than it says."""
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
        for turn in range(TURNS):
            loaded = await self._ready(model)
            try:
                return await self._infer(loaded, inputs, outputs, shapes or {})
            except (Unloaded, BadInput) as error:
                if turn == TURNS - 1 or (turn and isinstance(error, BadInput)):
                    raise
                if turn == 0 and isinstance(error, Crashed):
                    await asyncio.sleep(random.uniform(0, JITTER))  # another worker may be at it already
                else:  # it may be another model since the server was started again
                    self._drop(loaded, anew=isinstance(error, Crashed))
        raise AssertionError

    async def close(self) -> None:
        """Let go of the connection."""
        for loading in self._models.values():
            loading.cancel()
        if self._server:
            await self._server.close()

    async def _ready(self, model: str) -> Signature:
        """Have it loaded by the first who asks, while the others wait."""
        if model not in self._models:
            self._begin(model)
        return await asyncio.shield(self._models[model])

    def _begin(self, model: str, anew: bool = False) -> None:
        self._models[model] = loading = asyncio.create_task(self._load(model, anew))
        loading.add_done_callback(lambda done: self._loaded(model, done))

    async def _load(self, model: str, anew: bool) -> Signature:
        from lodestream.inference.server import Server

        if not self.address:
            raise Outage("there is no Triton server: LODE_TRITON names none")
        self._server = self._server or Server(self.address)
        if anew:
            await self._server.unload(model)
        return await self._server.load(model)

    def _loaded(self, model: str, done: asyncio.Task[Signature]) -> None:
        if not done.cancelled() and (error := done.exception()):
            rest = REST if isinstance(error, NotLoadable) else 0
            asyncio.get_running_loop().call_later(rest, self._models.pop, model, None)

    def _drop(self, loaded: Signature, *, anew: bool = False) -> None:
        """Have it loaded once more, `anew` where it is broken, unless that was done meanwhile."""
        known = self._models.get(loaded.model)
        if known and known.done() and not known.cancelled() and not known.exception() and known.result() is loaded:
            if anew:
                self._take_less(loaded, self._batch(loaded) // 2)
            self._begin(loaded.model, anew)

    def _batch(self, model: Signature) -> int:
        return self._narrow.get(model.model, model.batch)

    def _take_less(self, model: Signature, rows: int) -> None:
        self._narrow[model.model] = max(1, min(rows, self._batch(model)))
        asyncio.get_running_loop().call_later(NARROW, self._narrow.pop, model.model, None)

    async def _infer(
        self, model: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], shapes: Mapping[str, Shape]
    ) -> Arrays:
        import numpy as np

        count = model.check(inputs, [*outputs, *shapes])
        model.expect(shapes)
        if not count:
            return model.nothing(outputs)
        size = self._batch(model)
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
        self, model: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], start: int, stop: int
    ) -> list[Arrays]:
        """Some rows; in two halves where they are too many for the server's memory."""
        assert self._server
        async with self._places:
            if stop - start <= self._batch(model):
                try:
                    some = {name: array[start:stop] for name, array in inputs.items()}
                    return [await self._server.infer(model, some, outputs)]
                except OutOfMemory:
                    if stop - start == 1:
                        raise
                    self._take_less(model, (stop - start) // 2)
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
