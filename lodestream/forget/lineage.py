"""Which messages are about what is to be forgotten: by id, by content, by source, and by what they were made from."""

import re

import msgspec

from lodestream.forget.tombs import FORGOTTEN, Forgotten, Tombstone
from proto import ids, keys, subjects
from proto.messages import Repeat

_SHARD = re.compile(r"_s\d{4,}(-[0-9a-f]+)?\Z")
_RECIPE = re.compile(r"_[0-9a-f]{8}\Z")


class Said(msgspec.Struct):
    """What of any message tells whom it is about."""

    type: str = ""
    id: str = ""
    cause: str = ""
    media_id: str = ""
    sha256: str = ""
    source: str = ""
    seed: str = ""
    repeats: str | list[Repeat] = ""
    """A video with the same bytes; or frames."""
    subject: str = ""
    """Of an input that is offered once more."""
    url: str = ""
    title: str = ""
    kind: str = ""
    value: str = ""
    object_key: str = ""
    page: str = ""
    reason: str | list[str] = ""
    recipe: str = ""


class Lineage:
    """What is to be forgotten; it grows while messages are read, until a whole reading adds nothing."""

    def __init__(self, stone: Tombstone, others: Forgotten | None = None) -> None:
        """Where `others` are given, the tombstones that stay, what else was refused because of one goes as well."""
        self._others = others
        self.media, self.contents, self.seeds = set(stone.media), set(stone.contents), set(stone.seeds)
        self.sources = {stone.ident} if stone.kind == "source" else set()
        if stone.kind != "source":
            (self.media if stone.kind == "video" else self.seeds).add(stone.ident)
        self.kept = frozenset(stone.kept)
        self.subjects: set[str] = set()
        self.lists: dict[str, Said] = {}
        """Seeds of one address by subject, which are forgotten where they led to nothing else."""
        self.led: dict[str, bool] = {}
        """By subject of a seed, whether all that it led to is forgotten."""
        self.keys: set[str] = set()
        """Objects that messages name."""
        self.stale: dict[str, str] = {}
        """Messages about other videos that hang on what is to be forgotten, by subject, and their ids: see `hangs`."""
        self._noes: set[str] = set()
        """Subjects of what was said beside them where there was nothing to go on with."""
        self.memos: set[str] = set()
        """Keys of what nodes remember of having made such messages."""
        self._same: dict[str, str] = {}
        """By video or content, another with the same bytes; see `root`."""
        self.origins: dict[str, Said] = {}
        """Where each video is found, by its id."""

    @property
    def size(self) -> int:
        """Grows for as long as there is more to be found."""
        return len(self.media) + len(self.contents) + len(self.seeds) + len(self.stale)

    def __contains__(self, said: Said) -> bool:
        if said.type == "forgotten" or said.id in self.kept or said.media_id in self.kept:
            return False
        if said.reason == FORGOTTEN:
            return self._others is not None and not self._others.names(said.id)
        return (
            said.id in self.media
            or said.id in self.seeds
            or said.media_id in self.media
            or said.sha256 in self.contents
            or said.source in self.sources
            or (isinstance(said.repeats, str) and said.repeats in self.media)
            or said.cause in self.subjects
            or said.subject in self.subjects
        )

    def take(self, subject: str, said: Said) -> bool:
        """Look at one message; whether it is to be forgotten."""
        taken = said in self
        if said.type == "seed" and said.kind == "url":
            self.lists[subject] = said
        if said.type == "candidate":
            self.led[said.cause] = taken and self.led.get(said.cause, True)
        if taken:
            self.subjects.add(subject)
            self._grow(said)
        return taken

    def hangs(self, subject: str, said: Said) -> bool:
        """Whether a message says of a frame that it repeats one to be forgotten, or was made from such a message.

        It goes, and is to be made again; what it is about stays.
        """
        names = isinstance(said.repeats, list) and any(
            ids.media_of_frame(repeat.frame) in self.media for repeat in said.repeats
        )
        if not names and said.cause not in self.stale:
            return subject in self._noes
        made = subjects.parse(subject)
        self.stale[subject] = said.id
        self._noes.add(subjects.output(made.flow, made.type, made.node, subjects.REJECTED, made.entity))
        if not names:
            self.memos.add(keys.memo(made.type, said.recipe, self.stale[said.cause]))
        return True

    def finish(self) -> None:
        """At the end of a reading: a seed that was nothing but the address of what is forgotten goes with it."""
        self.seeds.update(said.id for subject, said in self.lists.items() if self.led.get(subject))

    def names(self, stem: str) -> bool:
        """Whether this is the id of something to be forgotten, or of a shard of it, or the digest of its bytes."""
        return stem in self.media or stem in self.seeds or stem in self.contents or _SHARD.sub("", stem) in self.media

    def about_key(self, key: str) -> bool:
        """Whether a part of an object's key is the name of something to be forgotten."""
        return key in self.keys or any(self.names(part.partition(".")[0]) for part in key.split("/"))

    def about_entity(self, entity: str) -> bool:
        """Whether the last token of a subject is, with or without a recipe behind it."""
        return self.names(entity) or self.names(_RECIPE.sub("", entity))

    def root(self, name: str) -> str:
        """The same for all videos that have the same bytes."""
        while (above := self._same.get(name, name)) != name:
            name = above
        return name

    def _join(self, one: str, other: str) -> None:
        self._same[self.root(one)] = self.root(other)

    def _grow(self, said: Said) -> None:
        if said.type in ("candidate", "media"):
            self.media.add(said.id)
            self.origins[said.id] = said
        if said.type == "media":
            self.contents.add(said.sha256)
            self._join(said.id, said.sha256)
        self.keys.update({said.object_key, said.page} - {""})
        if said.media_id:
            self.media.add(said.media_id)
        if said.reason == FORGOTTEN:
            self.media.add(said.id)
        if said.repeats and isinstance(said.repeats, str):
            self.media.update((said.id, said.repeats))
            self._join(said.id, said.repeats)
