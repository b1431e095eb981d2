"""Damaged media: a thousand damaged files through fetch and extract, as their workers run them.

`python -m tests.faults.damage --seed 1`. Every file has a verdict, and every frame that is kept is that of the
whole file at its time; what no decoder can notice is counted, by codec and kind of damage.
"""

import asyncio
import contextlib
import hashlib
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lodestream.demo.clips import Clip
from lodestream.errors import ATTEMPTS, Reject, Retry
from lodestream.job import Job
from lodestream.memo import Noted
from lodestream.web.verdicts import LASTING
from proto.messages import Media, Shard
from services.extract.node import NODE as EXTRACT
from tests.faults import figures
from tests.faults.classics import CLASSICS
from tests.faults.mutations import CLIPS, Mutation, mutations
from tests.support.fetching import Fetching, fetching
from tests.support.video import decoded, encoded

FULL, SHORT = 1000, 33
HEAVY = ("a bomb", "a thousand edits", "64 million pixels indeed")
"""Classics that take seconds: not in the short form."""
HANDS = 2
SAMPLERS: list[dict[str, Any]] = [
    {"every": "1ms"},
    {"every": "300ms"},
    {"keyframes": True},
    {"count": 5},
    {"scene": 0.05},
]
TIME_LIMIT_S = 60
"""Of one extraction; a probe has 30 s. What goes past its limit counts as failed."""
CHILD_MB, GROWTH_MB = 2100, 300
"""Memory that a child may take, its own limit being 2 GiB, and by which the service may grow."""
REASONS = LASTING | {
    *("undecodable", "empty", "no video stream", "too large a picture", "too many frames", "too large", "too big"),
    *("decoder failed", "crashed", "unsupported"),
}
"""What a file may be refused for."""
SURE = ("cut",)
"""Damage that cannot go unnoticed in any container or codec."""
_Truth = dict[int, str]


@dataclass
class Seen:
    """What became of the files."""

    verdicts: Counter[str] = field(default_factory=Counter)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    frames: Counter[str] = field(default_factory=Counter)
    """Kept frames: `equal`, `moved` to another time, `altered`."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Those that are not equal, by clip and kind of damage."""
    failed: list[str] = field(default_factory=list)
    """Files that a child crashed or hung on."""
    unsaid: list[str] = field(default_factory=list)
    """Files that lost frames, and nobody said so."""
    peak_kb: int = 0
    """Resident memory of any child."""
    grown_kb: int = 0
    """By which the service is larger afterwards."""


@dataclass
class _Bench:
    """Fetch and extract in one process, each with its children."""

    fetch: Fetching
    extract_state: Any
    folder: Path

    async def both(self, data: bytes, name: str, sampler: dict[str, Any]) -> tuple[str, list[Shard], str]:
        """The verdict on a file; its shards; and what was said of its damage."""
        path = self.folder / f"{name}.bin"
        path.write_bytes(data)
        try:
            media = await self._tried(lambda attempt: self._fetch(path, name, attempt))
            shards = await self._tried(lambda attempt: self._extract(media, sampler, name, attempt))
        except Reject as no:
            if no.reason not in REASONS:
                raise AssertionError(f"{name}: refused for {no.reason!r}, which nobody knows") from no
            return f"rejected: {no.reason}", [], str(no)
        finally:
            path.unlink()
        said = "; ".join(filter(None, {media.damage, *(shard.damage for shard in shards)}))
        return "damaged" if said else "whole", shards, said

    async def frames(self, shards: list[Shard]) -> list[tuple[int, str]]:
        """Time and digest of every frame kept."""
        found = []
        for shard in shards:
            tar = await self.fetch.parts.objects.get(shard.object_key)
            for at, begin, size in zip(shard.time_ms, shard.offset, shard.length, strict=True):
                found.append((at, _digest(tar[begin : begin + size])))
        return found

    async def _fetch(self, path: Path, name: str, attempt: int) -> Media:
        given = {"attempt": attempt, "flow": name, "allow_folders": [str(self.folder)]}
        return await self.fetch.fetch(path.as_uri(), name, **given)

    async def _extract(self, media: Media, sampler: dict[str, Any], name: str, attempt: int) -> list[Shard]:
        settings = EXTRACT.read_settings({**sampler, "time_limit": f"{TIME_LIMIT_S}s"})
        parts = self.fetch.parts
        where = {"flow": name, "node": "frames", "node_type": "extract", "recipe": "r2", "entity": name, "cause": "c"}
        made = {"objects": Noted(parts.objects), "parts": parts, "state": self.extract_state}
        job = Job(settings=settings, attempt=attempt, **where, **made)  # type: ignore[arg-type]
        return [shard async for _, shard in EXTRACT.handler(media, job)]  # type: ignore[misc]

    @staticmethod
    async def _tried(work: Any) -> Any:
        """As the runner tries: what fails four times is a dead letter."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await work(attempt)
            except Retry as again:
                if attempt == ATTEMPTS:
                    raise Reject(again.reason, again.detail) from None
        raise AssertionError


async def run(folder: Path, seed: int, count: int, clips: Iterable[Clip] = CLIPS, light: bool = False) -> Seen:
    """So many damaged files and every classic (`light`: that takes no time); whole files before and after.

    Raises AssertionError.
    """
    seen, media = Seen(), folder / "media"
    media.mkdir()
    listed = list(clips)
    truth = {clip: _truth(clip) for clip in listed}
    async with fetching(folder) as fetch:
        parts = fetch.parts
        assert EXTRACT.open
        async with EXTRACT.open(parts) as state:
            on = _Bench(fetch, state, media)
            await _whole(on, truth, "before")
            work = iter(enumerate([*_classics(light), *mutations(seed, count, listed)]))
            watching, before_kb = asyncio.create_task(_watch(seen)), _resident_kb()
            await asyncio.gather(*(_worker(on, work, truth, seen) for _ in range(HANDS)))
            await _whole(on, truth, "after")
            watching.cancel()
            seen.grown_kb = _resident_kb() - before_kb
            left = [path for path in (folder / "work").rglob("*") if "probe-" not in str(path) and path.is_file()]
            assert left == [], f"left behind: {left}"
    assert list(media.iterdir()) == []
    assert seen.peak_kb < CHILD_MB * 1024, f"a child took {seen.peak_kb // 1024} MB"
    assert seen.grown_kb < GROWTH_MB * 1024, f"the service grew by {seen.grown_kb // 1024} MB"
    return seen


def _classics(light: bool) -> list[Mutation]:
    nothing = Clip("classic")
    return [Mutation(nothing, name, make()) for name, make in CLASSICS.items() if not (light and name in HEAVY)]


async def _worker(on: _Bench, work: Any, truth: dict[Clip, _Truth], seen: Seen) -> None:
    for number, one in work:
        name, sampler = f"web-{number}", SAMPLERS[number % len(SAMPLERS)]
        started = time.monotonic()
        verdict, shards, said = await on.both(one.data, name, sampler)
        seen.slowest.append((round(time.monotonic() - started, 2), f"{one.clip.name}: {one.how}"))
        seen.verdicts[verdict] += 1
        if "decoder failed" in said or "what reads it fails" in said:
            seen.failed.append(f"{one.clip.name}: {one.how}: {said}")
        if one.clip in truth:
            _compare(seen, one, await on.frames(shards), truth[one.clip], sampler, said)


def _compare(
    seen: Seen, one: Mutation, kept: list[tuple[int, str]], truth: _Truth, sampler: dict[str, Any], said: str
) -> None:
    pictures = set(truth.values())
    for at, digest in kept:
        fate = "equal" if truth.get(at) == digest else "moved" if digest in pictures else "altered"
        assert fate == "equal" or one.how not in SURE, f"{one.clip.name}, {one.how}: the frame at {at} ms is {fate}"
        seen.frames[fate] += 1
        if fate != "equal":
            seen.wrong[f"{fate}, {one.clip.name}, {one.how}"] += 1
    if sampler == SAMPLERS[0] and len(kept) < len(truth) and not said:
        seen.unsaid.append(f"{one.clip.name}: {one.how}")


async def _whole(on: _Bench, truth: dict[Clip, _Truth], when: str) -> None:
    """The service lives, and does whole files."""
    for clip, frames in truth.items():
        verdict, shards, said = await on.both(encoded(clip), f"web-{when}-{clip.name}", SAMPLERS[0])
        assert (verdict, said) == ("whole", ""), f"{clip.name} {when}: {verdict}, {said}"
        assert dict(await on.frames(shards)) == frames, f"{clip.name} {when}"


def _truth(clip: Clip) -> _Truth:
    """The digest of the picture at each time (ms), decoded the plain way."""
    return dict(zip((round(at * 1000) for at in clip.times()), map(_digest, decoded(clip)), strict=True))


def _digest(jpeg: bytes) -> str:
    return hashlib.sha256(jpeg).hexdigest()


async def _watch(seen: Seen) -> None:
    """Notes how large the children grow."""
    me = Path("/proc/self").resolve().name
    while True:
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                text = status.read_text()
                lines = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
                if lines.get("VmHWM") and _descends(lines["PPid"].strip(), me):
                    seen.peak_kb = max(seen.peak_kb, int(lines["VmHWM"].split()[0]))
        await asyncio.sleep(0.2)


def _resident_kb() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def _descends(parent: str, me: str) -> bool:
    while parent not in ("0", "1"):
        if parent == me:
            return True
        stat = Path(f"/proc/{parent}/stat").read_text()
        parent = stat.rpartition(")")[2].split()[1]
    return False


def summary(seen: Seen) -> dict[str, Any]:
    """The figures."""
    by_clip: dict[str, Counter[str]] = defaultdict(Counter)
    for what, count in seen.wrong.items():
        fate, clip, how = what.split(", ")
        by_clip[f"{clip}, {how}"][fate] += count
    return {
        "files": sum(seen.verdicts.values()),
        **dict(seen.verdicts.most_common()),
        "frames equal": seen.frames["equal"],
        "frames moved": seen.frames["moved"],
        "frames altered": seen.frames["altered"],
        "slowest": "; ".join(f"{seconds} s {name}" for seconds, name in sorted(seen.slowest, reverse=True)[:3]),
        "child's peak MB": seen.peak_kb // 1024,
        "service grew by MB": seen.grown_kb // 1024,
        "crashed or hung": len(seen.failed),
        "lost without a word": len(seen.unsaid),
        "not equal": "; ".join(f"{what}: {dict(fates)}" for what, fates in sorted(by_clip.items())),
    }


def main() -> None:
    """The long form, or the short one."""
    given = figures.arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(run(Path(folder), given.seed, SHORT if given.short else FULL, light=given.short))
    figures.keep("damage", given.seed, summary(seen))


if __name__ == "__main__":
    main()
