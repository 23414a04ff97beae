"""What a decoder is made of, and which family of Hugging Face it belongs to.

A family is a model_type that transformers, vLLM and llama.cpp know. Features are named one by one,
and a family is no more than the set of features that its config.json can express: that is checked
here, so that every decoder that can be built can also be saved. Free of torch, so that a plan can
be drawn without it.

Sources: the configuration classes of transformers 5.24 (llama, mistral, qwen2, qwen3, smollm3).
"""

from dataclasses import dataclass
from typing import Literal

from volano.core.errors import RecipeError

RopeKind = Literal["linear", "dynamic", "llama3", "yarn"]
AttentionBias = Literal["none", "inputs", "all"]  # inputs: queries, keys and values


@dataclass(frozen=True)
class Family:
    """The features that the config.json of one model_type can express."""

    architecture: str
    attention_bias: tuple[AttentionBias, ...] = ("none",)
    qk_norm: bool = False
    feed_forward_bias: bool = False
    window: bool = False
    layers_differ: bool = False  # a window in some layers only
    unrotated_layers: bool = False

    def lacks(self, config: "DecoderConfig") -> str:
        """The first feature of `config` that this family has no word for; empty where none."""
        if config.attention_bias not in self.attention_bias:
            return f"attention_bias {config.attention_bias!r}"
        if config.qk_norm != self.qk_norm:  # in every Qwen3, and in no other
            return f"qk_norm {config.qk_norm}"
        for name, value, known in (
            ("feed_forward_bias", config.feed_forward_bias, self.feed_forward_bias),
            ("window", config.window, self.window),
            ("full_layers", config.full_layers, self.layers_differ),
            ("unrotated_layers", config.unrotated_layers, self.unrotated_layers),
        ):
            if value and not known:
                return f"{name} {value}"
        return ""


# The first that can express a decoder is its family, unless another is named.
FAMILIES = {
    "llama": Family("LlamaForCausalLM", ("none", "all"), feed_forward_bias=True),
    "mistral": Family("MistralForCausalLM", window=True),
    "qwen2": Family("Qwen2ForCausalLM", ("inputs",), window=True, layers_differ=True),
    "qwen3": Family(
        "Qwen3ForCausalLM", ("none", "all"), qk_norm=True, window=True, layers_differ=True
    ),
    "smollm3": Family(
        "SmolLM3ForCausalLM",
        ("none", "all"),
        feed_forward_bias=True,
        window=True,
        layers_differ=True,
        unrotated_layers=True,
    ),
}


@dataclass(frozen=True)
class RopeScaling:
    """How the frequencies of the rotation are stretched for a context beyond the trained one.

    Fields as Hugging Face has them: `original_context` is the context before stretching, in tokens
    (llama3, yarn); `low` and `high_frequency_factor` bound the wavelengths that llama3 leaves
    alone and divides whole; the betas are yarn's bounds, in turns over the original context.
    """

    kind: RopeKind
    factor: float
    original_context: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None  # of cos and sin; None: from the factor
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        where = f"RoPE scaling {self.kind}"
        if self.factor < 1:
            raise RecipeError(f"factor {self.factor} is below 1", where, "Set 1 or more.")
        if self.kind in ("llama3", "yarn") and self.original_context < 1:
            raise RecipeError("no original context", where, "Say how long it was, in tokens.")
        if self.kind == "llama3" and self.high_frequency_factor <= self.low_frequency_factor:
            what = "high_frequency_factor is not above low_frequency_factor"
            raise RecipeError(what, where, "Change the numbers named.")


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder's shape and features; the defaults are a plain Llama.

    Feed-forward counts the neurons of the gate; context is in tokens. A layer with a window sees
    that many tokens, itself included; 0: the whole document. Layers count from 0.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    context: int
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    tied: bool = True
    head_width: int = 0  # 0: width / heads
    attention_bias: AttentionBias = "none"
    feed_forward_bias: bool = False
    qk_norm: bool = False  # RMSNorm of every query and key head, before rotation
    window: int = 0
    full_layers: tuple[int, ...] = ()  # see everything although there is a window
    unrotated_layers: tuple[int, ...] = ()  # do not know positions (SmolLM3's NoPE)
    rope_scaling: RopeScaling | None = None
    family: str = ""  # model_type of Hugging Face; empty: the first that has the features

    def __post_init__(self) -> None:
        counts = (self.vocabulary, self.width, self.layers, self.heads, self.key_value_heads)
        if min(*counts, self.feed_forward, self.context) < 1 or self.window < 0:
            raise _impossible(self, "a count is below 1")
        if self.heads % self.key_value_heads:
            raise _impossible(self, "heads is no multiple of key_value_heads")
        if not self.head_width:
            if self.width % self.heads:
                raise _impossible(self, "width is no multiple of heads")
            object.__setattr__(self, "head_width", self.width // self.heads)
        if self.head_width % 2:
            raise _impossible(self, "head width is odd, and rotation pairs its two halves")
        if not {*self.full_layers, *self.unrotated_layers} <= {*range(self.layers)}:
            raise _impossible(self, "full_layers or unrotated_layers names a layer there is not")
        if self.full_layers and not self.window:
            raise _impossible(self, "full_layers without a window")
        object.__setattr__(self, "family", self._checked_family())

    def _checked_family(self) -> str:
        if not self.family:
            for name, family in FAMILIES.items():
                if not family.lacks(self):
                    return name
            raise _impossible(self, f"none of {', '.join(FAMILIES)} has these features together")
        if self.family not in FAMILIES:
            raise _impossible(self, f"no family {self.family!r}; there are {', '.join(FAMILIES)}")
        lacking = FAMILIES[self.family].lacks(self)
        if lacking:
            raise _impossible(self, f"family {self.family} does not have {lacking}")
        return self.family

    def window_of(self, layer: int) -> int:
        """How many tokens this layer sees, itself included; 0: the whole document."""
        return 0 if layer in self.full_layers else self.window

    @property
    def parameters(self) -> int:
        """Trainable numbers; a tied embedding counts once."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        attention = 2 * self.width * (queries + keys) + 2 * self.head_width * self.qk_norm
        if self.attention_bias != "none":
            attention += queries + 2 * keys
        if self.attention_bias == "all":
            attention += self.width
        feed_forward = 3 * self.width * self.feed_forward
        if self.feed_forward_bias:
            feed_forward += 2 * self.feed_forward + self.width
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * (attention + feed_forward + 2 * self.width) + self.width


def _impossible(config: DecoderConfig, what: str) -> RecipeError:
    return RecipeError(what, f"model shape {config}", "Change the numbers named.")
