"""Which shape a decoder of a given number of parameters, or of a given depth, should take.

One dial sets everything: the other dimensions follow from it. Apart from the decoder and free of
torch, so that a plan can be drawn without it.
"""

from functools import lru_cache
from math import log2, sqrt

from volano.core.errors import RecipeError
from volano.model.config import DecoderConfig

HEAD_WIDTH = 64  # of every Llama below 3B; two bf16 tiles of the CPU's matmul
TOLERANCE = 1.3  # a shape further than this factor from what was asked for is refused
WIDTHS = (16, 32, 48, *range(64, 16_385, 64))
DEEPEST = round(sqrt(WIDTHS[-1] / 8))  # 45 layers


@lru_cache(maxsize=1024)  # of thousands of shapes; an ablation asks for one again and again
def shape_for(parameters: int, vocabulary: int, context: int) -> DecoderConfig:
    """The shape whose number of parameters, tied embedding included, is nearest to `parameters`.

    Rule: heads of 64, feed-forward 3 × width (SwiGLU's 8/3 rounded up to whole tiles), layers
    near √(width / 8): 4 at width 128, 8 at 512, 16 at 2,048 as in Llama 3.2 1B. A factor of two
    away from that depth costs as much as missing the count by a quarter of a doubling. Shallow and
    wide on purpose: on a CPU it is faster, and Kaplan et al. 2020 (figure 5) find loss flat over
    a tenfold range of width / layers. Raises RecipeError where no shape comes within 30 %.
    """
    best = min(
        (
            _shape(width, layers, vocabulary, context)
            for width in WIDTHS
            for layers in range(1, 2 * round(sqrt(width / 8)) + 3)
        ),
        key=lambda shape: (
            abs(log2(shape.parameters / max(parameters, 1)))
            + 0.25 * abs(log2(shape.layers / sqrt(shape.width / 8)))
        ),
    )
    if not 1 / TOLERANCE <= best.parameters / max(parameters, 1) <= TOLERANCE:
        raise RecipeError(
            f"no decoder with a vocabulary of {vocabulary:,} has about {parameters:,} parameters",
            "model.parameters",
            f"The nearest has {best.parameters:,}; change parameters or the vocabulary.",
        )
    return best


def shape_of_depth(depth: int, vocabulary: int, context: int) -> DecoderConfig:
    """The shape of `depth` layers, by the rule of `shape_for` read the other way.

    Rule: width nearest to 8 · depth² among 16, 32, 48 and the multiples of 64 (the narrower of two
    as near): 128 at depth 4, 512 at 8, 1,152 at 12, 2,048 at 16. Raises RecipeError where that
    width is beyond the widest.
    """
    if not 1 <= depth <= DEEPEST:
        raise RecipeError(
            f"no decoder has {depth} layers by the rule width = 8 · depth²",
            "model.depth",
            f"Set 1 to {DEEPEST}, or give parameters instead.",
        )
    width = min(WIDTHS, key=lambda width: abs(width - 8 * depth**2))
    return _shape(width, depth, vocabulary, context)


def _shape(width: int, layers: int, vocabulary: int, context: int) -> DecoderConfig:
    heads = max(1, width // HEAD_WIDTH)
    return DecoderConfig(
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=heads,
        key_value_heads=heads,
        feed_forward=3 * width,
        context=context,
    )
