"""The words that the stand-ins know, and the tokenizers that cut texts into them."""

from typing import Any

import numpy as np

SHADES: dict[str, list[tuple[float, float, float]]] = {
    "red": [(1, 0, 0), (0.6, 0, 0), (0.85, 0.2, 0.2)],
    "orange": [(1, 0.55, 0)],
    "yellow": [(1, 1, 0), (0.9, 0.8, 0.15), (0.7, 0.7, 0)],
    "green": [(0, 1, 0), (0, 0.5, 0), (0.2, 0.7, 0.25)],
    "cyan": [(0, 1, 1), (0, 0.6, 0.6)],
    "blue": [(0, 0, 1), (0, 0, 0.55), (0.2, 0.3, 0.9)],
    "purple": [(1, 0, 1), (0.5, 0, 0.5), (0.6, 0.2, 0.8), (1, 0.45, 0.75)],
    "white": [(1, 1, 1)],
    "grey": [(0.5, 0.5, 0.5), (0.3, 0.3, 0.3), (0.75, 0.75, 0.75)],
    "black": [(0, 0, 0)],
}
"""What a colour looks like, red, green and blue between 0 and 1; a pixel has the colour it is nearest to."""
NAMELESS = [(0.5, 0.3, 0.1), (0.8, 0.6, 0.5)]
"""Near to some colours, and none of them."""
COLOURS = list(SHADES)
SHAPES = ["ball", "square", "triangle"]
ALSO = {
    "ball": ["balls", "circle", "circles", "disc", "disk", "dot", "sphere"],
    "square": ["squares", "box", "boxes", "block", "cube"],
    "triangle": ["triangles"],
    "purple": ["magenta", "pink", "violet"],
    "grey": ["gray"],
}
"""Other words for the same."""
FILLERS = """
a an the of on in at with and or is are this that there photo picture image frame video showing shows some one to by
near beside above below under over background big small large little
"""
"""Words that say nothing to the stand-ins."""
PAD, EOS, BOS, UNKNOWN = 0, 1, 2, 3
"""Of SigLIP 2's tokenizer."""
BERT_SIZE, BERT_UNKNOWN, BERT_CLS, BERT_SEP, BERT_STOP = 30522, 100, 101, 102, 1012


def meanings() -> dict[str, str]:
    """Every word that means a colour or a shape."""
    return {word: what for what in [*COLOURS, *SHAPES] for word in [what, *ALSO.get(what, [])]}


def table(ids: dict[str, int], size: int, unknown: list[int]) -> np.ndarray:
    """What each token means: (size, colours + shapes + 1) ones and zeros; the last column is a word nobody knows."""
    columns = [*COLOURS, *SHAPES]
    rows = np.zeros((size, len(columns) + 1), np.float32)
    for word, what in meanings().items():
        rows[ids[word], columns.index(what)] = 1
    rows[unknown, -1] = 1
    return rows


def siglip_words() -> dict[str, int]:
    """Token ids by word, with SigLIP 2's special tokens."""
    special = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS, "<unk>": UNKNOWN}
    return special | {word: 4 + i for i, word in enumerate([*meanings(), *FILLERS.split()])}


def bert_words() -> dict[str, int]:
    """Token ids by word, with BERT's special tokens; letters, for the words that it does not know."""
    special = {"[PAD]": 0, "[UNK]": BERT_UNKNOWN, "[CLS]": BERT_CLS, "[SEP]": BERT_SEP, ".": BERT_STOP, "?": 1029}
    letters = [mark + letter for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    words = dict.fromkeys([*meanings(), *FILLERS.split(), *letters])
    return special | {word: 2000 + i for i, word in enumerate(words)}


def siglip_tokenizer() -> str:
    """tokenizer.json: lower case, cut at spaces and punctuation, an end token, filled up to 64."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer: Any = Tokenizer(models.WordLevel(siglip_words(), unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(".", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", EOS)])
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding(length=64, pad_id=PAD, pad_token="<pad>")
    return tokenizer.to_str(pretty=True)


def bert_tokenizer() -> str:
    """tokenizer.json: BERT's way, so that a word that is not known becomes its letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer: Any = Tokenizer(models.WordPiece(bert_words(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", special_tokens=[("[CLS]", BERT_CLS), ("[SEP]", BERT_SEP)]
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer.to_str(pretty=True)
