"""What the demo's site must give, to the frame; worked out from the clips themselves, not from what was extracted."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from itertools import count
from typing import Any

from lodestream.demo import pages
from lodestream.demo.clips import Clip

Frames = dict[str, list[int]]
"""The times of a video's frames in milliseconds, by its path."""
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


def expected() -> Outcome:
    """What the site must give with `every: 1s`."""
    frames = {path: times(clip) for path, clip in pages.CLIPS.items() if path != "/clips/potter.mp4"}
    frames |= {pages.PLAYLIST: times(pages.PLAYLIST_CLIP), pages.PAGE: times(pages.PAGE_CLIP)}
    frames[pages.TORN] = [t for t in frames[pages.TORN] if t < pages.TORN_SECONDS * 1000]
    refused = 3
    return Outcome(
        offered=len(frames) + refused + 1,  # one of them twice: as it is, and tracked, in the feed
        candidates=len(frames) + refused,
        frames=frames,
        damaged=frozenset({pages.TORN}),
        rejected=Counter({"get: duplicate": 1, "get: fake": 1, "get: gone": 1}),
        dead=Counter({"seeds": 1}),
    )


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
    """What the catalog says was made of the site at `base`."""
    frames: Frames = defaultdict(list)
    for url, time_ms in await ask(_ABOUT_FRAMES):
        frames[_path(url, base)].append(time_ms)
    ((offered, candidates),) = await ask(_ABOUT_CANDIDATES)
    return Outcome(
        offered=offered,
        candidates=candidates,
        frames=dict(frames),
        damaged=frozenset(_path(url, base) for (url,) in await ask(_ABOUT_DAMAGE)),
        rejected=Counter({f"{node}: {reason}": number for node, reason, number in await ask(_ABOUT_REJECTS)}),
        dead=Counter(dict(await ask(_ABOUT_DEAD))),
    )


_ABOUT_FRAMES = """select url, time_ms from frames join media using (flow, media_id)
    where flow = 'demo' order by url, time_ms"""
_ABOUT_CANDIDATES = """select coalesce(sum(offered), 0)::bigint, (select count(*) from candidates where flow = 'demo')
    from listings where flow = 'demo'"""
_ABOUT_DAMAGE = "select url from media where flow = 'demo' and damaged"
_ABOUT_REJECTS = "select node, reason, count(*) from rejects where flow = 'demo' group by all"
_ABOUT_DEAD = "select node, count(*) from dead where flow = 'demo' group by all"


def _path(url: str, base: str) -> str:
    """Which of two equal files is found first is chance; both go by the original's path."""
    path = url.removeprefix(base)
    return pages.ORIGINAL if path == pages.COPY else path


def differences(wanted: Outcome, found: Outcome) -> list[str]:
    """One line for each thing that is not as it must be."""
    lines = _frames(wanted.frames, found.frames)
    for field in fields(Outcome):
        want, have = getattr(wanted, field.name), getattr(found, field.name)
        if field.name != "frames" and want != have:
            lines.append(f"{field.name}: {_plain(want)} expected, {_plain(have)} found")
    return lines


def _frames(wanted: Frames, found: Frames) -> list[str]:
    lines = [f"{path}: no frames, {len(times)} expected" for path, times in wanted.items() if path not in found]
    lines += [f"{path}: {len(times)} frames, none expected" for path, times in found.items() if path not in wanted]
    for path in wanted.keys() & found.keys():
        if wanted[path] != found[path]:
            lines.append(f"{path}: frames at {wanted[path]} ms expected, at {found[path]} ms found")
    return sorted(lines)


def _plain(value: object) -> str:
    if isinstance(value, Counter):
        return ", ".join(f"{number} {what}" for what, number in sorted(value.items())) or "none"
    return (", ".join(sorted(value)) or "none") if isinstance(value, frozenset) else str(value)
