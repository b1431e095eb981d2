"""Stand-ins: the form of the real exports, and eyes for colours and shapes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from lodestream.models.card import Card, Tensor, known_card
from lodestream.models.graft import signature
from lodestream.models.shelf import Shelf
from lodestream.models.standins import CLASSES, REAL, STANDINS, export, install
from tests.support.models import run, unit
from tests.support.painted import jpeg, painted, place, scene, seen

TEXTS = ["a red ball", "a photo of a blue square on a table", "green triangles", "Yellow balls.", "a person, running"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """All of them, installed."""
    folder = tmp_path_factory.mktemp("models")
    for name in STANDINS:
        install(name, folder)
    return Shelf(folder)


@pytest.mark.parametrize("name", STANDINS)
def test_inputs_and_outputs_are_those_of_the_real_export(name: str, tmp_path: Path) -> None:
    card, real = STANDINS[name], known_card(REAL[name])
    export(card, tmp_path)
    for part, raw in real.raw.items():
        graph = onnx.load(tmp_path / card.raw[part].file).graph
        for drawn, pinned in ((graph.input, raw.inputs), (graph.output, raw.outputs)):
            assert [each.name for each in drawn] == [each.name for each in pinned]
            for have, want in zip(drawn, pinned, strict=True):
                kind, shape = signature(have)
                assert kind == want.type
                assert len(shape) == len(want.shape)
                assert fixed(want, shape) == fixed(want, want.shape)


def fixed(tensor: Tensor, shape: tuple[int | str, ...]) -> list[int]:
    """The dimensions that are the same for every picture: a stand-in takes any number of any size."""
    free = {"pixel_values": (0, 2, 3), "pixel_mask": (0, 1, 2)}.get(tensor.name, (0,))
    return [d for i, d in enumerate(shape) if isinstance(d, int) and i not in free]


def test_what_triton_takes_and_gives_is_the_same_but_for_the_size_of_pictures() -> None:
    for name, whose in REAL.items():
        ours, real = STANDINS[name], known_card(whose)
        assert (ours.role, ours.dim, ours.labels, ours.text_length) == (
            real.role,
            real.dim,
            real.labels,
            real.text_length,
        )
        assert (ours.logit_scale, ours.logit_bias) == (real.logit_scale, real.logit_bias)
        assert ours.parts.keys() == real.parts.keys()


def fits(shelf: Shelf, images: np.ndarray, texts: list[str]) -> np.ndarray:
    """How well each picture fits each text, between 0 and 1, as SigLIP defines it."""
    card = shelf.card("standin-siglip2")
    tokenizer = Tokenizer.from_file(str(shelf.tokenizer(card.name)))
    ids = np.array([each.ids for each in tokenizer.encode_batch(texts)], np.int64)
    said = run(shelf.folder, card.parts["text"], input_ids=ids)["embedding"]
    shown = run(shelf.folder, card.parts["image"], image=images)["embedding"]
    return 1 / (1 + np.exp(-(card.logit_scale * unit(shown) @ unit(said).T + card.logit_bias)))


def test_towers_agree_on_what_is_shown(shelf: Shelf) -> None:
    shown = [["red ball"], ["blue square"], ["green triangle"], ["yellow ball"], ["red ball", "blue square"], []]
    images = seen([jpeg(painted(*shapes)) for shapes in shown], 224)
    scores = fits(shelf, images, TEXTS)
    expected = np.zeros((6, 5), bool)
    expected[[0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 0, 1]] = True
    assert (scores[expected] > 0.9).all()
    assert (scores[~expected] < 0.1).all()


def test_colour_and_shape_are_told_apart(shelf: Shelf) -> None:
    images = seen([jpeg(painted("red square", "blue ball"))], 224)
    scores = fits(
        shelf, images, ["a red ball", "a blue square", "a red square", "a big blue ball", "a ball", "something red"]
    )
    assert (scores[0] > 0.5).tolist() == [False, False, True, True, True, True]
    assert fits(shelf, images, ["red", "green"])[0].round().tolist() == [1, 0]


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (30, 120, 60), (120, 90, 60)])
def test_the_ground_does_not_matter(shelf: Shelf, ground: tuple[int, int, int]) -> None:
    images = seen([jpeg(painted("red ball", ground=ground, size=size), 60) for size in ((320, 180), (1280, 720))], 224)
    assert (fits(shelf, images, ["a red ball"]) > 0.9).all()
    assert (fits(shelf, images, ["a red square", "a blue ball"]) < 0.1).all()


def test_texts_are_cut_as_siglip_cuts_them(shelf: Shelf) -> None:
    tokenizer = Tokenizer.from_file(str(shelf.tokenizer("standin-siglip2")))
    short, long = tokenizer.encode("A Red BALL!"), tokenizer.encode("red " * 100)
    assert short.ids == [*tokenizer.encode("a red ball").ids[:3], 1] + [0] * 60
    assert len(long.ids) == 64
    assert long.ids[-1] == 1


def test_a_frame_that_was_encoded_again_stays_the_same_scene(shelf: Shelf) -> None:
    images = [scene(seed) for seed in range(8)]
    smaller = [image.resize((600, 338)) for image in images]
    versions = [seen([jpeg(image, q) for image in images], 224) for q in (95, 75, 50)] + [seen(smaller, 224)]
    first, *others = [unit(run(shelf.folder, "standin-dinov3-image", image=each)["embedding"]) for each in versions]
    for other in others:
        alike = first @ other.T
        assert np.diag(alike).min() > 0.95
        assert alike[~np.eye(8, dtype=bool)].max() < 0.7


def test_a_picture_of_nothing_has_a_direction(shelf: Shelf) -> None:
    blank = np.zeros((2, 224, 224, 3), np.uint8)
    assert np.isfinite(unit(run(shelf.folder, "standin-dinov3-image", image=blank)["embedding"])).all()
    assert np.isfinite(unit(run(shelf.folder, "standin-siglip2-image", image=blank)["embedding"])).all()


def ask(shelf: Shelf, images: np.ndarray, caption: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Tokens of the caption; the scores of every query and token; the boxes."""
    card = shelf.card("standin-grounding-dino")
    encoded = Tokenizer.from_file(str(shelf.tokenizer(card.name))).encode(caption)
    rows = {"input_ids": encoded.ids, "token_type_ids": encoded.type_ids, "attention_mask": encoded.attention_mask}
    texts = {
        name: np.array([row + [0] * (card.text_length - len(row))] * len(images), np.int64)
        for name, row in rows.items()
    }
    gave = run(shelf.folder, card.parts["detector"], image=images, **texts)
    return encoded.tokens, 1 / (1 + np.exp(-gave["logits"])), gave["pred_boxes"]


def test_words_find_what_they_name(shelf: Shelf) -> None:
    images = seen([jpeg(painted("red ball", "blue square", "red ball"))], 256)
    tokens, scores, boxes = ask(shelf, images, "red ball . blue square . green ball . dog .")
    assert scores.shape == (1, 900, 256)
    best = scores[0].max(0)
    assert [token for token, score in zip(tokens, best, strict=False) if score > 0.5] == [
        "red",
        "ball",
        "blue",
        "square",
    ]
    assert (best[len(tokens) :] == 0).all()
    found = boxes[0][scores[0, :, tokens.index("ball")] > 0.5]
    assert len(found) == 2
    assert close(np.sort(found[:, 0]), [middle(0, 3), middle(2, 3)])


def test_a_phrase_of_one_word_is_enough_and_an_unknown_word_spoils_it(shelf: Shelf) -> None:
    images = seen([jpeg(painted("red ball", "blue ball"))], 256)
    for caption, count in (
        ("ball .", 2),
        ("red .", 1),
        ("a red ball .", 1),
        ("red dog .", 0),
        ("square .", 0),
        (".", 0),
    ):
        _, scores, _ = ask(shelf, images, caption)
        assert (scores[0].max(1) > 0.5).sum() == count, caption


def test_the_closed_detector_knows_shapes_by_labels_of_coco(shelf: Shelf) -> None:
    card = shelf.card("standin-dfine")
    images = seen([jpeg(painted("red ball", "green square", "blue triangle")), jpeg(painted())], 256)
    gave = run(shelf.folder, card.parts["detector"], image=images)
    assert gave["logits"].shape == (2, 300, 80)
    queries, classes = np.nonzero(gave["logits"][0] > 0)
    order = gave["pred_boxes"][0][queries, 0].argsort()
    assert [card.labels[i] for i in classes[order]] == list(CLASSES.values())
    for number, box in enumerate(gave["pred_boxes"][0][queries][order]):
        left, top, right, bottom = (edge / whole for edge, whole in zip(place(number, 3), (640, 360) * 2, strict=True))
        wanted = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        assert close(box, wanted) if number < 2 else np.allclose(box, wanted, atol=0.05)  # a tip is too thin to be seen
    assert gave["logits"][1].max() < 0


def middle(number: int, count: int) -> float:
    left, _, right, _ = place(number, count)
    return (left + right) / 2 / 640


def close(have: np.ndarray, want: list[float]) -> bool:
    """To a fiftieth of the picture."""
    return bool(np.allclose(have, want, atol=0.02))


def test_what_is_made_is_always_the_same(shelf: Shelf, tmp_path: Path) -> None:
    for name in STANDINS:
        install(name, tmp_path)
        install(name, shelf.folder)  # the same bytes under the same name
    one, other = (
        sorted((p.relative_to(f), p.read_bytes()) for p in f.rglob("*") if p.is_file())
        for f in (tmp_path, shelf.folder)
    )
    assert one == other


def test_nothing_of_a_workshop_is_left(shelf: Shelf) -> None:
    assert sorted(path.name for path in shelf.folder.iterdir()) == sorted(
        model for card in STANDINS.values() for model in card.parts.values()
    )
    assert [card.name for card in shelf.cards()] == sorted(STANDINS)
    assert isinstance(shelf.card("standin-dfine"), Card)
