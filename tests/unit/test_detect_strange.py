"""Messages that are not as they should be: refused in words, or their frames are broken; nothing else happens."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lodestream.errors import Malformed, Missing
from lodestream.models.card import Card, known_card
from proto.messages import Boxes, Kept, Shard, Unique
from services.detect.node import NODE, Sight
from tests.support.frames import job, jpeg, noise, parts, put_shard

COUNT = 4
HUGE = (1 << 63) - 1


class Shelf:
    """A shelf with one closed detector, of a small picture."""

    def card(self, name: str) -> Card:
        return msgspec.structs.replace(known_card("dfine-s"), name=name, height=32, width=32)


class Triton:
    """Sees one person in the middle of every picture."""

    async def infer(self, model: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], shapes: object) -> dict:
        rows = len(inputs["image"])
        logits = np.full((rows, 300, 80), -9, np.float32)
        logits[:, 0, 0] = 3
        return {"logits": logits, "pred_boxes": np.full((rows, 300, 4), 0.5, np.float32)}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Shard]:
    """The parts of a worker, and a shard that is as it should be."""
    made = parts(tmp_path_factory.mktemp("strange"))
    return made, asyncio.run(put_shard(made.objects, [jpeg(noise(seed)) for seed in range(COUNT)]))


async def ask(made: Any, message: Shard | Kept | Unique) -> Boxes:
    """What the node says."""
    given_settings = NODE.read_settings({"labels": ["person"], "model": "dfine-s"})
    work = job(made, given_settings, Sight(Triton(), Shelf()))  # type: ignore[arg-type]
    ((_, said),) = [output async for output in NODE.handler(message, work)]
    return said  # type: ignore[return-value]


def test_a_message_as_it_should_be(stored: tuple[Any, Shard]) -> None:
    said = asyncio.run(ask(*stored))
    assert (said.frames, said.broken) == (list(range(COUNT)), [])
    assert said.boxes == [[(16.0, 12.0, 48.0, 36.0)]] * COUNT


numbers = st.sampled_from([0, 1, 5, 512, 1024, 70_000, 1 << 40, HUGE, 1 << 64]) | st.integers(0, 5000)
each = st.lists(numbers, min_size=COUNT, max_size=COUNT) | st.lists(numbers, max_size=COUNT + 2)
WRONG = {
    "time_ms": each,
    "offset": each,
    "length": each,
    "width": st.integers(1, 65535),
    "height": st.integers(1, 65535),
    "object_key": st.sampled_from(["frames/x", "../../etc/passwd", "", "frames/0badcafe/web-1/none.tar", "a\0b"]),
    "bytes": numbers,
    "sha256": st.sampled_from(["", "0" * 64, hashlib.sha256(b"").hexdigest(), "x"]),
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.one_of(*(st.fixed_dictionaries({name: wrong}) for name, wrong in WRONG.items())) | st.just({}),
    chosen=st.none() | st.lists(st.integers(0, COUNT + 1) | st.just(HUGE), max_size=6),
)
def test_strange_messages(stored: tuple[Any, Shard], changes: dict[str, Any], chosen: list[int] | None) -> None:
    made, shard = stored
    message: Shard | Unique = msgspec.structs.replace(shard, **changes)
    if chosen is not None:
        message = Unique(id=shard.id, media_id="web-1", source="x", shard=message, unique=chosen)
    try:
        said = asyncio.run(ask(made, message))
    except (Malformed, Missing):
        said = None
    if said is None:
        assert changes or (chosen and max(chosen) >= COUNT), "nothing was wrong with it"
        return
    asked = range(len(said.shard.time_ms)) if chosen is None else sorted(set(chosen))
    assert sorted([*said.frames, *said.broken]) == list(asked)
    for boxes in said.boxes:
        assert all(0 <= box[0] < box[2] <= said.shard.width for box in boxes)
