"""A worker's folder for temporary files: its own, empty, and none of a dead one's is left."""

import os
from pathlib import Path

from lodestream.worker import own_folder

NOBODY = 2**22 + 1
"""Above every process id that Linux gives."""


def test_a_worker_begins_with_an_empty_folder_whoever_had_its_process_id_before(tmp_path: Path) -> None:
    """In a container every start has the same one."""
    for pid in (os.getpid(), os.getppid(), NOBODY):
        (tmp_path / f"fetch-{pid}" / "fetch-0").mkdir(parents=True)
    (tmp_path / f"extract-{NOBODY}").mkdir()
    mine = own_folder(tmp_path, "fetch")
    assert list(mine.iterdir()) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"fetch-{os.getpid()}", f"fetch-{os.getppid()}", f"extract-{NOBODY}"}
