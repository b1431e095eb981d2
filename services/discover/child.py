"""Lists one seed, in a process that may be killed; says each video as it is found, and at the end how it went."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from lodestream.web import ytdlp
from lodestream.web.addresses import allowed, guard
from lodestream.web.verdicts import Verdict
from services.discover.feeds import is_video_file
from services.discover.listing import Lister
from services.discover.rows import Row

REPEATS = 200
"""Videos in a row that were listed before: the source goes round in circles."""
WITHOUT_PAGES = ("query", "feed", "folder")
"""Kinds of seeds that are listed without a look into pages of any site."""
warm = ytdlp.warm


def prepare(job: dict[str, Any]) -> None:
    """What only some jobs take is loaded before the first of them: while idle it would be a quarter of the memory."""
    if job["kind"] not in WITHOUT_PAGES and not is_video_file(job["value"]):
        ytdlp.warm_for_pages()


class Downloader(ytdlp.Downloader):
    """Shows the service with each request that it is alive."""

    def __init__(self, options: dict[str, Any], alive: Callable[[], None]):
        super().__init__(options)
        self.alive = alive

    def urlopen(self, request: Any) -> Any:
        """See ytdlp.Downloader."""
        self.alive()
        return super().urlopen(request)


class Told:
    """Says each video once; ends at the limit, at the time limit, and in circles."""

    def __init__(self, emit: Callable[..., None], limit: int, timeout: float):
        self.emit, self.limit, self.timeout = emit, limit, timeout
        self.end = time.monotonic() + timeout
        self.offered, self.repeats = 0, 0
        self.seen: set[str] = set()

    def all(self, rows: Iterator[Row]) -> tuple[bool, str]:
        """Whether all there is was listed, or all that was asked for; and what else there is to say."""
        for row in rows:
            self._one(row)
            if len(self.seen) >= self.limit:
                return True, f"stopped at the limit of {self.limit}"
            if self.repeats >= REPEATS:
                return False, f"stopped after {REPEATS} repeats in a row"
            if time.monotonic() > self.end:
                return False, f"stopped after {self.timeout:g} s"
        return True, ""

    def _one(self, row: Row) -> None:
        self.offered += 1
        self.repeats += 1
        if row["id"] not in self.seen:
            self.seen.add(row["id"])
            self.repeats = 0
            self.emit({"row": row, "offered": self.offered})


def run(job: dict[str, Any], folder: str, emit: Callable[..., None]) -> None:
    """Entry point of the child. `job`: kind, value, search, limit, timeout, allow_hosts, allow_folders.

    Emits `{"row": ...}` for each video, then `{"end": ...}` or `{"verdict": ...}`; all with `offered` so far.
    """
    guard(allowed(job["allow_hosts"]), ytdlp.PROGRAMS)
    options = {"noplaylist": job["kind"] in ("url", "list")}
    downloader = Downloader(options, lambda: emit({"alive": True}, lossy=True))
    lister = Lister(downloader, job["search"], job["limit"], job["allow_folders"])
    told = Told(emit, job["limit"], job["timeout"])
    try:
        complete, detail = told.all(lister.rows(job["kind"], job["value"]))
    except Exception as error:
        verdict = _verdict(error, downloader)
        if verdict.kind == "bug":
            raise
        emit({"verdict": verdict._asdict(), "offered": told.offered})
        return
    emit({"end": {"complete": complete, "detail": _detail(detail, lister)}, "offered": told.offered})


def _verdict(error: Exception, downloader: Downloader) -> Verdict:
    if isinstance(error, MemoryError | RecursionError):
        return Verdict("reject", "too big", f"more than can be read: {type(error).__name__}")
    return ytdlp.classify(error, downloader)


def _detail(first: str, lister: Lister) -> str:
    left_out = (f"left out {count} {why}, the first: {what}" for why, (count, what) in lister.left_out.items())
    return "; ".join(filter(None, (first, *left_out)))
