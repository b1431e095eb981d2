"""What filter, dedup and detect would say of a shard, made by hand."""

from collections.abc import Mapping, Sequence

from proto.messages import Boxes, Kept, Repeat, Shard, Unique
from tests.support.catalog import Output, shard

KEEP, DEDUP, DETECT = "cccccccc", "dddddddd", "eeeeeeee"
"""The recipes of nodes `good`, `new` and `things`."""
BALL, TEXT = "a red ball", "text"


def kept(
    of: Shard, scores: Sequence[float | None], least: float = 0.5, *, recipe: str = KEEP, given: Sequence[int] = ()
) -> Output:
    """A filter that keeps frames whose score for a red ball is high enough; `given` are those that it was asked about.

    A frame without a score is blurred, and was therefore not asked about.
    """
    among = set(given or range(len(of.time_ms)))
    good = [i for i, score in enumerate(scores) if i in among and score is not None and score >= least]
    why = ["blurred" if score is None else "below threshold" for score in scores]
    message = Kept(
        id=of.id,
        recipe=recipe,
        media_id=of.media_id,
        source=of.source,
        shard=of,
        kept=good,
        reason=["" if i in good or i not in among else why[i] for i in range(len(scores))],
        detail=["" if i in good or i not in among else f"{why[i]} {scores[i]}" for i in range(len(scores))],
        measures={
            "sharpness": [5.0 if score is None else 90.0 for score in scores],
            "brightness": [100.0 + i for i in range(len(scores))],
        },
        scores={BALL: list(scores), TEXT: [None if score is None else round(1 - score, 3) for score in scores]},
        drop=[TEXT],
        model="standin-siglip2",
    )
    return ("filter", "good", "kept" if good else "empty", message)


def unique(
    of: Shard, given: Sequence[int], repeats: Mapping[int, tuple[str, float]], broken: Sequence[int] = ()
) -> Output:
    """A dedup that is `given` frames: by index, the frame that each of `repeats` repeats, and how similar they are."""
    new = [i for i in given if i not in repeats and i not in broken]
    message = Unique(
        id=of.id,
        recipe=DEDUP,
        media_id=of.media_id,
        source=of.source,
        shard=of,
        unique=new,
        repeats=[Repeat(index, frame, similar, "vectors") for index, (frame, similar) in repeats.items()],
        broken=list(broken),
        model="standin-dinov3",
    )
    return ("dedup", "new", "unique" if new else "empty", message)


def boxes(of: Shard, found: Mapping[int, Sequence[tuple[str, float]]]) -> Output:
    """A detector that looked at these frames, and found these labels and scores; each box is ten pixels wide."""
    message = Boxes(
        id=of.id,
        recipe=DETECT,
        media_id=of.media_id,
        source=of.source,
        shard=of,
        frames=list(found),
        boxes=[[(10.5 * n, 20.0, 10.5 * n + 10, 40.0) for n in range(len(each))] for each in found.values()],
        labels=[[label for label, _ in each] for each in found.values()],
        scores=[[score for _, score in each] for each in found.values()],
        model="standin-dfine",
        version="1",
    )
    return ("detect", "things", "boxes", message)


def one_video(ident: str = "v1", source: str = "example.org") -> list[Output]:
    """Six frames of which four are kept, three are new and two have boxes."""
    of = shard(ident, source, frames=6)
    return [
        ("extract", "frames", "shard", of),
        kept(of, [0.9, 0.8, 0.7, 0.6, 0.1, None]),
        unique(of, range(4), {1: (f"{ident}_0", 0.97)}, broken=[3]),
        boxes(of, {0: [("ball", 0.9), ("hand", 0.4)], 2: [("ball", 0.8)], 3: []}),
    ]
