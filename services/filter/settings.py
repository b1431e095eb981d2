"""What a filter can be told, and what of it is wrong before anything runs."""

from typing import Annotated

from msgspec import Meta, field

from lodestream.errors import LodeError
from lodestream.node import Settings, setting

Prompt = Annotated[str, Meta(min_length=1, max_length=300)]
Level = Annotated[float, Meta(ge=0, le=255)]
MOST = 64


class Filter(Settings, kw_only=True, frozen=True):
    """Which frames are kept: by what needs no model first, then by prompts."""

    keep: Annotated[
        list[Prompt],
        setting(
            "a frame is kept if one of these fits it; one in words, as in the caption of a picture",
            max_length=MOST,
            examples=[["a person doing a handstand"]],
        ),
    ] = field(default_factory=list)
    drop: Annotated[
        list[Prompt],
        setting(
            "a frame that one of these fits better than all of `keep`, or over `threshold` where there is no `keep`, "
            "is dropped",
            max_length=MOST,
            examples=[["a slide with text"]],
        ),
    ] = field(default_factory=list)
    threshold: Annotated[
        float, setting("the probability from which on a prompt fits; `lode tune` shows what it would keep", ge=0, le=1)
    ] = 0.5
    margin: Annotated[
        float, setting("how much more probable the best of `keep` must be than the best of `drop`", ge=0, le=1)
    ] = 0.0
    top_k: (
        Annotated[int, setting("of the frames of a video that are left the best by `keep`, at most", ge=1, le=100_000)]
        | None
    ) = None
    model: Annotated[
        str, setting("reads pictures and prompts; by its name in `lode models ls`", min_length=1, max_length=64)
    ] = "siglip2-base-224"
    temperature: (
        Annotated[
            float,
            setting(
                "in place of the model's own: the probability is sigmoid(temperature * cosine + bias)", gt=0, le=1000
            ),
        ]
        | None
    ) = None
    min_sharpness: (
        Annotated[
            float,
            setting(
                "variance of the Laplacian of luma, of the frame scaled down to 256 pixels on its shorter side: "
                "the same threshold for every resolution",
                ge=0,
                examples=[40],
            ),
        ]
        | None
    ) = None
    min_brightness: Annotated[Level, setting("mean luma, 0 to 255")] | None = None
    max_brightness: Annotated[Level, setting("mean luma, 0 to 255")] | None = None
    min_contrast: Annotated[float, setting("standard deviation of luma, 0 to 127.5", ge=0, le=128)] | None = None
    min_entropy: Annotated[float, setting("bits of the histogram of luma, 0 to 8", ge=0, le=8)] | None = None
    max_black_bars: (
        Annotated[float, setting("share of the frame in black bars at its edges", ge=0, le=1, examples=[0.3])] | None
    ) = None
    max_solid: (
        Annotated[float, setting("share of the frame within 16 grey levels: 1 for one colour", ge=0, le=1)] | None
    ) = None
    min_width: Annotated[int, setting("pixels", ge=1, le=65_535)] | None = None
    min_height: Annotated[int, setting("pixels", ge=1, le=65_535)] | None = None
    min_aspect: Annotated[float, setting("width by height: 1.78 for 16:9, 0.56 for upright", gt=0)] | None = None
    max_aspect: Annotated[float, setting("width by height", gt=0)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where the settings do not agree with each other."""
        prompts = [*self.keep, *self.drop]
        for place, prompt in enumerate(prompts):
            if not prompt.strip():
                raise ValueError("keep, drop: a prompt without a word in it")
            if prompt in prompts[:place]:
                raise ValueError(f"keep, drop: {prompt!r} stands there twice")
        for low, high in (("min_brightness", "max_brightness"), ("min_aspect", "max_aspect")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low}: {least:g} is over {high}, {most:g}, so no frame is kept")
        if self.top_k and not self.keep:
            raise ValueError("top_k: ranks by how well `keep` fits, and there is no `keep`")
        if self.margin and not (self.keep and self.drop):
            raise ValueError("margin: is of the best of `keep` over the best of `drop`; both are needed")
        if prompts:
            _check_model(self.model)


def _check_model(name: str) -> None:
    """Raises ValueError for a model that is known, and that reads no prompts."""
    from lodestream.models.card import known_card

    try:
        card = known_card(name)
    except LodeError:
        return  # somebody's own: the worker looks when it has it
    if card.role != "image-text":
        raise ValueError(f"model: {name} reads no prompts: it is for {card.role}; siglip2-base-224 does")
