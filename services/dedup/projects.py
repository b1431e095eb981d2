"""The projects that a worker has; a shard comes to its verdict by what its frames are like, its turn, the ledger."""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lodestream.inference.features import Features
from lodestream.inference.frames import Pictures
from lodestream.inference.installed import installed
from lodestream.job import Job, Parts
from lodestream.ledger.pack import Verdict
from proto import ids
from proto.messages import Shard
from services.dedup.cosine import usable
from services.dedup.memory import Ask
from services.dedup.phash import PHASH, codes
from services.dedup.project import Form, Project

if TYPE_CHECKING:
    from services.dedup.node import Dedup


class Looked(NamedTuple):
    """What the frames of a shard are like."""

    rows: list[np.ndarray]
    """For each measure, hashes before vectors."""
    usable: np.ndarray
    features: list[str]
    """What the rows are, by name."""
    dim: int
    """Of the vectors; 0 where there are none."""
    model: str


class Projects:
    """Every project that this worker has had something of."""

    def __init__(self, parts: Parts, features: Features, pool: Executor):
        """`pool` has the threads that search."""
        self._parts, self._features, self._pool = parts, features, pool
        self._known: dict[Form, Project] = {}

    async def judge(self, job: Job, shard: Shard, indices: Sequence[int]) -> tuple[Verdict, str]:
        """The verdict on some frames of a shard, and the model that it was asked of, if any.

        Raises Missing, Outage and Postpone.
        """
        looked = await self._look(job, shard, indices)
        ask = Ask(
            entity=ids.entity(shard.id, job.recipe),
            recipe=job.recipe,
            media=shard.media_id,
            cause=job.cause,
            indices=list(indices),
            times=[shard.time_ms[index] for index in indices],
            frames=looked.rows,
            usable=looked.usable,
        )
        await job.turn()
        try:
            return await self._project(job, looked).judge(ask, job.kin | {job.recipe}), looked.model
        except Exception:
            job.turn_back()
            raise

    async def close(self) -> None:
        """Let go of all."""
        for project in self._known.values():
            await project.close()

    async def _look(self, job: Job, shard: Shard, indices: Sequence[int]) -> Looked:
        settings: Dedup = job.settings
        model = await installed(self._parts, settings.model) if settings.mode != "phash" else None
        rows, features, good = list[np.ndarray](), list[str](), np.ones(len(indices), bool)
        async with Pictures(job, shard, model.image.size if model else None) as pictures:
            if settings.mode != "dinov3":
                bits = await self._features.rows(job, shard, PHASH, indices, pictures)
                rows.append(codes(bits[list(indices)]))
                features.append(PHASH.name)
                good &= np.isfinite(bits[list(indices)]).all(axis=1)
            if model:
                vectors = await self._features.rows(job, shard, model.image, indices, pictures)
                rows.append(vectors[list(indices)])
                features.append(model.image.name)
                good &= usable(rows[-1])
        return Looked(rows, good, features, model.image.dim if model else 0, model.card.name if model else "")

    def _project(self, job: Job, looked: Looked) -> Project:
        settings: Dedup = job.settings
        form = Form(
            flow=job.flow,
            node=job.node,
            recipe=form_of(settings, looked.features),
            bits=settings.bits if settings.mode != "dinov3" else None,
            threshold=settings.threshold,
            dim=looked.dim,
        )
        if form not in self._known:
            self._known = {old: project for old, project in self._known.items() if not _gave_way(old, project, form)}
            self._known[form] = Project(form, self._parts, self._pool)
        return self._known[form]


def _gave_way(old: Form, project: Project, form: Form) -> bool:
    """Whether a project is that of a node which has other settings now, and has no work left."""
    return (old.flow, old.node) == (form.flow, form.node) and not project.at_work


def form_of(settings: "Dedup", features: Sequence[str]) -> str:
    """Eight hex letters for all that shapes verdicts, the order of shards aside: another one is another ledger."""
    threshold = settings.threshold if settings.mode != "phash" else 0
    bits = settings.bits if settings.mode != "dinov3" else 0
    return ids.recipe("dedup", 1, f"{threshold!r} {bits}".encode(), " ".join(features))
