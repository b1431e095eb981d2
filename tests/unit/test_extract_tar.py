"""Shard files: what other programs read in them, and where."""

import json
import tarfile
from pathlib import Path

from services.extract.tar import ShardFile


def write(path: Path, frames: dict[str, bytes]) -> ShardFile:
    shard = ShardFile(path, 4, 3)
    for number, (name, data) in enumerate(frames.items()):
        shard.add(name, data, {"time_ms": number * 1000, "frame_id": name})
    shard.close()
    return shard


def test_members_are_pairs_and_ranges_are_the_pictures(tmp_path: Path) -> None:
    frames = {"web-1_0": b"x" * 511, "web-1_1000": b"y" * 512, "web-1_2000": b"z" * 513, "web-1_3000": b""}
    shard = write(tmp_path / "a.tar", frames)
    whole = (tmp_path / "a.tar").read_bytes()
    assert [whole[at : at + size] for at, size in zip(shard.offset, shard.length, strict=True)] == list(frames.values())
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == [f"{name}.{end}" for name in frames for end in ("jpg", "json")]
        assert [tar.extractfile(f"{name}.jpg").read() for name in frames] == list(frames.values())  # type: ignore[union-attr]
        assert json.load(tar.extractfile("web-1_2000.json")) == {"time_ms": 2000, "frame_id": "web-1_2000"}  # type: ignore[arg-type]
    assert shard.time_ms == [0, 1000, 2000, 3000]


def test_the_longest_name_fits(tmp_path: Path) -> None:
    name = "m" * 96 + "_86400000"
    shard = write(tmp_path / "a.tar", {name: b"picture"})
    assert (tmp_path / "a.tar").read_bytes()[shard.offset[0] :][:7] == b"picture"
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == [f"{name}.jpg", f"{name}.json"]


def test_the_same_frames_are_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"a_0": b"1", "a_1": b"22"})
    write(tmp_path / "b.tar", {"a_0": b"1", "a_1": b"22"})
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
