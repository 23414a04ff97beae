"""How much arithmetic a training run takes, from the shape of the model and its tokens.

6 FLOPs for each parameter and token that meet in a matmul (2 forward, 4 backward), and 12 for each
layer, width and position of the context in attention, masked half included: the convention of
published utilisations, so that they can be used as they are.

Sources: Kaplan et al. 2020, table 1 (6 N D); Chowdhery et al. 2022 (PaLM), appendix B (attention,
and what model FLOPs utilisation means).
"""

from dataclasses import dataclass

from volano.core.errors import DataError, did_you_mean
from volano.model.config import DecoderConfig

FORWARD_AND_BACKWARD = 3  # of one forward pass: the backward one is twice as much
WIDTH_PER_LAYER = 128  # GPT-3 175B 128, Llama 2 70B 102, Llama 3 405B 130
HEAD_WIDTH = 128  # of all three
WHOLE_WIDTH = 8 * HEAD_WIDTH  # large models: their heads can be split among eight devices
VOCABULARY = 50_257  # GPT-3's, where only a number of parameters is given


@dataclass(frozen=True)
class ModelSize:
    """What of a decoder decides its cost. `feed_forward` counts neurons; `gated` ones have two
    matrices into them (SwiGLU). `parameters` as published, where that is known."""

    parameters: int
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int
    context: int
    gated: bool = True
    tied: bool = False

    @property
    def embedding(self) -> int:
        """Parameters of the embedding alone."""
        return self.vocabulary * self.width

    @property
    def in_matmuls(self) -> int:
        """Parameters that each token is multiplied with: all but an untied embedding, whose rows
        are only looked up."""
        return self.parameters - (0 if self.tied else self.embedding)

    @property
    def per_layer(self) -> float:
        """Parameters of one layer."""
        embeddings = self.embedding * (1 if self.tied else 2)
        return (self.parameters - embeddings) / self.layers


# As their papers give them. GPT-3: Brown et al. 2020, table 2.1; its feed-forward is 4 × width.
# LLaMA 65B: Touvron et al. 2023a, table 2. Llama 2 70B: Touvron et al. 2023b, table 1 and its
# config.json. Llama 3.1 405B: Grattafiori et al. 2024, table 3.
PUBLISHED = {
    "gpt-3": ModelSize(
        parameters=174_600_000_000,
        layers=96,
        width=12_288,
        heads=96,
        key_value_heads=96,
        head_width=128,
        feed_forward=49_152,
        vocabulary=50_257,
        context=2048,
        gated=False,
        tied=True,
    ),
    "llama-65b": ModelSize(
        65_200_000_000, 80, 8192, 64, 64, 128, 22_016, vocabulary=32_000, context=2048
    ),
    "llama-2-70b": ModelSize(
        68_976_648_192, 80, 8192, 64, 8, 128, 28_672, vocabulary=32_000, context=4096
    ),
    "llama-3.1-405b": ModelSize(
        405_853_388_800, 126, 16_384, 128, 8, 128, 53_248, vocabulary=128_256, context=8192
    ),
}


def published_size(name: str) -> ModelSize:
    """The model of that name. Raises DataError with the nearest one."""
    if name not in PUBLISHED:
        raise DataError(f"no model '{name}'", "--model", did_you_mean(name, PUBLISHED))
    return PUBLISHED[name]


def size_of(shape: DecoderConfig) -> ModelSize:
    """Of a decoder of ours, or of a Hugging Face checkpoint's shape."""
    return ModelSize(
        parameters=shape.parameters,
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        key_value_heads=shape.key_value_heads,
        head_width=shape.head_width,
        feed_forward=shape.feed_forward,
        vocabulary=shape.vocabulary,
        context=shape.context,
        tied=shape.tied,
    )


def usual_size(parameters: int, context: int) -> ModelSize:
    """A plain decoder with that many parameters, for whoever knows no more of it: a layer for each
    128 of width, 12 × width² parameters a layer, GPT-3's vocabulary, embedding and head tied."""
    width = _usual_width(parameters)
    layers = max(1, round((parameters - VOCABULARY * width) / (12 * width * width)))
    heads = max(1, width // HEAD_WIDTH)
    return ModelSize(
        parameters=parameters,
        layers=layers,
        width=width,
        heads=heads,
        key_value_heads=heads,
        head_width=HEAD_WIDTH,
        feed_forward=4 * width,
        vocabulary=VOCABULARY,
        context=context,
        gated=False,
        tied=True,
    )


def _usual_width(parameters: int) -> int:
    if parameters < 3 * VOCABULARY * HEAD_WIDTH:
        raise DataError(
            f"{parameters:,} parameters are hardly more than an embedding of {VOCABULARY:,} tokens",
            "--parameters",
            "Give a shape by --hf FOLDER, or plan a recipe.",
        )
    widths: list[int] = [
        *range(HEAD_WIDTH, WHOLE_WIDTH * 4, HEAD_WIDTH),
        *range(4096, 65_537, WHOLE_WIDTH),
    ]
    off: list[float] = [abs(_parameters_at(width) - parameters) for width in widths]
    return widths[off.index(min(off))]


def _parameters_at(width: int) -> float:
    return 12.0 * width * width * max(1.0, width / WIDTH_PER_LAYER) + VOCABULARY * width


def attention_flops(size: ModelSize) -> float:
    """Of queries with keys and weights with values, a token, forward and backward."""
    return 12.0 * size.layers * size.heads * size.head_width * size.context


def flops_per_token(size: ModelSize) -> float:
    """Of training, a token: 6 N + 12 · layers · width of queries · context."""
    return 6.0 * size.in_matmuls + attention_flops(size)


def forward_flops_per_token(size: ModelSize) -> float:
    """Of reading a token, or of generating one with all of the context before it."""
    return flops_per_token(size) / FORWARD_AND_BACKWARD


def dpo_flops_per_token(size: ModelSize) -> float:
    """Of a token of either side of a preference: the policy learns, the reference reads.
    Source: Rafailov et al. 2023, equation 7."""
    return flops_per_token(size) + forward_flops_per_token(size)
