"""All entries at hand: asked about every URL and every file, so an answer costs microseconds."""

from collections.abc import Iterable

from lodestream.fakes import builtin
from lodestream.fakes.entries import Entry, Kind
from lodestream.fakes.patterns import Patterns


class Library:
    """What is known; exceptions go before everything else."""

    def __init__(self, added: Iterable[Entry] = ()):
        """The built-in entries and those `added`."""
        every = [*builtin.entries(), *added]
        fine = {(entry.kind, entry.what) for entry in every if entry.fine}
        self.entries = [entry for entry in every if entry.fine or (entry.kind, entry.what) not in fine]
        """Exceptions included; a built-in entry that is excepted is not."""
        self._fakes = {(entry.kind, entry.what): entry for entry in self.entries if not entry.fine}
        self._fine = {what for kind, what in fine if kind == "sha256"}
        self._patterns = Patterns(what for kind, what in self._fakes if kind == "url")

    def get(self, kind: Kind, what: str) -> Entry | None:
        """A known fake, or None."""
        return self._fakes.get((kind, what))

    def fine(self, sha256: str) -> bool:
        """Whether a person has said that these bytes are no fake."""
        return sha256 in self._fine

    def url(self, url: str) -> Entry | None:
        """What fits this URL, or None."""
        found = self._patterns.find(url)
        return self._fakes["url", found] if found else None

    def content(self, sha256: str, size: int) -> Entry | None:
        """What fits a file with this hash and of so many bytes, or None."""
        if sha256 in self._fine:
            return None
        return self._fakes.get(("sha256", sha256)) or self._fakes.get(("size", str(size)))

    def sizes(self) -> set[int] | None:
        """Sizes that a fake can have; None where a hash is known without one, so that any size can be one's."""
        hashed = [entry.size for (kind, _), entry in self._fakes.items() if kind == "sha256"]
        if None in hashed:
            return None
        return {size for size in hashed if size is not None} | {int(w) for kind, w in self._fakes if kind == "size"}
