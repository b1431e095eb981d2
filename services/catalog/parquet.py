"""Parquet snapshots in the object store, for any engine: `catalog/<table>/*.parquet` and a manifest."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from lodestream.errors import LodeError, Outage
from lodestream.objects import Objects
from proto import keys
from services.catalog.parquet_child import Manifest, Work
from services.catalog.snapshots import Snapshots

MANIFEST = keys.snapshot("manifest.json")
PREFIX = "catalog-snapshot-"
"""Of the temporary folder of one snapshot; what a killed process left is removed before the next."""


class Parquet:
    """Publishes snapshots, one at a time."""

    def __init__(self, snapshots: Snapshots, objects: Objects, work: Path):
        self._snapshots, self._objects, self._work, self._lock = snapshots, objects, work, asyncio.Lock()

    async def publish(self) -> dict[str, Any]:
        """Write what no earlier snapshot has: files first, then the manifest, then what it does not name is removed.

        Says the manifest's key, rows by table, and files written. Raises LodeError.
        """
        started = time.perf_counter()
        async with self._lock:
            self._work.mkdir(parents=True, exist_ok=True)
            for left in self._work.glob(f"{PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._work))
            try:
                manifest, written = await self._publish(folder)
            except Outage as why:
                raise LodeError(f"the object store is away: {why}") from None
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        rows: Counter[str] = Counter()
        for file in manifest.files:
            rows[file.table] += file.rows
        seconds = round(time.perf_counter() - started, 1)
        return {
            "manifest": MANIFEST,
            "rows": rows,
            "files": len(manifest.files),
            "written": written,
            "seconds": seconds,
        }

    async def _publish(self, folder: Path) -> tuple[Manifest, int]:
        there = {found.key async for found in self._objects.list(keys.snapshot(""))}
        copy = await self._snapshots.fresh(0)
        manifest = await _write(Work(str(copy), str(folder), await self._before(), sorted(there)))
        new = [file.key for file in manifest.files if file.key not in there]
        for key in new:
            await self._objects.put_file(key, folder / key.removeprefix(keys.snapshot("")))
        await self._objects.put(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        for key in there - {MANIFEST} - {file.key for file in manifest.files}:
            await self._objects.delete(key)
        return manifest, len(new)

    async def _before(self) -> Manifest | None:
        try:
            return msgspec.json.decode(await self._objects.get(MANIFEST), type=Manifest)
        except (KeyError, msgspec.MsgspecError):
            return None


async def _write(work: Work) -> Manifest:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-P", "-m", "services.catalog.parquet_child")
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, said = await process.communicate(msgspec.json.encode(work))
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        why = (said.decode(errors="replace").strip().splitlines() or ["killed"])[-1]
        raise LodeError(f"no snapshot was written: {why}")
    return msgspec.json.decode(out, type=Manifest)
