"""When a server that met a full disk is to be started anew."""

from pathlib import Path
from unittest import mock

from lodestream.local import fulldisk
from lodestream.local.fulldisk import FullDisk

SAID = b"[ERR] JetStream failed to store a msg on stream 'FLOW_f': write msgs/1.blk: no space left on device\n"


def test_a_complaint_while_there_is_room_says_that_it_is_over(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    disk = FullDisk(log)
    assert not disk.is_over()
    log.write_bytes(b"[INF] Server is ready\n")
    assert not disk.is_over()
    with log.open("ab") as file:
        file.write(SAID)
    assert disk.is_over()
    assert not disk.is_over()
    log.write_bytes(SAID)  # a new part of the log, shorter than the last
    assert disk.is_over()


def test_a_disk_that_is_full_still_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_bytes(SAID)
    with mock.patch.object(fulldisk, "ROOM", 1 << 60):
        assert not FullDisk(log).is_over()
