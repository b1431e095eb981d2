"""Waits that people can see in `lode status`, and that cost nobody else a place."""

import asyncio
import time

from lodestream.job import Job
from lodestream.tally import Trouble


async def wait(job: Job, what: str, failures: int, why: object, seconds: float) -> None:
    """Wait because of `what`, a host or a part, which has failed so often; another job has the place meanwhile."""
    job.parts.troubles[what] = Trouble(failures, str(why), time.time() + seconds)
    try:
        async with job.parked():
            await asyncio.sleep(seconds)
    finally:
        job.parts.troubles.pop(what, None)
