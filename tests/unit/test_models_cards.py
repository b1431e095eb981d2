"""Cards: what is known of the models that can be named, and how Triton is to serve them."""

import re

import msgspec
import pytest
from msgspec.structs import replace

from lodestream.errors import LodeError
from lodestream.models.card import CARDS, PARTS, Card, known_card, known_cards, read_card
from lodestream.models.config import config
from lodestream.models.standins import STANDINS

REAL = [card for name, card in known_cards().items() if name not in STANDINS]


@pytest.mark.parametrize("card", REAL, ids=[card.name for card in REAL])
def test_a_real_model_is_pinned_or_says_what_is_not(card: Card) -> None:
    assert (CARDS / f"{card.name}.json").is_file()
    assert card.repo.count("/") == 1
    pinned = bool(re.fullmatch("[0-9a-f]{40}", card.revision))
    digests = all(file.sha256 for file in card.files)
    assert pinned or "its commit is not known" in card.note or "neither its commit nor its digests" in card.note
    assert digests or "digests are known here" in card.note
    assert card.licence


@pytest.mark.parametrize("card", REAL, ids=[card.name for card in REAL])
def test_a_card_names_all_that_its_parts_need(card: Card) -> None:
    paths = [file.path for file in card.files]
    assert {raw.file for raw in card.raw.values()} <= set(paths)
    assert not card.tokenizer or card.tokenizer in paths
    assert len(paths) == len(set(paths))
    for part, raw in card.raw.items():
        assert raw.gives.keys() <= {tensor.name for tensor in raw.outputs}, part
    for output in ("embedding",) if card.role.startswith("image") else ("logits", "pred_boxes"):
        assert all(output in raw.gives.values() for raw in card.raw.values())
    if card.role.startswith("image"):
        assert all(tensor.shape[-1] == card.dim for raw in card.raw.values() for tensor in raw.outputs)
    if card.role == "detector":
        assert len(card.labels) == card.raw["detector"].outputs[0].shape[-1] == len(set(card.labels))


def test_no_two_models_share_a_name_in_triton() -> None:
    models = [model for card in known_cards().values() for model in card.parts.values()]
    assert len(models) == len(set(models))
    for card in known_cards().values():
        assert set(card.parts.values()) == {
            card.name if part == "detector" else f"{card.name}-{part}" for part in PARTS[card.role]
        }


def test_the_defaults_of_the_nodes_are_known() -> None:
    for name in ("siglip2-base-224", "dinov3-vits16", "grounding-dino-tiny", "dfine-s"):
        assert known_card(name).name == name


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(LodeError, match=r"no model 'clip'; there are: dfine-l, .*standin-siglip2"):
        known_card("clip")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"files": [{"path": "../../etc/passwd"}]}, "path"),
        ({"files": [{"path": "a", "sha256": "123"}]}, "sha256"),
        ({"parts": {}}, "parts and raw"),
        ({"parts": {"detector": "a/b"}}, "parts"),
        ({"role": "oracle"}, "role"),
        ({"colour": "red"}, "colour"),
        ({"role": "open-detector"}, "tokenizer"),
    ],
)
def test_a_card_with_a_mistake_is_refused(change: dict[str, object], why: str) -> None:
    fields = msgspec.to_builtins(known_card("dfine-s")) | change
    with pytest.raises(LodeError, match=f"mine.json is no card of a model: .*{why}"):
        read_card(msgspec.json.encode(fields), "mine.json")
    with pytest.raises(LodeError, match=r"mine.json is no card of a model"):
        read_card(b"{", "mine.json")


def test_the_configuration_of_a_model() -> None:
    text = config(known_card("siglip2-base-224"), "image")
    assert 'name: "siglip2-base-224-image"' in text
    assert 'backend: "onnxruntime"' in text
    assert "max_batch_size: 32" in text
    assert 'input [{ name: "image" data_type: TYPE_UINT8 dims: [224, 224, 3] }]' in text
    assert 'output [{ name: "embedding" data_type: TYPE_FP32 dims: [768] }]' in text
    assert "instance_group [{ count: 1 kind: KIND_CPU }]" in text
    assert "zero_data: true" in text
    open_detector = config(known_card("grounding-dino-tiny"), "detector", "KIND_GPU")
    assert "pixel_mask" not in open_detector
    assert open_detector.count("dims: [256] }]") == 3
    assert "max_batch_size: 1\n" in open_detector
    assert "KIND_GPU" in open_detector


def test_bytes_are_those_of_all_files() -> None:
    card = known_card("siglip2-base-224")
    assert card.bytes == 186_039_516 + 564_862_230 + 34_363_039
    assert replace(card, files=(replace(card.files[0], bytes=0), *card.files[1:])).bytes == 0
