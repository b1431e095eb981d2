"""Graft: bytes of a picture in, as normalised by hand; nothing else of a model changes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from lodestream.errors import LodeError
from lodestream.models import install as installing
from lodestream.models.card import Card, Raw, Tensor
from lodestream.models.graft import check, graft, load, signature
from lodestream.models.install import install
from lodestream.models.shelf import Shelf
from lodestream.models.standins import STANDINS, export
from lodestream.models.standins import install as install_standin
from tests.support.models import run, run_file
from tests.support.painted import jpeg, painted, seen

SIDE = 8


def by_hand(card: Card, images: np.ndarray) -> np.ndarray:
    """What the makers of a model do to a picture: (n, 3, height, width) floats."""
    scaled = images.astype(np.float32) / 255
    return ((scaled - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", STANDINS)
def test_a_grafted_model_gives_what_the_raw_one_gives_for_pixels_normalised_by_hand(name: str, tmp_path: Path) -> None:
    card = STANDINS[name]
    export(card, tmp_path / "raw")
    install_standin(name, tmp_path / "models")
    images = seen(
        [jpeg(painted("red ball", *more)) for more in ([], ["blue square"], ["green triangle"] * 2)], card.width
    )
    tolerance = 1e-4 if card.dim else 0.02  # a pixel between two colours may fall either way
    texts = np.random.default_rng(0).integers(0, 40, (3, card.text_length), dtype=np.int64)
    for part, raw in card.raw.items():
        names = {tensor.name for tensor in raw.inputs}
        given = {n: texts for n in names if not n.startswith("pixel")} | (
            {"attention_mask": np.ones_like(texts)} if "attention_mask" in names else {}
        )
        masks = {"pixel_mask": np.ones((3, card.height, card.width), np.int64)} if "pixel_mask" in names else {}
        pixels = {"pixel_values": by_hand(card, images)} if "pixel_values" in names else {}
        want = run_file(tmp_path / "raw" / raw.file, **pixels, **masks, **given)
        have = run(tmp_path / "models", card.parts[part], **({"image": images} if pixels else {}), **given)
        assert have.keys() == set(raw.gives.values())
        for theirs, ours in raw.gives.items():
            assert have[ours].dtype == np.float32
            np.testing.assert_allclose(have[ours], want[theirs], atol=tolerance)


def toy(kind: str = "float32", mask: bool = True) -> tuple[Card, onnx.ModelProto]:
    """A detector's worth of an export: its pixels times a weight, and how much of the mask is set."""
    tensor = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}[kind]
    inputs = [Tensor(name="pixel_values", type=kind, shape=(1, 3, SIDE, SIDE))]  # type: ignore[arg-type]
    inputs += [Tensor(name="pixel_mask", type="int64", shape=(1, SIDE, SIDE))] if mask else []
    outputs = (Tensor(name="raw", type=kind, shape=(1, 3)), Tensor(name="unused", type=kind, shape=(1, 3)))  # type: ignore[arg-type]
    raw = Raw(file="onnx/toy.onnx", inputs=tuple(inputs), outputs=outputs, gives={"raw": "embedding"})
    nodes = [
        helper.make_node("Mul", ["pixel_values", "weight"], ["heavy"]),
        helper.make_node("ReduceMean", ["heavy"], ["raw"], axes=[2, 3], keepdims=0),
    ]
    nodes += [helper.make_node("Neg", ["raw"], ["unused"])]
    if mask:
        nodes[0] = helper.make_node("Mul", ["pixel_values", "masked"], ["heavy"])
        nodes.insert(0, helper.make_node("Mul", ["floats", "weight"], ["masked"]))
        nodes.insert(0, helper.make_node("ReduceMean", ["counted"], ["floats"]))
        nodes.insert(0, helper.make_node("Cast", ["pixel_mask"], ["counted"], to=tensor))
    weight = numpy_helper.from_array(np.full((3, SIDE, SIDE), 2, kind), "weight")
    values = [
        [helper.make_tensor_value_info(t.name, TensorProto.INT64 if t.type == "int64" else tensor, t.shape) for t in ts]
        for ts in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "toy", *values, [weight]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    card = Card(
        name="toy", role="image", summary="a toy", licence="none", parts={"image": "toy-image"}, raw={"image": raw},
        height=SIDE, width=SIDE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), dim=3,
    )  # fmt: skip
    return card, model


def save(model: onnx.ModelProto, folder: Path) -> Path:
    (folder / "onnx").mkdir(parents=True)
    onnx.save(model, folder / "onnx" / "toy.onnx")
    return folder


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize("mask", [True, False])
def test_weights_of_16_bits_and_masks_are_seen_to(kind: str, mask: bool, tmp_path: Path) -> None:
    card, model = toy(kind, mask)
    install(card, save(model, tmp_path / "files"), Shelf(tmp_path / "models"))
    images = np.random.default_rng(1).integers(
        0, 256, (5, SIDE, SIDE, 3), np.uint8
    )  # more than the one it was exported for
    have = run(tmp_path / "models", "toy-image", image=images)
    want = 2 * by_hand(card, images).mean((2, 3))
    assert have.keys() == {"embedding"}
    np.testing.assert_allclose(have["embedding"], want, atol=1e-5 if kind == "float32" else 1e-2)


def test_what_goes_in_and_comes_out_is_what_the_configuration_says(tmp_path: Path) -> None:
    card, model = toy("float16")
    grafted = graft(model, card, "image").graph
    assert [(each.name, *signature(each)) for each in grafted.input] == [("image", "uint8", ("n", SIDE, SIDE, 3))]
    assert [(each.name, *signature(each)) for each in grafted.output] == [("embedding", "float32", ("n", 3))]


def test_weights_in_a_file_beside_the_graph_are_taken_in(tmp_path: Path) -> None:
    card, model = toy()
    external_data_helper.convert_model_to_external_data(model, location="toy.onnx_data", size_threshold=0)
    files = save(model, tmp_path / "files")
    assert (files / "onnx" / "toy.onnx_data").is_file()
    install(card, files, Shelf(tmp_path / "models"))
    assert not list((tmp_path / "models" / "toy-image" / "1").glob("*_data"))
    black = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(
        run(tmp_path / "models", "toy-image", image=black)["embedding"][0], [-5, -8 / 3, -1.5], rtol=1e-5
    )


def test_a_large_model_keeps_its_weights_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, model = toy()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(5000, np.float32), "ballast"))
    monkeypatch.setattr(installing, "LARGE", 1000)
    install(card, save(model, tmp_path / "files"), Shelf(tmp_path / "models"))
    assert (tmp_path / "models" / "toy-image" / "1" / "model.onnx.data").stat().st_size >= 20_000
    assert run(tmp_path / "models", "toy-image", image=np.zeros((1, SIDE, SIDE, 3), np.uint8))["embedding"].shape == (
        1,
        3,
    )


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_an_export_that_is_not_as_its_card_says_is_refused(part: str) -> None:
    card, model = toy()
    tensors = getattr(card.raw["image"], part)
    other = replace(card.raw["image"], **{part: (replace(tensors[0], name="other"), *tensors[1:])})
    with pytest.raises(LodeError, match=rf"onnx/toy.onnx of toy has {part} .*float32 \(1, 3.*; its card says .*other"):
        check(model, replace(card, raw={"image": other}), "image")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.onnx").write_text("<html>not found</html>")
    with pytest.raises(LodeError, match="is no ONNX model"):
        load(tmp_path / "page.onnx")
