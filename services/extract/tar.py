"""WebDataset shards: a tar of `<frame id>.jpg` and `<frame id>.json`, the same bytes every time."""

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
        self._file = path.open("wb")

    def add(self, frame_id: str, jpeg: bytes, about: dict[str, Any]) -> None:
        """One frame; `about`, which holds its `time_ms`, becomes the JSON beside it."""
        self._member(f"{frame_id}.jpg", jpeg)
        self.offset.append(self._file.tell() - len(jpeg) - _padding(jpeg))
        self.length.append(len(jpeg))
        self.time_ms.append(about["time_ms"])
        self._member(f"{frame_id}.json", msgspec.json.encode(about))

    def summary(self) -> dict[str, Any]:
        """The fields that a `Shard` message takes from its file, and `path`."""
        arrays = {"time_ms": self.time_ms, "offset": self.offset, "length": self.length}
        return {"path": str(self.path), "width": self.width, "height": self.height, **arrays}

    def close(self) -> None:
        """Ends the tar; the file is whole after that."""
        self._file.write(bytes(2 * BLOCK))
        self._file.close()

    def _member(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
        header.size = len(data)
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        self._file.write(data)
        self._file.write(bytes(_padding(data)))


def _padding(data: bytes) -> int:
    return -len(data) % BLOCK
