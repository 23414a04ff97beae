"""The decoder: a compact Llama, named as Hugging Face names it, so that saving is its state_dict.

RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or untied embeddings. Documents
packed into one row do not see each other. Queries, keys and values are projected by one matmul, as
are gate and up, though their parameters stay apart. Parameters stay in float32; `compute_in` picks
the type that matmuls run in (bfloat16 doubles the speed where the CPU has AVX-512 bf16 or AMX).

    model = Decoder(shape_for(1_400_000, vocabulary=4096, context=128))
    initialise(model, seed=1)
    logits_BTV = model(tokens_BT, document_BT)

Shapes: B rows, T tokens of a row, S positions of a cache, D width, F feed-forward, V vocabulary,
P joined projection of queries, keys and values.

Sources: Touvron et al. 2023 (Llama 2); the layout of `transformers.models.llama`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from volano.model.attention import (
    HeadLayout,
    Rotation,
    attention,
    causal_mask,
    rotation_at,
    rotation_table,
)
from volano.model.operators import rms_norm, swiglu
from volano.model.shape import DecoderConfig, shape_for

__all__ = ["Cache", "Decoder", "DecoderConfig", "initialise", "shape_for"]


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


class Decoder(nn.Module):
    """Tokens to logits, with torch's own weights until `initialise` or a checkpoint sets others."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.model = _Body(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        table = rotation_table(config.context, config.head_width, config.rope_theta)
        self.register_buffer("rotation", table, persistent=False)
        self.rotation: Tensor

    @property
    def head_weight(self) -> Tensor:
        """What turns hidden states into logits, shape (V, D), in the parameters' own type."""
        weight = self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight
        assert isinstance(weight, Tensor)
        return weight

    def compute_in(self, dtype: torch.dtype) -> "Decoder":
        """Run matmuls in `dtype`; parameters and their gradients keep their own type."""
        self.compute_dtype = dtype
        return self

    def forward(
        self, tokens_BT: Tensor, document_BT: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Logits, shape (B, T, V); `[:, t]` predicts token t + 1."""
        hidden_BTD = self.hidden(tokens_BT, document_BT, cache)
        return F.linear(hidden_BTD, self.head_weight.to(hidden_BTD.dtype))

    def hidden(
        self,
        tokens_BT: Tensor,
        document_BT: Tensor | None = None,
        cache: Cache | None = None,
        *,
        position_BT: Tensor | None = None,
        mask_BTT: Tensor | None = None,
    ) -> Tensor:
        """States before the head, shape (B, T, D), in compute_dtype.

        A mask (added to the scores, causal) and positions of one's own take the place of those
        that `document_BT` gives; a cache brings both.
        """
        tokens = tokens_BT.shape[1]
        assert position_BT is not None or cache is not None or tokens <= self.config.context, (
            "a row is longer than the context"
        )
        if cache is not None:
            position_BT = cache.positions(tokens_BT)
        elif mask_BTT is None:
            mask_BTT = causal_mask(tokens, document_BT, self.compute_dtype, tokens_BT.device)
        if position_BT is None:
            position_BT = torch.arange(tokens, device=tokens_BT.device)[None]
        rotation = rotation_at(self.rotation.to(self.compute_dtype), position_BT)
        hidden_BTD = F.embedding(tokens_BT, self.model.embed_tokens.weight).to(self.compute_dtype)
        for place, layer in enumerate(self.model.layers):
            hidden_BTD = layer(hidden_BTD, rotation, mask_BTT, cache, place)
        if cache is not None:
            cache.advance(tokens)
        normed: Tensor = self.model.norm(hidden_BTD)
        return normed

    @contextmanager
    def frozen(self, dtype: torch.dtype | None = None) -> Iterator[None]:
        """Inside, joined and cast weights are made once and not at every call. No training here.

        `dtype` takes the place of compute_dtype until the block ends.
        """
        joined = self._joined()
        before = self.compute_dtype, [module.kept for module in joined]
        try:
            with torch.no_grad():
                yield self.freeze(dtype)
        finally:
            self.compute_in(before[0])
            for module, kept in zip(joined, before[1], strict=True):
                module.kept = kept

    @torch.no_grad()
    def freeze(self, dtype: torch.dtype | None = None) -> None:
        """What `frozen` does, for good: whoever serves a model never trains it."""
        self.compute_in(dtype or self.compute_dtype)
        for module in self._joined():
            module.kept = module.weights(self.compute_dtype)

    def _joined(self) -> list["_Joined"]:
        return [module for module in self.modules() if isinstance(module, _Joined)]


class _Body(nn.Module):
    """`model.` of the Hugging Face layout."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = _Norm(config)


class _Layer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = _Norm(config)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = _Norm(config)
        self.mlp = _FeedForward(config)

    def forward(
        self,
        hidden_BTD: Tensor,
        rotation: Rotation,
        mask_BTT: Tensor | None,
        cache: Cache | None,
        place: int,
    ) -> Tensor:
        hidden_BTD = hidden_BTD + self.self_attn(
            self.input_layernorm(hidden_BTD), rotation, mask_BTT, cache, place
        )
        fed: Tensor = self.mlp(self.post_attention_layernorm(hidden_BTD))
        return hidden_BTD + fed


class _Norm(nn.Module):
    """RMSNorm: statistics in float32 whatever the compute type."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.width))
        self.epsilon = config.norm_epsilon

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        return rms_norm(hidden_BTD, self.weight.to(hidden_BTD.dtype), self.epsilon)


class _Joined(nn.Module):
    """Holds linear layers whose weights are joined, and cast, before the matmul."""

    kept: tuple[Tensor, Tensor] | None = None

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The joined weight of what goes in, and the weight of what comes out."""
        raise NotImplementedError


class _Attention(_Joined):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = HeadLayout(config.heads, config.key_value_heads, config.head_width)
        self.q_proj = nn.Linear(config.width, self.heads.query_width, bias=False)
        self.k_proj = nn.Linear(config.width, self.heads.key_value_width, bias=False)
        self.v_proj = nn.Linear(config.width, self.heads.key_value_width, bias=False)
        self.o_proj = nn.Linear(self.heads.query_width, config.width, bias=False)

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        joined = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        return joined.to(dtype), self.o_proj.weight.to(dtype)

    def forward(
        self,
        hidden_BTD: Tensor,
        rotation: Rotation,
        mask_BTT: Tensor | None,
        cache: Cache | None,
        place: int,
    ) -> Tensor:
        into, out = self.kept or self.weights(hidden_BTD.dtype)
        joined_BTP = F.linear(hidden_BTD, into)
        if cache is not None:
            attended = cache.attend(place, joined_BTP, rotation, self.heads)
        else:
            assert mask_BTT is not None
            attended = attention(joined_BTP, rotation, mask_BTT, self.heads)
        return F.linear(attended, out)


class _FeedForward(_Joined):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.feed_forward, bias=False)
        self.up_proj = nn.Linear(config.width, config.feed_forward, bias=False)
        self.down_proj = nn.Linear(config.feed_forward, config.width, bias=False)

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        joined = torch.cat([self.gate_proj.weight, self.up_proj.weight])
        return joined.to(dtype), self.down_proj.weight.to(dtype)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        into, out = self.kept or self.weights(hidden_BTD.dtype)
        return F.linear(swiglu(F.linear(hidden_BTD, into)), out)


def initialise(model: Decoder, seed: int) -> None:
    """Normal weights of 0.02, those that write into the residual stream divided by √(2 · layers).

    The same seed gives the same weights whatever else torch has drawn. Source: Radford et al.
    2019 (GPT-2), section 2.3.
    """
    generator = torch.Generator().manual_seed(seed)
    residual = 0.02 / (2 * model.config.layers) ** 0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                scale = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
                parameter.normal_(0.0, scale, generator=generator)
