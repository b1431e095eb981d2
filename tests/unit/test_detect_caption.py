"""The caption of an open detector, tokenised by a real tokenizer with a small vocabulary."""

from pathlib import Path

import pytest

from lodestream.errors import Malformed
from services.detect.caption import text, tokenised

pytest.importorskip("tokenizers")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PIECES = [*"abcdefghijklmnopqrstuvwxyz.-", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
WORDS = ["red", "blue", "ball", "square", "hand", "##stand", "a"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT's way: lower case, no accents, pieces of words, a token at each end; told to cut and to fill up."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    ids = {token: number for number, token in enumerate(dict.fromkeys([*SPECIAL, *WORDS, *PIECES]))}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    made.enable_truncation(4)
    made.enable_padding(length=9)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def read(tokenizer: Path, *labels: str, length: int = 32) -> list[list[str]]:
    """The tokens of each label, as text."""
    from tokenizers import Tokenizer

    caption, splitter = tokenised(labels, tokenizer, length), Tokenizer.from_file(str(tokenizer))
    return [[splitter.id_to_token(int(caption.input_ids[place])) for place in span] for span in caption.spans]


def test_labels_are_phrases_that_end_with_a_full_stop() -> None:
    assert text(["Red ball", "hand"]) == "red ball . hand ."


def test_each_label_knows_its_tokens(tokenizer: Path) -> None:
    assert read(tokenizer, "red ball", "blue ball", "a handstand") == [
        ["red", "ball"],
        ["blue", "ball"],
        ["a", "hand", "##stand"],
    ]


def test_full_stops_hyphens_and_accents(tokenizer: Path) -> None:
    assert read(tokenizer, "ballé", "red-ball", "a") == [["ball", "##e"], ["red", "-", "ball"], ["a"]]


def test_the_caption_is_filled_up_to_the_length_of_the_model(tokenizer: Path) -> None:
    caption = tokenised(["red ball"], tokenizer, 8, pad=7)
    assert caption.attention_mask.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert caption.input_ids.tolist()[5:] == [7, 7, 7]
    assert caption.spans == [[1, 2]]
    rows = caption.inputs(3)
    assert {name: (row.shape, str(row.dtype)) for name, row in rows.items()} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask"), ((3, 8), "int64")
    )
    assert (rows["input_ids"] == caption.input_ids).all()
    assert not rows["token_type_ids"].any()


def test_the_tokenizers_own_limits_do_not_count_but_those_of_the_model(tokenizer: Path) -> None:
    labels = ["red ball", "blue ball", "hand"]
    assert [len(span) for span in tokenised(labels, tokenizer, 10).spans] == [2, 2, 1]
    with pytest.raises(Malformed, match="too many labels: they are 10 tokens; the model takes 9"):
        tokenised(labels, tokenizer, 9)


def test_a_label_of_nothing_that_is_read_is_refused(tokenizer: Path) -> None:
    with pytest.raises(Malformed, match="unknown label"):
        tokenised(["ball", "\u200d"], tokenizer, 16)
