"""What a project's ledger says, in memory: its kept frames as they are searched, their names, and every verdict."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from lodestream.ledger.pack import TIMES, Judged, Pack, Part, Said, Verdict, packed, read_verdict
from lodestream.ledger.pack import VERDICTS as SAID
from proto import ids
from proto.messages import Repeat
from services.dedup.decide import Measure, Verdicts, decide
from services.dedup.hashes import Hashes
from services.dedup.vectors import Vectors

VECTORS, HASHES = "vectors", "hashes"
"""Arrays of a pack: rows of float16, and hashes of 64 bits."""


class Ask(NamedTuple):
    """Some frames of one shard that want a verdict."""

    entity: str
    recipe: str
    media: str
    cause: str
    indices: list[int]
    times: list[int]
    """Presentation times of these frames, in milliseconds."""
    frames: list[np.ndarray]
    """Rows of these frames, for each measure."""
    usable: np.ndarray
    """Which of them can be judged."""


class Stretch(NamedTuple):
    """The rows that came with one pack."""

    start: int
    ends: np.ndarray
    """Row, counted from `start`, behind the last of each shard."""
    pack: Pack

    def of(self, row: int) -> str:
        """The id of a kept frame."""
        shard = self.pack.header.shards[int(np.searchsorted(self.ends, row - self.start, side="right"))]
        return ids.frame_id(shard.media, int(np.frombuffer(self.pack.array(TIMES), np.int64)[row - self.start]))

    def rows(self, which: Callable[[Judged], bool]) -> np.ndarray:
        """The numbers of the rows of some shards."""
        begins = self.start + np.concatenate([[0], self.ends[:-1]]) if len(self.ends) else self.ends
        parts = [
            np.arange(begin, begin + shard.rows)
            for begin, shard in zip(begins, self.pack.header.shards, strict=True)
            if shard.rows and which(shard)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


class Memory:
    """One ledger. Rows are numbered from 0 in the order of the ledger; those that do not count keep their number."""

    def __init__(self, hashes: Hashes | None, vectors: Vectors | None, kin: Collection[str]):
        """`kin` are the recipes whose frames count: those that the node gives at present."""
        self.hashes, self.vectors, self.kin = hashes, vectors, frozenset(kin)
        self.measures: list[Measure] = [measure for measure in (hashes, vectors) if measure is not None]
        self.count = self._segmented = 0
        self._stretches: list[Stretch] = []
        self._known: dict[str, tuple[Stretch, Judged]] = {}
        self._forgotten: Callable[[str], bool] = frozenset[str]().__contains__

    def take(self, pack: Pack, sketched: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Add what comes next in the ledger; where it comes with sketches, its vectors are used where they lie."""
        if self.hashes is not None:
            self.hashes.add(np.frombuffer(pack.array(HASHES), np.uint64))
        if self.vectors is not None:
            if sketched:
                self.vectors.load(self.vectors_of(pack), *sketched)
            else:
                self.vectors.add(self.vectors_of(pack))
        stretch = self._remember(pack, self.count)
        self.count += pack.header.rows
        self._segmented = self.count if pack.header.first < pack.header.last else self._segmented
        self._drop(stretch.rows(lambda shard: shard.recipe not in self.kin or self._forgotten(shard.media)))

    def move(self, pack: Pack) -> None:
        """The newest entries are one pack now: let go of them, and of their vectors in memory."""
        start = self.count - pack.header.rows
        self._stretches = [stretch for stretch in self._stretches if stretch.start < start]
        self._remember(pack, start)
        self._segmented = self.count
        if self.vectors is not None:
            self.vectors.move(start, self.vectors_of(pack))

    @property
    def loose(self) -> int:
        """Rows that are in no segment."""
        return self.count - self._segmented

    def vectors_of(self, pack: Pack) -> np.ndarray:
        """The vectors of a pack (rows, dim), float16."""
        assert self.vectors
        return np.frombuffer(pack.array(VECTORS), np.float16).reshape(-1, self.vectors.dim)

    def forget(self, forgotten: Callable[[str], bool]) -> None:
        """Take the frames of forgotten videos out of the search."""
        self._forgotten = forgotten
        for stretch in self._stretches:
            self._drop(stretch.rows(lambda shard: not shard.media or forgotten(shard.media)))

    def verdict(self, entity: str) -> Verdict | None:
        """What was said of a shard, if anything was. Raises Broken."""
        if (known := self._known.get(entity)) is None:
            return None
        stretch, judged = known
        said = stretch.pack.array(SAID)[judged.start : judged.start + judged.size]
        return read_verdict(bytes(said))

    def said(self, entity: str) -> Verdict:
        """What was said of a shard that is known."""
        verdict = self.verdict(entity)
        assert verdict is not None
        return verdict

    def owes(self, entity: str) -> bool:
        """Whether a shard has no verdict, or one that says of a frame that it repeats one that was forgotten since."""
        verdict = self.verdict(entity)
        return verdict is None or any(self._is_gone(repeat.frame) for repeat in verdict.repeats)

    def _is_gone(self, frame: str) -> bool:
        """Whether a frame that was named was forgotten; struck out of the ledger, it has no name."""
        return not frame or self._forgotten(ids.media_of_frame(frame))

    def judge(self, asks: Sequence[Ask], origin: str, number: int) -> bytes:
        """The entry of the ledger with the verdicts on shards, in their order. Nothing is remembered of it yet.

        Of a shard that has a verdict, what was said of frames stays, but for those that repeat a forgotten one.
        """
        asks = [self._owed(ask) for ask in asks]
        frames = [np.concatenate(rows) for rows in zip(*(ask.frames for ask in asks), strict=True)]
        usable = np.concatenate([ask.usable for ask in asks])
        found = decide(self.measures, [_blank(rows, usable) for rows in frames], usable)
        names = [ids.frame_id(ask.media, time) for ask in asks for time in ask.times]
        said, start = list[Said](), 0
        for ask in asks:
            part = slice(start, start + len(ask.indices))
            verdict = self._verdict(ask, found, part, names)
            rows = int(found.keep[part].sum())
            said.append((Judged(ask.entity, ask.recipe, ask.media, ask.cause, rows), msgspec.json.encode(verdict)))
            start = part.stop
        times = np.array([time for ask in asks for time in ask.times], np.int64)
        return packed(origin, number, number, said, self._arrays(frames, times, found.keep))

    def _verdict(self, ask: Ask, found: Verdicts, part: slice, names: list[str]) -> Verdict:
        old = self.verdict(ask.entity)
        made = old or Verdict(unique=[], broken=[], repeats=[])
        kept = [repeat for repeat in made.repeats if not self._is_gone(repeat.frame)]
        unique, broken = list(made.unique), list(made.broken)
        for index, at in zip(ask.indices, range(part.start, part.stop), strict=True):
            if found.keep[at]:
                unique.append(index)
            elif not ask.usable[at - part.start]:
                broken.append(index)
            else:
                name = self.name(int(found.row[at])) if found.row[at] >= 0 else names[found.frame[at]]
                similarity = round(min(1.0, float(found.similarity[at])), 6)
                by = self.measures[found.by[at]].name
                kept.append(Repeat(index=index, frame=name, similarity=similarity, by=by))
        kept.sort(key=lambda repeat: repeat.index)
        return Verdict(unique=sorted(unique), broken=sorted(broken), repeats=kept)

    def _owed(self, ask: Ask) -> Ask:
        """Of a shard that has a verdict, the frames that want another; of any other, all."""
        if (known := self.verdict(ask.entity)) is None:
            return ask
        owing = {repeat.index for repeat in known.repeats if self._is_gone(repeat.frame)}
        mask = np.array([index in owing for index in ask.indices], bool)
        return ask._replace(
            indices=[index for index in ask.indices if index in owing],
            times=[time for time, wanted in zip(ask.times, mask, strict=True) if wanted],
            frames=[rows[mask] for rows in ask.frames],
            usable=ask.usable[mask],
        )

    def name(self, row: int) -> str:
        """The id of a kept frame."""
        return self._stretches[bisect_right(self._stretches, row, key=lambda stretch: stretch.start) - 1].of(row)

    def _arrays(
        self, frames: list[np.ndarray], times: np.ndarray, keep: np.ndarray
    ) -> dict[str, tuple[Sequence[Part], int]]:
        arrays: dict[str, tuple[Sequence[Part], int]] = {TIMES: ([times[keep].tobytes()], 8)}
        for measure, rows in zip(self.measures, frames, strict=True):
            name = HASHES if measure is self.hashes else VECTORS
            arrays[name] = ([rows[keep].tobytes()], rows.dtype.itemsize * (rows.shape[1] if rows.ndim > 1 else 1))
        return arrays

    def _remember(self, pack: Pack, start: int) -> Stretch:
        ends = np.cumsum([shard.rows for shard in pack.header.shards], dtype=np.int64)
        stretch = Stretch(start, ends, pack)
        if pack.header.rows:
            self._stretches.append(stretch)
        self._known |= {shard.entity: (stretch, shard) for shard in pack.header.shards if shard.entity}
        return stretch

    def _drop(self, rows: np.ndarray) -> None:
        if len(rows):
            for measure in self.measures:
                measure.drop(rows)


def _blank(rows: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Zeros in place of rows that nothing can be reckoned with."""
    if usable.all():
        return rows
    blank = rows.copy()
    blank[~usable] = 0
    return blank
