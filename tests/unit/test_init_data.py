"""What init does with the folders of servers, which may be at work in them."""

import os
from pathlib import Path

import pytest

from lodestream.compose import init

SOMEBODY = 11002

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


def test_all_that_lies_there_belongs_to_its_server(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "link").symlink_to("/etc/hostname")
    before = Path("/etc/hostname").stat().st_uid
    init._give_data(tmp_path, SOMEBODY)
    assert {path.lstat().st_uid for path in (tmp_path, *tmp_path.rglob("*"))} == {SOMEBODY}
    assert Path("/etc/hostname").stat().st_uid == before, "what a link leads to is not its"


def test_what_its_server_removes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "stays").touch()
    chown = os.chown

    def removing(path: Path, *arguments: int, **more: bool) -> None:
        """As if the server had tidied up between the look and the deed."""
        chown(path, *arguments, **more)
        if (tmp_path / "gone").exists():
            (tmp_path / "gone").rmdir()

    monkeypatch.setattr(os, "chown", removing)
    init._give_data(tmp_path, SOMEBODY)
    assert (tmp_path / "stays").stat().st_uid == SOMEBODY
    assert not (tmp_path / "gone").exists()
