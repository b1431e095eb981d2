"""detect: finds what is asked for in frames, as boxes with labels and scores, by a model that Triton serves."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from lodestream.errors import LodeError, Malformed, Outage
from lodestream.inference import asked
from lodestream.job import Job, Parts
from lodestream.natsconf import MAX_PAYLOAD
from lodestream.node import Node, Output, Settings, setting
from proto import keys
from proto.messages import Boxes, Kept, Shard, Unique, encode
from services.detect.detector import OUTPUTS, Detector, check, nearest, prepared

if TYPE_CHECKING:
    import numpy as np

    from lodestream.inference.client import Triton
    from lodestream.inference.frames import Pictures
    from lodestream.models.shelf import Shelf
    from services.detect.boxes import Found

OVERLAP = {"open-detector": 0.8, "detector": 1.0}
"""What `nms` is where nothing is said. A DETR-like closed detector is trained to give each thing once, and suppression
would only take away neighbours in a crowd. Grounding DINO gives a thing again for other words of the caption; 0.8 is
what Grounded-SAM takes with it."""
PIECE = 32 << 20
"""Bytes of pictures that are sent to Triton at once for one shard."""
SLACK = 64 << 10
"""Bytes of a message's headers, subject and cause."""
Score = Annotated[float, Meta(gt=0, le=1)]


class Detect(Settings, kw_only=True, frozen=True):
    """What a node that detects can be told."""

    labels: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=100)]],
        setting(
            "what to look for: any words for an open detector, classes that it knows for a closed one",
            min_length=1,
            max_length=256,
            examples=[["person", "hand"]],
        ),
    ]
    model: Annotated[str, setting("the detector, by its name in `lode models ls`", min_length=1, max_length=64)] = (
        "grounding-dino-tiny"
    )
    threshold: Annotated[
        float, setting("a box with a lower score is dropped; 0.35 as in Grounding DINO's own demo", gt=0, le=1)
    ] = 0.35
    thresholds: Annotated[dict[str, Score], setting("thresholds of single labels", examples=[{"hand": 0.45}])] = (
        msgspec.field(default_factory=dict)
    )
    nms: (
        Annotated[
            float,
            setting(
                "of boxes with one label that share more than this (intersection over union) the best stays; "
                "if nothing is said 0.8 for open detectors, and 1, which lets all stay, for closed ones",
                gt=0,
                le=1,
            ),
        ]
        | None
    ) = None
    max_boxes: Annotated[int, setting("the best of a frame, at most", ge=1, le=300)] = 100

    def __post_init__(self) -> None:
        """Raises ValueError for labels that no model, or not this one, can be asked for."""
        lower = [label.strip().lower() for label in self.labels]
        for place, label in enumerate(lower):
            if not label:
                raise ValueError("labels: one without a word in it")
            if label in lower[:place]:
                raise ValueError(f"labels: {self.labels[place]!r} stands there twice")
        for label in self.thresholds:
            if label not in self.labels:
                raise ValueError(f"thresholds: {label!r} is not one of the labels{nearest(label, self.labels)}")
        _check_known(self.model, self.labels)


def _check_known(model: str, labels: list[str]) -> None:
    """Raises ValueError where a model that is known by name cannot be asked for this."""
    from lodestream.models.card import known_card

    try:
        check(known_card(model), labels)
    except LodeError:
        return  # somebody's own: the worker looks when it has it
    except Malformed as error:
        raise ValueError(f"labels: {error.detail}" if "label" in error.reason else f"model: {error.detail}") from None


class Sight(NamedTuple):
    """What a worker asks, and where models lie."""

    triton: "Triton"
    shelf: "Shelf | None"


async def detect(message: Shard | Kept | Unique, job: Job) -> AsyncIterator[Output]:
    """The boxes in every frame that counts. Raises Outage, Missing, and Malformed."""
    from lodestream.inference.frames import Pictures

    shard, indices = asked(message)
    sight: Sight = job.state
    if sight.shelf is None:
        raise Outage("this worker has no folder of models; LODE_MODELS names it")
    detector = await asyncio.to_thread(prepared, sight.shelf, job.settings.model, job.settings.labels)
    found: dict[int, Found] = {}
    async with Pictures(job, shard) as pictures:
        for piece in _pieces(indices, detector):
            found |= await _look(sight.triton, detector, job.settings, pictures, shard, piece)
            job.report({"frames": len(found), "total": len(indices)})
    made = _message(shard, indices, found, detector, job.settings)
    if (size := len(encode(made))) > MAX_PAYLOAD - SLACK:
        count = sum(len(each.boxes) for each in found.values())
        raise Malformed("too many boxes", f"{count} boxes are {size >> 20} MiB; raise threshold, or lower max_boxes")
    yield "boxes", made


def _pieces(indices: list[int], detector: Detector) -> Iterable[list[int]]:
    size = max(1, PIECE // (detector.card.height * detector.card.width * 3))
    return (indices[start : start + size] for start in range(0, len(indices), size))


async def _look(
    triton: "Triton", detector: Detector, settings: Detect, pictures: "Pictures", shard: Shard, indices: list[int]
) -> "dict[int, Found]":
    """What is found in some frames, by index; a frame that is broken, or that the model has no numbers for, is none."""
    card = detector.card
    pixels, broken = await pictures.at(indices, card.height, card.width, card.resample)
    rows = [row for row, index in enumerate(indices) if index not in broken]
    if not rows:
        return {}
    whole = pixels if len(rows) == len(indices) else pixels[rows]
    answer = await triton.infer(detector.name, detector.inputs(whole), OUTPUTS, detector.shapes)
    logits, boxes = (answer[name] for name in OUTPUTS)

    def read() -> "dict[int, Found]":
        read = (_found(detector, settings, shard, *each) for each in zip(logits, boxes, strict=True))
        return {indices[row]: found for row, found in zip(rows, read, strict=True) if found}

    return await asyncio.to_thread(read)


def _found(
    detector: Detector, settings: Detect, shard: Shard, logits: "np.ndarray", boxes: "np.ndarray"
) -> "Found | None":
    """The boxes of one frame; None where the model's answer has something in it that is no number."""
    import numpy as np

    from services.detect.boxes import choose
    from services.detect.scores import is_sound

    scores = detector.scores(logits)
    if not is_sound(scores, boxes):
        return None
    least = np.array([settings.thresholds.get(label, settings.threshold) for label in settings.labels], np.float32)
    overlap = OVERLAP[detector.card.role] if settings.nms is None else settings.nms
    return choose(scores, boxes, least, (shard.width, shard.height), overlap, settings.max_boxes)


def _message(
    shard: Shard, indices: list[int], found: "dict[int, Found]", detector: Detector, settings: Detect
) -> Boxes:
    seen = [index for index in indices if index in found]
    return Boxes(
        id=shard.id,
        media_id=shard.media_id,
        source=shard.source,
        shard=shard,
        frames=seen,
        boxes=[found[index].boxes for index in seen],
        labels=[[settings.labels[label] for label in found[index].labels] for index in seen],
        scores=[found[index].scores for index in seen],
        model=detector.card.name,
        version=detector.version,
        broken=[index for index in indices if index not in found],
    )


@asynccontextmanager
async def open_sight(parts: Parts) -> AsyncIterator[Any]:
    """For as long as the worker lives; nothing is loaded before the first frame."""
    from lodestream.inference.client import open_triton
    from lodestream.models.shelf import Shelf

    async with open_triton(parts) as triton:
        yield Sight(triton, Shelf(parts.models) if parts.models else None)


NODE = Node(
    type="detect",
    summary="Finds what is asked for in frames: boxes with labels and scores",
    takes=(Shard, Kept, Unique),
    gives={"boxes": Boxes},
    settings=Detect,
    handler=detect,
    concurrency=4,
    reads=(keys.FRAMES,),
    open=open_sight,
)
