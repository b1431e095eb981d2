"""Scan and cleanup on folders: what is found, what is left alone, what goes, and what the log says of it."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lodestream.errors import LodeError
from lodestream.fakes import Library, cleanup
from lodestream.fakes.entries import read
from lodestream.fakes.scan import Report, Scanner
from tests.support.cli import Ended, run_lode

VIDEO = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(range(256)) * 40
OTHER = VIDEO[:-1] + b"!"
PICTURE = b"\xff\xd8\xff\xe0" + bytes(400)


def filled(root: Path, **files: bytes) -> Path:
    """A folder with files; `__` in a name is a slash, `_` a dot. Each is older than the one before."""
    for age, (name, data) in enumerate(files.items()):
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    return root


def scanned(root: Path, *known: str) -> Report:
    return Scanner(Library(map(read, known))).scan(root)


def fakes(report: Report) -> dict[str, str]:
    return {Path(fake.file.path).name: fake.why for fake in report.fakes}


def groups(report: Report, root: Path) -> list[list[str]]:
    return [[str(Path(file.path).relative_to(root)) for file in group.files] for group in report.groups]


def test_duplicates_are_grouped_and_the_oldest_is_first(tmp_path: Path) -> None:
    root = filled(tmp_path, new_mp4=VIDEO, sub__mid_webm=VIDEO, other_mp4=OTHER, old_mp4=VIDEO, p_jpg=PICTURE)
    filled(tmp_path / "q", a_png=PICTURE)
    report = scanned(root)
    assert report.fakes == []
    assert groups(report, root) == [["old.mp4", "sub/mid.webm", "new.mp4"], ["p.jpg", "q/a.png"]]
    assert report.wasted == 2 * len(VIDEO) + len(PICTURE)


def test_of_one_age_the_shortest_path_is_kept(tmp_path: Path) -> None:
    root = filled(tmp_path, sub__a_mp4=VIDEO, b_mp4=VIDEO, aa_mp4=VIDEO)
    for path in root.rglob("*.mp4"):
        os.utime(path, (1, 1))
    assert groups(scanned(root), root) == [["b.mp4", "aa.mp4", "sub/a.mp4"]]


def test_fakes_are_told_from_duplicates(tmp_path: Path) -> None:
    page = b"<!doctype html><title>Sorry</title>"
    root = filled(
        tmp_path,
        **{"empty_mp4": b"", "empty2_mp4": b"", "page_mp4": page, "page2_webm": page, "page3_jpg": page},
        **{"json_mkv": b'{"error": 404}', "picture_mp4": PICTURE, "song_mp4": b"ID3\4" + bytes(99), "ok_mp4": VIDEO},
        **{"sized_mp4": VIDEO + b"12345", "list_mp4": b"#EXTM3U\n"},
    )
    report = scanned(root, str(len(VIDEO) + 5))
    assert groups(report, root) == []
    assert fakes(report) == {
        "empty.mp4": "known: the empty file",
        "empty2.mp4": "known: the empty file",
        "page.mp4": "a page named as video",
        "page2.webm": "a page named as video",
        "page3.jpg": "a page named as image",
        "json.mkv": "text named as video",
        "list.mp4": "a playlist named as video",
        "picture.mp4": "an image named as video",
        "song.mp4": "sound named as video",
        "sized.mp4": f"known: a size of {len(VIDEO) + 5} bytes",
    }


def test_a_known_hash_is_found_whether_its_size_is_known_or_not(tmp_path: Path) -> None:
    root = filled(tmp_path, a_mp4=VIDEO, b_mp4=OTHER)
    sha256 = scanned(root, "00" * 32).found.files and _sha256(VIDEO)
    assert fakes(scanned(root, sha256)) == {"a.mp4": f"known: sha256 {sha256}"}
    sized = Library([read(sha256, size=len(VIDEO), note="sorry")])
    assert fakes(Scanner(sized).scan(root)) == {"a.mp4": "known: sorry"}
    fine = Library([read(_sha256(b"<html>"), fine=True)])
    assert Scanner(fine).scan(filled(tmp_path / "fine", x_mp4=b"<html>")).fakes == []


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_what_is_no_media_is_left_alone(tmp_path: Path) -> None:
    root = filled(
        tmp_path,
        **{
            "empty_py": b"",
            "empty2_py": b"",
            "a_txt": b"same",
            "b_txt": b"same",
            "code_ts": b"G.foo()",
            "code2_ts": b"G.foo()",
        },
        **{"LICENSE": b"GNU General", "LICENSE2": b"GNU General", "_hidden_mp4": VIDEO, "_git__x_mp4": VIDEO},
        **{"named": VIDEO, "stream_ts": b"G" + bytes(187)},
    )
    os.mkfifo(root / "pipe.mp4")
    report = scanned(root)
    assert sorted(Path(file.path).name for file in report.found.files) == ["named", "stream.ts"]
    assert (report.found.others, report.found.hidden) == (8, 2)
    assert (report.fakes, report.groups) == ([], [])


def test_links_are_not_followed_and_hard_links_are_one_file(tmp_path: Path) -> None:
    outside = filled(tmp_path / "outside", a_mp4=VIDEO, b_mp4=VIDEO)
    root = filled(tmp_path / "root", new_mp4=VIDEO, z_mp4=VIDEO)
    (root / "link.mp4").symlink_to(outside / "a.mp4")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "more.mp4").hardlink_to(root / "new.mp4")
    report = scanned(root)
    assert groups(report, root) == [["more.mp4", "z.mp4"]]
    assert report.found.links == 4


def test_what_cannot_be_read_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = filled(tmp_path, a_mp4=VIDEO, b_mp4=VIDEO, c_mp4=VIDEO, locked__d_mp4=VIDEO)
    real_open, real_scandir = os.open, os.scandir

    def opening(path: Any, *flags: Any, **more: Any) -> int:
        if str(path).endswith("b.mp4"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *flags, **more)

    def listing(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "scandir", listing)
    report = scanned(root)
    assert groups(report, root) == [["c.mp4", "a.mp4"]]
    told = sorted((Path(path).name, why) for path, why in report.found.unreadable)
    assert told == [("b.mp4", "Permission denied"), ("locked", "Permission denied")]


def test_the_home_of_an_instance_is_not_looked_into(tmp_path: Path) -> None:
    root = filled(tmp_path, a_mp4=VIDEO, home__instance_json=b"{}", home__objects__a_mp4=VIDEO)
    report = scanned(root)
    assert (report.groups, report.found.instances) == ([], [str(root / "home")])


def deleted(report: Report, folder: Path) -> tuple[list[cleanup.Done], list[dict[str, Any]]]:
    with cleanup.open_log(folder, folder) as log:
        done = list(cleanup.execute(cleanup.plan(report), log))
    return done, cleanup.read_log(Path(log.name))


def test_only_what_is_still_the_same_goes(tmp_path: Path) -> None:
    root = filled(tmp_path / "v", d_mp4=VIDEO, c_mp4=VIDEO, b_mp4=VIDEO, a_mp4=VIDEO, fake_mp4=b"<html>")
    report = scanned(root)
    os.utime(root / "b.mp4", (1, 1))
    (root / "c.mp4").unlink()
    (root / "c.mp4").symlink_to("a.mp4")
    done, log = deleted(report, root)
    assert sorted(path.name for path in root.iterdir()) == ["a.mp4", "b.mp4", "c.mp4"]
    failed = {Path(each.deletion.file.path).name: each.failed for each in done if each.failed}
    assert failed == {"b.mp4": "it changed meanwhile", "c.mp4": "Too many levels of symbolic links"}
    assert [(Path(line["deleted"]).name, line["why"]) for line in log] == [
        ("fake.mp4", "a page named as video"),
        ("d.mp4", "duplicate"),
    ]
    assert (log[1]["kept"], log[1]["bytes"], log[1]["sha256"]) == (str(root / "a.mp4"), len(VIDEO), _sha256(VIDEO))


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_no_copy_goes_once_the_one_to_keep_is_no_longer_there(tmp_path: Path, how: str) -> None:
    root = filled(tmp_path / "v", b_mp4=VIDEO, a_mp4=VIDEO)
    report, kept = scanned(root), root / "a.mp4"
    said = kept.stat()
    kept.unlink()
    if how == "changed":  # in its bytes alone
        kept.write_bytes(OTHER)
        os.utime(kept, ns=(said.st_mtime_ns, said.st_mtime_ns))
    done, log = deleted(report, tmp_path)
    assert (root / "b.mp4").exists()
    assert [each.failed.startswith("the one to keep: ") for each in done] == [True]
    assert log == []


def test_a_file_that_cannot_be_deleted_is_not_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = filled(tmp_path / "v", b_mp4=VIDEO, a_mp4=VIDEO)
    report = scanned(root)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        done, log = deleted(report, tmp_path)
    assert [each.failed for each in done] == ["Permission denied"]
    assert log == []


def test_the_log_lies_elsewhere_where_it_must_and_nothing_goes_without_one(tmp_path: Path) -> None:
    nowhere, folder = tmp_path / "file" / "v", tmp_path / "logs"
    (tmp_path / "file").write_text("")
    with cleanup.open_log(nowhere, folder) as log:
        assert Path(log.name).parent == folder
    with pytest.raises(LodeError, match="nothing was deleted"):
        cleanup.open_log(nowhere, nowhere)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"deleted": "/a", "bytes": 1}\nhello\n')
    with pytest.raises(LodeError, match="log:2: no line of such a log"):
        cleanup.read_log(tmp_path / "log")


@pytest.fixture
def lode(tmp_path: Path) -> Iterator[partial[Ended]]:
    """`lode fakes` without an instance."""
    yield partial(run_lode, tmp_path / "home", "fakes")
    assert not (tmp_path / "home").exists()


def test_commands_show_before_they_do(lode: partial[Ended], tmp_path: Path) -> None:
    strange = os.fsdecode(b"a\xff\n")
    root = filled(tmp_path / "v", **{strange + "_mp4": VIDEO, "b_mp4": VIDEO, "sorry_mp4": b"<html>"})
    before = sorted(root.iterdir())
    said = lode("scan", str(root)).stdout
    assert "1 fake\n  6 B  a page named as video  sorry.mp4\n" in said
    assert "1 duplicate in 1 group, 10.3 kB to be saved\n" in said
    assert "  10.3 kB  copy  a\\udcff\\n.mp4\n" in said
    told = json.loads(lode("scan", str(root), "--json").stdout)
    assert (told["files"], told["bytes_to_be_saved"], len(told["fakes"])) == (3, len(VIDEO), 1)
    dry = lode("cleanup", str(root))
    assert "2 files to delete, 10.3 kB\n" in dry.stdout
    assert dry.stderr == f"\nNothing was deleted. To do it: lode fakes cleanup {root} --yes\n"
    assert json.loads(lode("cleanup", str(root), "--json").stdout)["log"] is None
    assert sorted(root.iterdir()) == before


def test_cleanup_names_its_log_and_does_nothing_twice(lode: partial[Ended], tmp_path: Path) -> None:
    root = filled(tmp_path / "v", **{os.fsdecode(b"a\xff") + "_mp4": VIDEO, "b_mp4": VIDEO, "sorry_mp4": b"<html>"})
    said = lode("cleanup", str(root), "--yes").stdout
    log = Path(said.rpartition("noted in ")[2].rstrip("\n"))
    assert "deleted 2 files, 10.3 kB" in said
    assert log.parent == tmp_path
    assert [Path(line["deleted"]).name for line in cleanup.read_log(log)] == ["sorry.mp4", os.fsdecode(b"a\xff.mp4")]
    assert [path.name for path in root.iterdir()] == ["b.mp4"]
    assert "no fakes, no duplicates" in lode("cleanup", str(root), "--yes").stdout
    told = {"deleted": [], "not_deleted": [], "would_delete": [], "log": None}
    assert json.loads(lode("cleanup", str(root), "--yes", "--json").stdout) == told


def test_a_scan_does_without_a_library_that_cannot_be_read(tmp_path: Path) -> None:
    home = filled(tmp_path / "home", instance_json=b'{"format": 0}')
    ended = run_lode(home, "fakes", "scan", str(filled(tmp_path / "v", none_mp4=b"")))
    assert "known: the empty file" in ended.stdout
    assert ended.stderr.startswith("only what is built in is known: ")


def test_an_object_store_is_not_cleaned_up(tmp_path: Path) -> None:
    home = filled(tmp_path / "home", instance_json=b"{}", objects__media__a_mp4=VIDEO)
    said = run_lode(home, "fakes", "cleanup", str(home / "objects"), "--yes", status=1).stderr
    assert "belongs to the instance" in said
