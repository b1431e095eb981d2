"""The shelf: whole or absent, never other bytes under a name, and what became of them."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tokenizers import Tokenizer

from lodestream.errors import LodeError
from lodestream.models import install as installing
from lodestream.models.card import File
from lodestream.models.shelf import Shelf, record
from lodestream.models.standins import STANDINS, export, install


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    install("standin-siglip2", tmp_path / "models")
    return Shelf(tmp_path / "models")


def test_an_installed_model_is_found_by_its_name(shelf: Shelf) -> None:
    assert [card.name for card in shelf.cards()] == ["standin-siglip2"]
    assert shelf.card("standin-siglip2") == STANDINS["standin-siglip2"]
    assert shelf.tokenizer("standin-siglip2") == shelf.folder / "standin-siglip2-text" / "tokenizer.json"


def test_one_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LodeError, match="model dfine-s is not installed; get it with: lode models pull dfine-s"):
        Shelf(tmp_path / "nowhere").card("dfine-s")


def test_a_model_without_text_has_no_tokenizer(tmp_path: Path) -> None:
    install("standin-dfine", tmp_path)
    with pytest.raises(LodeError, match="standin-dfine reads no text"):
        Shelf(tmp_path).tokenizer("standin-dfine")


def test_a_model_lacking_a_part_is_not_installed(shelf: Shelf) -> None:
    (shelf.folder / "standin-siglip2-text").rename(shelf.folder / ".hidden")
    assert shelf.cards() == []
    install("standin-siglip2", shelf.folder)
    assert len(shelf.cards()) == 1


def test_other_bytes_do_not_take_a_name(shelf: Shelf, tmp_path: Path) -> None:
    before = record(shelf.folder / "standin-siglip2-image")
    export(STANDINS["standin-siglip2"], tmp_path / "files")
    other = replace(STANDINS["standin-siglip2"], max_batch=7)
    with pytest.raises(
        LodeError, match=r"standin-siglip2-image holds another model, and is not replaced.*lode models rm"
    ):
        installing.install(other, tmp_path / "files", shelf)
    assert record(shelf.folder / "standin-siglip2-image") == before
    assert shelf.card("standin-siglip2").max_batch == 32


def test_nothing_is_installed_of_a_model_whose_second_part_cannot_be_made(tmp_path: Path) -> None:
    card = STANDINS["standin-siglip2"]
    export(card, tmp_path / "files")
    (tmp_path / "files" / card.raw["text"].file).write_text("cut short")
    shelf = Shelf(tmp_path / "models")
    with pytest.raises(LodeError, match="is no ONNX model"):
        installing.install(card, tmp_path / "files", shelf)
    assert shelf.cards() == []
    assert [path.name for path in shelf.folder.iterdir()] == [".lode-standin-siglip2"]
    assert shelf.unfinished().keys() == {"standin-siglip2"}
    export(card, tmp_path / "files")
    installing.install(card, tmp_path / "files", shelf)
    assert shelf.unfinished() == {}


def test_every_byte_is_read_again(shelf: Shelf) -> None:
    card, folder = shelf.card("standin-siglip2"), shelf.folder / "standin-siglip2-text"
    assert shelf.damage(card) == []
    model = folder / "1" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    (folder / "tokenizer.json").unlink()
    assert shelf.damage(card) == [f"{model} is not what was installed", f"{folder / 'tokenizer.json'} is gone"]


def test_what_is_taken_away_is_gone_and_counted(shelf: Shelf) -> None:
    bytes_ = sum(path.stat().st_size for path in shelf.folder.rglob("*") if path.is_file())
    assert shelf.remove("standin-siglip2") == bytes_
    assert list(shelf.folder.iterdir()) == []
    with pytest.raises(LodeError, match="standin-siglip2 is not installed; what is: lode models ls"):
        shelf.remove("standin-siglip2")


def test_a_damaged_card_is_no_hindrance_to_the_others(shelf: Shelf) -> None:
    install("standin-dfine", shelf.folder)
    (shelf.folder / "standin-dfine" / "card.json").write_text("{")
    (shelf.folder / "somebody-elses").mkdir()
    assert [card.name for card in shelf.cards()] == ["standin-siglip2"]
    assert [folder.name for folder in shelf.unreadable()] == ["somebody-elses", "standin-dfine"]
    shelf.remove("standin-dfine")
    assert [folder.name for folder in shelf.unreadable()] == ["somebody-elses"]


def test_two_processes_do_not_make_one_model_at_once(shelf: Shelf) -> None:
    room = shelf.folder / ".lode-standin-dfine"
    room.mkdir()
    held = os.open(room, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(LodeError, match="another process is at model standin-dfine; wait until it is done"):
        install("standin-dfine", shelf.folder)
    os.close(held)
    install("standin-dfine", shelf.folder)
    assert not room.exists()


def test_a_folder_that_takes_no_files_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(LodeError, match=r"cannot write to .*models: .*; LODE_MODELS names another place"):
        install("standin-dfine", tmp_path / "models")


def test_a_vocabulary_becomes_a_tokenizer_and_a_licence_lies_beside_the_model(tmp_path: Path) -> None:
    card = replace(
        STANDINS["standin-grounding-dino"],
        name="words",
        parts={"detector": "words"},
        tokenizer="vocab.txt",
        files=(File(path="LICENSE.md"), File(path="vocab.txt")),
    )
    files = tmp_path / "files"
    export(replace(card, name="standin-grounding-dino"), files)
    words = {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
        1012: ".",
        1013: "red",
        1014: "ball",
        1015: "##s",
    }
    (files / "vocab.txt").write_text("".join(f"{words.get(i, f'[unused{i}]')}\n" for i in range(1016)))
    (files / "LICENSE.md").write_text("Do as you like.")
    shelf = Shelf(tmp_path / "models")
    installing.install(card, files, shelf)
    encoded = Tokenizer.from_file(str(shelf.tokenizer("words"))).encode("Red BALLS. unheard")
    assert encoded.ids == [101, 1013, 1014, 1015, 1012, 100, 102]
    assert encoded.type_ids == [0] * 7
    assert (tmp_path / "models" / "words" / "LICENSE.md").read_text() == "Do as you like."


def test_a_standin_that_is_there_is_left_alone(shelf: Shelf) -> None:
    model = shelf.folder / "standin-siglip2-image" / "1" / "model.onnx"
    model.write_bytes(b"of an older version")
    assert install("standin-siglip2", shelf.folder).name == "standin-siglip2"
    assert model.read_bytes() == b"of an older version"


def test_a_full_disk_is_told_of_and_leaves_nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    export(STANDINS["standin-dfine"], tmp_path / "files")
    monkeypatch.setattr("onnx.save", save)
    shelf = Shelf(tmp_path / "models")
    with pytest.raises(LodeError, match=r"cannot write to .*models: No space left on device"):
        installing.install(STANDINS["standin-dfine"], tmp_path / "files", shelf)
    assert shelf.cards() == []
