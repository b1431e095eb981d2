"""A worker's folder for temporary files: its own, empty, and none of a dead one's is left."""

import os
import time
from pathlib import Path

from lodestream.alive import ALIVE
from lodestream.worker import GIVEN_UP, own_folder

NOBODY = 2**22 + 1
"""Above every process id that Linux gives."""


HERE = os.uname().nodename


def test_a_worker_begins_with_an_empty_folder_whoever_had_its_process_id_before(tmp_path: Path) -> None:
    """In a container every start has the same one."""
    for pid in (os.getpid(), os.getppid(), NOBODY):
        (tmp_path / f"fetch-{HERE}-{pid}" / "fetch-0").mkdir(parents=True)
    (tmp_path / f"extract-{HERE}-{NOBODY}").mkdir()
    mine = own_folder(tmp_path, "fetch")
    assert list(mine.iterdir()) == []
    left = {path.name for path in tmp_path.iterdir()}
    wanted = {f"fetch-{HERE}-{os.getpid()}", f"fetch-{HERE}-{os.getppid()}", f"extract-{HERE}-{NOBODY}"}
    assert left == wanted


def test_the_folder_of_another_container_stays_until_nobody_can_be_at_work_there(tmp_path: Path) -> None:
    for name, silent in (("at-work", 0.0), ("slow", GIVEN_UP - 60), ("dead", GIVEN_UP + 60)):
        folder = tmp_path / f"fetch-{name}-{os.getpid()}"
        folder.mkdir()
        (folder / ALIVE).touch()
        for path in (folder / ALIVE, folder):
            os.utime(path, (time.time() - silent,) * 2)
    mine = own_folder(tmp_path, "fetch")
    left = {path.name for path in tmp_path.iterdir()} - {mine.name}
    assert left == {f"fetch-at-work-{os.getpid()}", f"fetch-slow-{os.getpid()}"}
