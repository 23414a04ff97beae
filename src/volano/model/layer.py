"""One layer of the decoder: attention and feed-forward, each behind a norm.

Queries, keys and values are projected by one matmul, as are gate and up, though their parameters
stay apart and are named as Hugging Face names them. Biases and QK-norm are added where the config
has them; without them nothing is computed that a plain Llama does not.

Shapes: B rows, T tokens of a row, D width, P joined projection of queries, keys and values,
N query and key heads, W head width.
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volano.model.attention import HeadLayout, Mask, attention
from volano.model.config import DecoderConfig
from volano.model.low_rank import LowRank, add_low_rank
from volano.model.operators import norm_heads, rms_norm, swiglu
from volano.model.rotary import Rotation


class Cache(Protocol):
    """Keys and values of earlier tokens (model/cache.py)."""

    def positions(self, tokens_BT: Tensor) -> Tensor:
        """The position of each new token in its own row, shape (B, T)."""
        ...

    def attend(
        self, layer: int, joined_BTP: Tensor, rotation: Rotation, layout: HeadLayout
    ) -> Tensor:
        """Keep the new keys and values of `layer`; attend to all that is kept."""
        ...

    def advance(self, tokens: int) -> None: ...


class Layer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.width, config.norm_epsilon)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = Norm(config.width, config.norm_epsilon)
        self.mlp = _FeedForward(config)

    def forward(
        self,
        hidden_BTD: Tensor,
        rotation: Rotation,
        mask_BTT: "Mask | None",
        cache: Cache | None,
        place: int,
    ) -> Tensor:
        hidden_BTD = hidden_BTD + self.self_attn(
            self.input_layernorm(hidden_BTD), rotation, mask_BTT, cache, place
        )
        fed: Tensor = self.mlp(self.post_attention_layernorm(hidden_BTD))
        return hidden_BTD + fed


class Norm(nn.Module):
    """RMSNorm: statistics in float32 whatever the compute type."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        return rms_norm(hidden_BTD, self.weight.to(hidden_BTD.dtype), self.epsilon)


class Weights(NamedTuple):
    """Of what goes in, joined, and of what comes out."""

    into: Tensor
    into_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None


class Joined(nn.Module):
    """Holds linear layers whose weights are joined, and cast, before the matmul."""

    kept: Weights | None = None

    def parts(self) -> tuple[list[LowRank], LowRank]:
        """The layers that are joined on the way in, and the one on the way out."""
        raise NotImplementedError

    def weights(self, dtype: torch.dtype) -> Weights:
        into, out = self.parts()
        biases = tuple(layer.bias for layer in into if layer.bias is not None)
        return Weights(
            torch.cat(tuple(layer.weight for layer in into)).to(dtype),
            torch.cat(biases).to(dtype) if biases else None,
            out.weight.to(dtype),
            None if out.bias is None else out.bias.to(dtype),
        )

    def project_in(self, hidden_BTD: Tensor, weights: Weights) -> Tensor:
        joined = F.linear(hidden_BTD, weights.into, weights.into_bias)
        return add_low_rank(joined, hidden_BTD, self.parts()[0], training=self.training)

    def project_out(self, inner: Tensor, weights: Weights) -> Tensor:
        out = F.linear(inner, weights.out, weights.out_bias)
        return add_low_rank(out, inner, [self.parts()[1]], training=self.training)

    @torch.no_grad()
    def hold_once(self, dtype: torch.dtype) -> None:
        """Keep the joined weights, and make the layers' own a view of them: for a frozen base."""
        self.kept = self.weights(dtype)
        into, out = self.parts()
        row = 0
        for layer in into:
            rows = slice(row, row := row + layer.out_features)
            layer.weight = nn.Parameter(self.kept.into[rows], requires_grad=False)
            if layer.bias is not None and self.kept.into_bias is not None:
                layer.bias = nn.Parameter(self.kept.into_bias[rows], requires_grad=False)
        out.weight = nn.Parameter(self.kept.out, requires_grad=False)
        if self.kept.out_bias is not None:
            out.bias = nn.Parameter(self.kept.out_bias, requires_grad=False)


class _Attention(Joined):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = HeadLayout(config.heads, config.key_value_heads, config.head_width)
        width, bias = config.width, config.attention_bias != "none"
        self.q_proj = LowRank(width, self.heads.query_width, bias=bias)
        self.k_proj = LowRank(width, self.heads.key_value_width, bias=bias)
        self.v_proj = LowRank(width, self.heads.key_value_width, bias=bias)
        self.o_proj = LowRank(self.heads.query_width, width, bias=config.attention_bias == "all")
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = Norm(config.head_width, config.norm_epsilon)
            self.k_norm = Norm(config.head_width, config.norm_epsilon)

    def parts(self) -> tuple[list[LowRank], LowRank]:
        return [self.q_proj, self.k_proj, self.v_proj], self.o_proj

    def forward(
        self,
        hidden_BTD: Tensor,
        rotation: Rotation,
        mask_BTT: "Mask | None",
        cache: Cache | None,
        place: int,
    ) -> Tensor:
        weights = self.kept or self.weights(hidden_BTD.dtype)
        joined_BTP = self.project_in(hidden_BTD, weights)
        if self.qk_norm:
            query_W, key_W = self.q_norm.weight, self.k_norm.weight
            heads, key_value_heads, width = self.heads
            weight_NW = torch.cat(
                (query_W.expand(heads, width), key_W.expand(key_value_heads, width))
            ).to(joined_BTP.dtype)
            joined_BTP = norm_heads(joined_BTP, weight_NW, self.q_norm.epsilon)
        if cache is not None:
            attended = cache.attend(place, joined_BTP, rotation, self.heads)
        else:
            assert mask_BTT is not None
            attended = attention(joined_BTP, rotation, mask_BTT, self.heads)
        return self.project_out(attended, weights)


class _FeedForward(Joined):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width, inner, bias = config.width, config.feed_forward, config.feed_forward_bias
        self.gate_proj = LowRank(width, inner, bias=bias)
        self.up_proj = LowRank(width, inner, bias=bias)
        self.down_proj = LowRank(inner, width, bias=bias)

    def parts(self) -> tuple[list[LowRank], LowRank]:
        return [self.gate_proj, self.up_proj], self.down_proj

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        weights = self.kept or self.weights(hidden_BTD.dtype)
        return self.project_out(swiglu(self.project_in(hidden_BTD, weights)), weights)
