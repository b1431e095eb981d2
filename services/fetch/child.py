"""What fetch has done in processes that may be killed: a page through yt-dlp, and looking into files."""

import hashlib
import os
import time
import types
from collections.abc import Callable
from typing import Any

from lodestream.web import ytdlp
from lodestream.web.addresses import allowed, guard
from services.fetch.probe import Unusable, probe

TICK_S = 0.25


def warm() -> None:
    """Everything that pages take; most jobs are pages."""
    ytdlp.warm()
    ytdlp.warm_for_pages()


def run(job: dict[str, Any], folder: str, emit: Callable[..., None]) -> None:
    """Entry point. `job["do"]` is `page` or `probe`."""
    if job["do"] == "page":
        _page(job, folder, emit)
    else:
        _probes(job["inbox"], emit)


def _probes(inbox: str, emit: Callable[..., None]) -> None:
    """Answers each path that comes, with `{"facts": ...}` or `{"no": [reason, detail]}`, until the inbox is closed."""
    guard(allowed([]))
    with open(inbox) as lines:  # noqa: PTH123
        for line in lines:
            try:
                emit({"facts": probe(line.rstrip("\n"))})
            except Unusable as no:
                emit({"no": no.args})


def _page(job: dict[str, Any], folder: str, emit: Callable[..., None]) -> None:
    """`job`: url, max_height, max_bytes, max_duration, allow_hosts.

    Emits `{"progress": [bytes, total]}`, then `{"file": ...}` or `{"verdict": ...}`.
    """
    guard(allowed(job["allow_hosts"]), ytdlp.PROGRAMS)
    downloader = PageDownloader(job, folder, emit)
    try:
        info = downloader.extract_info(job["url"]) or {}
        emit({"file": downloader.result(info)})
    except Exception as error:
        verdict = ytdlp.classify(error, downloader)
        if verdict.kind == "bug":
            raise
        emit({"verdict": verdict})


class PageDownloader(ytdlp.Downloader):
    """Downloads the one video that a page shows, within the limits of a job."""

    def __init__(self, job: dict[str, Any], folder: str, emit: Callable[..., None]):
        self._job, self._emit, self._told = job, emit, 0.0
        super().__init__(
            {
                # one file and never audio alone; the smallest where all are larger
                "format": f"bv*[height<=?{job['max_height']}]/wv*",
                "format_sort": [f"res:{job['max_height']}", "vcodec:h264", "proto"],
                "outtmpl": {"default": f"{folder}/page.%(ext)s"},
                "noplaylist": True,
                "continuedl": False,  # without If-Range: of a file that changed it makes a splice of two
                "updatetime": False,
                "fixup": "never",
                "max_filesize": job["max_bytes"],
                "skip_unavailable_fragments": False,
                "logger": types.SimpleNamespace(debug=self._heard, warning=self._heard, error=self._heard),
                "match_filter": self._wanted,
                "progress_hooks": [self._progress],
            }
        )

    def result(self, info: dict[str, Any]) -> dict[str, Any]:
        """The file that came of it, hashed. Raises Stop where there is none."""
        videos = [video for video in info.get("entries") or [info] if video]  # some give a list of one
        paths = [d.get("filepath") or "" for video in videos for d in video.get("requested_downloads") or ()]
        path = next(filter(os.path.isfile, paths), None)
        if path is None:
            self.refuse("not a video", "nothing was downloaded")
        with open(path, "rb") as file:  # noqa: PTH123
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        said = {name: str(videos[0].get(name) or "")[:500] for name in ("title", "uploader")}
        return {"path": path, "bytes": os.path.getsize(path), "sha256": sha256, **said}  # noqa: PTH202

    def _heard(self, said: str) -> None:
        """yt-dlp only says so, and goes on without a file."""
        if "larger than max-filesize" in said:
            self.refuse("too big", f"over {self._job['max_bytes']} bytes")

    def _wanted(self, info: dict[str, Any], *, incomplete: bool = False) -> None:
        if (info.get("playlist_count") or info.get("n_entries") or 0) > 1:
            self.refuse("a list", "several videos: a seed for discover")
        status = info.get("live_status")
        if status == "is_upcoming":
            self.refuse("upcoming", "has not been shown yet")
        if info.get("is_live") or status in ("is_live", "post_live"):
            self.refuse("live", "is being shown live")
        if (info.get("duration") or 0) > self._job["max_duration"]:
            self.refuse("too long", f"{info['duration']} s, over {self._job['max_duration']:g}")

    def _progress(self, state: dict[str, Any]) -> None:
        done = state.get("downloaded_bytes") or 0
        if done > self._job["max_bytes"]:
            self.refuse("too big", f"over {self._job['max_bytes']} bytes")
        if time.monotonic() - self._told > TICK_S:
            self._told = time.monotonic()
            total = state.get("total_bytes") or state.get("total_bytes_estimate")
            self._emit({"progress": [done, total and int(total)]}, lossy=True)
