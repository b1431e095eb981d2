"""Perceptual hashes: the same picture coded anew is near, others are far."""

import numpy as np
import pytest
from PIL import Image

from lodestream.inference.frames import resized
from services.dedup.node import NODE
from services.dedup.phash import SIZE, codes, hashed
from services.dedup.projects import form_of
from tests.support.painted import jpeg, scene


def codes_of(*pictures: Image.Image) -> np.ndarray:
    return codes(hashed(np.stack([resized(picture, SIZE) for picture in pictures])))


def away(one: np.uint64, other: np.uint64) -> int:
    return int(one ^ other).bit_count()


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_a_scene_coded_anew_and_scaled_is_within_the_default(quality: int) -> None:
    for seed in range(20):
        picture = scene(seed)
        one, other = codes_of(picture, jpeg(picture.resize((240, 136)), quality))
        assert away(one, other) <= NODE.read_settings({}).bits


def test_other_scenes_are_beyond_the_largest_setting() -> None:
    found = codes_of(*map(scene, range(40)))
    assert min(away(one, other) for at, one in enumerate(found) for other in found[:at]) > 10


def test_half_of_the_bits_are_set_and_none_in_a_picture_of_one_colour() -> None:
    (busy,) = codes_of(scene(1))
    assert 28 <= int(busy).bit_count() <= 32
    rng = np.random.default_rng(0)
    flat = np.full((180, 320, 3), 90) + rng.integers(-2, 3, (180, 320, 1))
    assert codes_of(Image.fromarray(flat.astype(np.uint8))).tolist() == [0]


def test_brighter_and_darker_are_the_same_picture() -> None:
    picture = np.asarray(scene(3)).astype(float)
    one, other = codes_of(*(Image.fromarray(x.astype(np.uint8)) for x in (picture * 0.6 + 20, picture * 0.8)))
    assert away(one, other) <= 6


def test_the_first_bit_is_the_highest() -> None:
    bits = np.zeros((2, 64), np.float16)
    bits[0, 0] = bits[1, 63] = 1
    assert codes(bits).tolist() == [1 << 63, 1]


def test_a_ledger_is_another_one_where_verdicts_are() -> None:
    def form(*features: str, **given: object) -> str:
        return form_of(NODE.read_settings(given), features)

    assert form("a") == form("a", bits=3) == form("a", concurrency=2)
    assert form("phash-1", mode="phash") == form("phash-1", mode="phash", threshold=0.5)
    others = [form("a"), form("b"), form("a", threshold=0.93), form("p", mode="phash"), form("p", mode="phash", bits=2)]
    others += [form("p", "a", mode="both"), form("p", "a", mode="both", bits=1)]
    assert len(set(others)) == len(others)
