"""What is kept of broken downloads: bounded, swept, and never half of one and half of another."""

import os
import time
from pathlib import Path

import pytest

from services.fetch import kept
from services.fetch.kept import Facts, Kept

FACTS = Facts("http://example.org/a.mp4", '"v1"', 100)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LEAST", 10)
    monkeypatch.setattr(kept, "MOST", 100)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "fetch-1").mkdir()
    return tmp_path / "fetch-1"


def file(work: Path, data: bytes) -> Path:
    path = work / "fetch-7"
    path.write_bytes(data)
    return path


def names(work: Path) -> list[str]:
    return sorted(path.name for path in (work.parent / kept.FOLDER).iterdir())


def put(store: Kept, work: Path, name: str, size: int, age: float) -> None:
    path = file(work, bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    store.keep(name, FACTS, path)


def test_what_was_kept_is_taken_once(work: Path) -> None:
    store = Kept(work)
    store.keep("web-1", FACTS, file(work, b"0123456789abc"))
    assert store.has("web-1")
    taken = store.take("web-1", FACTS.url, work / "fetch-8")
    assert taken is not None
    assert (taken.facts, taken.size) == (FACTS, 13)
    assert (work / "fetch-8").read_bytes() == b"0123456789abc"
    assert store.take("web-1", FACTS.url, work / "fetch-9") is None
    assert [path.name for path in work.iterdir()] == ["fetch-8"]


def test_what_a_killed_worker_had_begun_is_taken(work: Path) -> None:
    store, path = Kept(work), file(work, b"0123456789")
    store.begin("web-1", FACTS, path)
    path.open("ab").write(b"abc")
    path.unlink()  # as its folder is swept
    taken = store.take("web-1", FACTS.url, work / "fetch-8")
    assert taken is not None
    assert (taken.facts.validator, taken.size) == (FACTS.validator, 13)
    assert (work / "fetch-8").read_bytes() == b"0123456789abc"
    assert (work / "fetch-8").stat().st_nlink == 1


def test_who_was_taken_for_dead_writes_to_a_file_of_its_own(work: Path) -> None:
    store, path = Kept(work), file(work, b"0123456789")
    store.begin("web-1", FACTS, path)
    taken = store.take("web-1", FACTS.url, work / "fetch-8")
    path.write_bytes(b"xxxxxxxxxxxxx")
    assert taken is not None
    assert (work / "fetch-8").read_bytes() == b"0123456789"
    assert not store.has("web-1")


def test_what_was_begun_before_the_machine_was_started_is_not_taken(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Kept(work)
    store.begin("web-1", FACTS, file(work, b"0123456789"))
    store.keep("web-2", FACTS, file(work, b"0123456789"))
    monkeypatch.setattr(kept, "boot", lambda: "another")
    assert store.take("web-1", FACTS.url, work / "fetch-8") is None
    assert store.take("web-2", FACTS.url, work / "fetch-9") is not None


def test_what_is_done_is_forgotten(work: Path) -> None:
    store = Kept(work)
    store.begin("web-1", FACTS, file(work, b"0123456789"))
    store.forget("web-1")
    store.forget("web-1")
    assert names(work) == []


def test_what_is_hardly_anything_is_not_kept(work: Path) -> None:
    store = Kept(work)
    store.keep("web-1", FACTS, file(work, b"012345678"))
    assert not store.has("web-1")


def test_the_newer_one_stays(work: Path) -> None:
    store = Kept(work)
    store.keep("web-1", FACTS, file(work, b"x" * 20))
    store.keep("web-1", FACTS, file(work, b"y" * 30))
    taken = store.take("web-1", FACTS.url, work / "fetch-8")
    assert taken is not None
    assert taken.size == 30


def test_of_too_much_the_oldest_go(work: Path) -> None:
    store = Kept(work)
    for number, age in enumerate((30, 20, 10)):
        put(store, work, f"web-{number}", 45, age)
    assert names(work) == ["web-1", "web-2"]
    store.sweep(0)
    assert names(work) == []


def test_what_is_old_goes(work: Path) -> None:
    store = Kept(work)
    put(store, work, "web-1", 20, kept.LONGEST_S + 60)
    put(store, work, "web-2", 20, 0)
    assert names(work) == ["web-2"]


@pytest.mark.parametrize("broken", ["facts.json", "data"])
def test_what_is_not_whole_is_not_taken(work: Path, broken: str) -> None:
    store = Kept(work)
    store.keep("web-1", FACTS, file(work, b"0123456789abc"))
    (work.parent / kept.FOLDER / "web-1" / broken).unlink()
    assert store.take("web-1", FACTS.url, work / "fetch-8") is None
    assert list(work.iterdir()) == []
    assert not store.has("web-1")


def test_where_nothing_can_be_kept_it_is_let_go(work: Path) -> None:
    (work.parent / kept.FOLDER).write_text("in the way")
    Kept(work).keep("web-1", FACTS, file(work, b"0123456789abc"))
    assert list(work.iterdir()) == []
