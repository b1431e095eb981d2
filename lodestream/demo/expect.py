"""What the demo's site must give, to the frame; worked out from the clips themselves, not from what was extracted."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

from lodestream.demo import pages
from lodestream.demo.clips import Clip
from lodestream.demo.shapes import Seen

Frames = dict[str, list[int]]
"""The times of a video's frames in milliseconds, by its path."""
LABELS = ("red ball", "yellow ball")
"""What the project looks for."""
RIGHT = 0.8
"""Overlap from which on a box lies where the thing is."""
Ask = Callable[[str], Awaitable[list[list[Any]]]]
"""Answers one SELECT with its rows."""


@dataclass(frozen=True)
class Outcome:
    """What was made of the site: expected, or found."""

    offered: int
    """Videos that the seeds named, repeats included."""
    candidates: int
    frames: Frames
    damaged: frozenset[str]
    """Paths of videos of which something was lost."""
    rejected: Counter[str]
    """Videos refused, by `node: reason`."""
    dead: Counter[str]
    """Dead letters, by node."""
    kept: Frames
    """Those that the project wants."""
    unique: int
    """How many of those are new, of all that show the same."""
    boxes: Counter[str]
    """Boxes in those by label, only such that lie where the thing is."""


def expected() -> Outcome:
    """What the site must give with `every: 1s`."""
    frames = {path: times(clip) for path, clip in pages.CLIPS.items() if path != "/clips/potter.mp4"}
    frames |= {pages.PLAYLIST: times(pages.PLAYLIST_CLIP), pages.PAGE: times(pages.PAGE_CLIP)}
    frames[pages.TORN] = [t for t in frames[pages.TORN] if t < pages.TORN_SECONDS * 1000]
    shown = [(time_ms, seen) for time_ms in frames[pages.TABLE] if (seen := _shown(time_ms))]
    kept = {path: [time_ms for time_ms, _ in shown] for path in (pages.TABLE, pages.TABLE_SMALL)}
    new = {seen for _, seen in shown}  # what does not move is the same again
    refused = 3
    return Outcome(
        offered=len(frames) + refused + 1,  # one of them twice: as it is, and tracked, in the feed
        candidates=len(frames) + refused,
        frames=frames,
        damaged=frozenset({pages.TORN}),
        rejected=Counter(
            {
                "get: duplicate": 1,
                "get: fake": 1,
                "get: gone": 1,
                "good: empty after filter": len(frames) - len(kept),
                "new: all duplicates": 1,
            }
        ),
        dead=Counter({"seeds": 1}),
        kept=kept,
        unique=len(new),
        boxes=Counter(seen.label for seen in new),
    )


def _shown(time_ms: int) -> Seen | None:
    """The toy that is asked for in a frame of the film, and where it is."""
    return next((seen for seen in pages.TOYS.truth(time_ms / 1000) if seen.label in LABELS), None)


def times(clip: Clip) -> list[int]:
    """Milliseconds of the first frame in each second of a clip."""
    shown = clip.times()
    found: list[int] = []
    for second in count():
        if (first := next((time for time in shown if time >= second), None)) is None:
            return found
        found.append(round(first * 1000))
    raise AssertionError


async def found(ask: Ask, base: str) -> Outcome:
    """What the catalog says was made of the site at `base`; what else the flow has been given is left aside."""
    answers = {what: await ask(query.replace(_BASE, base)) for what, query in _QUERIES.items()}
    return Outcome(
        offered=answers["offered"][0][0],
        candidates=answers["candidates"][0][0],
        frames=_frames_of(answers["frames"], base),
        damaged=frozenset(_path(url, base) for (url,) in answers["damaged"]),
        rejected=Counter(dict(answers["rejected"])),
        dead=Counter(dict(answers["dead"])),
        kept=_frames_of(answers["kept"], base),
        unique=answers["unique"][0][0],
        boxes=Counter(label for url, *box in answers["boxes"] if (label := _rightly(_path(url, base), *box))),
    )


def _frames_of(rows: list[list[Any]], base: str) -> Frames:
    frames: Frames = defaultdict(list)
    for url, time_ms in rows:
        frames[_path(url, base)].append(time_ms)
    return dict(frames)


def _rightly(path: str, time_ms: int, label: str, *box: float) -> str:
    """The label of a box that lies where such a thing is; else what is wrong, in words."""
    film = pages.FILMS[path]
    places = [seen.box for seen in film.truth(time_ms / 1000) if seen.label == label]
    return label if any(overlap(box, place) > RIGHT for place in places) else f"{label} where there is none"


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes (x1, y1, x2, y2): what they share of what they cover together, 0 to 1."""
    wide, high = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    shared = max(wide, 0) * max(high, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


_BASE = "{base}"
_QUERIES = {
    "offered": """select coalesce(sum(offered), 0)::bigint from listings join seeds using (flow, seed_id)
        where flow = 'demo' and starts_with(value, '{base}')""",
    "candidates": "select count(*) from candidates where flow = 'demo' and starts_with(url, '{base}')",
    "frames": """select url, time_ms from frames join media using (flow, media_id)
        where flow = 'demo' and starts_with(url, '{base}') order by url, time_ms""",
    "damaged": "select url from media where flow = 'demo' and damaged and starts_with(url, '{base}')",
    "rejected": """select r.node || ': ' || reason, count(*) from rejects r
        join (select flow, media_id as entity, url from candidates union all select flow, seed_id, value from seeds
            union all select flow, shard_id, url from shards join media using (flow, media_id))
        using (flow, entity) where flow = 'demo' and starts_with(url, '{base}') group by all""",
    "dead": f"""select node, count(*) from dead where flow = 'demo'
        and (contains(input, '{_BASE}') or input = '{pages.NO_SEED}') group by all""",
    "kept": """select url, time_ms from kept join media using (flow, media_id)
        where flow = 'demo' and starts_with(url, '{base}') order by url, time_ms""",
    "unique": """select count(*) from uniques join media using (flow, media_id)
        where flow = 'demo' and starts_with(url, '{base}')""",
    "boxes": """select url, time_ms, label, x1, y1, x2, y2 from boxes join media using (flow, media_id)
        where flow = 'demo' and starts_with(url, '{base}')""",
}


def _path(url: str, base: str) -> str:
    """Which of two equal files is found first is chance; both go by the original's path."""
    path = url.removeprefix(base)
    return pages.ORIGINAL if path == pages.COPY else path


def differences(wanted: Outcome, had: Outcome) -> list[str]:
    """One line for each thing that is not as it must be."""
    lines = _frames("frames", wanted.frames, had.frames) + _frames("kept", wanted.kept, had.kept)
    for field in fields(Outcome):
        want, have = getattr(wanted, field.name), getattr(had, field.name)
        if field.name not in ("frames", "kept") and want != have:
            lines.append(f"{field.name}: {_plain(want)} expected, {_plain(have)} found")
    return lines


def _frames(what: str, wanted: Frames, had: Frames) -> list[str]:
    lines = []
    for path in sorted(wanted.keys() | had.keys()):
        want, have = wanted.get(path, []), had.get(path, [])
        if want != have:
            lines.append(f"{path}: {what} at {want} ms expected, at {have} ms found")
    return lines


def _plain(value: object) -> str:
    if isinstance(value, Counter):
        return ", ".join(f"{number} {what}" for what, number in sorted(value.items())) or "none"
    return (", ".join(sorted(value)) or "none") if isinstance(value, frozenset) else str(value)
