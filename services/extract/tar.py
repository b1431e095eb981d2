"""WebDataset shards: a tar of `<frame id>.jpg` and `<frame id>.json`, the same bytes every time."""

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import msgspec

BLOCK = 512


class ShardFile:
    """A tar that is being written; knows where in it each JPEG lies, so that one range read gives a frame."""

    def __init__(self, path: Path, width: int, height: int):
        """All frames are `width` by `height` pixels."""
        self.path, self.width, self.height = path, width, height
        self.time_ms: list[int] = []
        self.offset: list[int] = []
        """Byte of each JPEG."""
        self.length: list[int] = []
        self._file, self._sha256 = path.open("wb"), hashlib.sha256()

    def add(self, frame_id: str, jpeg: bytes, about: dict[str, Any]) -> None:
        """One frame; `about`, which holds its `time_ms`, becomes the JSON beside it."""
        self._member(f"{frame_id}.jpg", jpeg)
        self.offset.append(self._file.tell() - len(jpeg) - _padding(jpeg))
        self.length.append(len(jpeg))
        self.time_ms.append(about["time_ms"])
        self._member(f"{frame_id}.json", msgspec.json.encode(about))

    def close(self) -> dict[str, Any]:
        """Ends the tar, and gives the fields that a `Shard` message takes from its file, and `path`."""
        self._write(bytes(2 * BLOCK))
        arrays = {"time_ms": self.time_ms, "offset": self.offset, "length": self.length}
        size = self._file.tell()
        self._file.close()
        whole = {"sha256": self._sha256.hexdigest(), "bytes": size}
        return {"path": str(self.path), "width": self.width, "height": self.height, **arrays, **whole}

    def _member(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
        header.size = len(data)
        for part in (header.tobuf(tarfile.GNU_FORMAT), data, bytes(_padding(data))):
            self._write(part)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)


def _padding(data: bytes) -> int:
    return -len(data) % BLOCK
