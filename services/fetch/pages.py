"""Pages and streams, through yt-dlp in a child."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

from lodestream.children import ChildDied, ChildFailed, Children, ChildTimeout, Limits
from lodestream.errors import Outage, Reject, Retry
from lodestream.web.verdicts import Verdict
from services.fetch.direct import Downloaded
from services.fetch.pace import Pace
from services.fetch.stored import Told

MEMORY = 2 << 30
MARGIN = 1 << 20
"""Bytes above the limit that a file may have: yt-dlp is to notice first."""
LONGEST_S = 6 * 3600.0
"""A backstop; `Pace` decides."""


async def download(children: Children, job: dict[str, Any], folder: Path, attempt: int, pace: Pace) -> Downloaded:
    """The video that the page at `job["url"]` shows; `job` as the child takes it.

    Raises Reject, Retry, Outage, or what says that yt-dlp no longer understands the site.
    """
    limits = Limits(LONGEST_S, cpu_s=3600, memory_bytes=MEMORY, file_bytes=job["max_bytes"] + MARGIN)
    try:
        async with aclosing(children.run({"do": "page", **job}, limits=limits, folder=folder)) as events:
            async for event in events:
                if "progress" in event:
                    pace.got(*event["progress"])
                elif "file" in event:
                    return _downloaded(event["file"])
                else:
                    raise _error(Verdict(*event["verdict"]), attempt, folder)
    except ChildDied as error:
        raise Retry("crashed", f"yt-dlp: {error}") from None
    except ChildTimeout as error:
        raise Retry("too slow", f"yt-dlp: {error}") from None
    except ChildFailed as error:
        if error.kind == "MemoryError":
            raise Reject("too big", "more than can be read", lasting=False) from None
        raise
    raise Retry("crashed", "yt-dlp ended without a word")


def _error(verdict: Verdict, attempt: int, folder: Path) -> Exception:
    if verdict.reason == "disk full":
        return Outage(f"no room left in {folder.parent}: free some space")
    return verdict.error(attempt)


def _downloaded(file: dict[str, Any]) -> Downloaded:
    told = Told(title=file["title"], uploader=file["uploader"])
    return Downloaded(Path(file["path"]), file["sha256"], file["bytes"], told)
