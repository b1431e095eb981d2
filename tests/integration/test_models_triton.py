"""Stand-ins in a real Triton: what is installed is served as it stands, and gives what onnxruntime gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lodestream.inference.client import open_triton
from lodestream.models.config import given, taken
from lodestream.models.standins import STANDINS, install
from tests.support.models import run
from tests.support.painted import painted, scene, seen
from tests.support.triton import TritonServer, start_triton


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server on all stand-ins, and on nothing else."""
    server = start_triton(tmp_path_factory.mktemp("t"))
    with server.process:
        for name in STANDINS:
            install(name, server.models)
        yield server


@pytest.mark.parametrize("name", STANDINS)
async def test_triton_gives_what_onnxruntime_gives(name: str, triton: TritonServer, tmp_path: Path) -> None:
    card = STANDINS[name]
    images = seen([scene(1), painted("red ball", "blue square"), painted()] * 2, card.width)
    texts = np.random.default_rng(0).integers(0, 40, (len(images), card.text_length), dtype=np.int64)
    async with open_triton(triton.parts(tmp_path)) as server:
        for part, model in card.parts.items():
            inputs = {tensor.name: images if tensor.name == "image" else texts for tensor in taken(card, part)}
            outputs = {tensor.name: tensor.shape[1:] for tensor in given(card, part)}
            have = await server.infer(model, inputs, list(outputs))
            want = run(triton.models, model, **inputs)
            for output, shape in outputs.items():
                assert have[output].shape == (len(images), *shape)
                np.testing.assert_allclose(have[output], want[output], atol=1e-4)
