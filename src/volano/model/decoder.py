"""The decoder: a compact Llama, named as Hugging Face names it, so that saving is its state_dict.

RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or untied embeddings, and where the
config says so biases, QK-norm, windows and layers without positions (model/config.py). Documents
packed into one row do not see each other. Parameters stay in float32; `compute_in` picks the type
that matmuls run in (bfloat16 doubles the speed where the CPU has AVX-512 bf16 or AMX).

    model = Decoder(shape_for(1_400_000, vocabulary=4096, context=128))
    initialise(model, seed=1)
    logits_BTV = model(tokens_BT, document_BT)

Shapes: B rows, T tokens of a row, S positions of a cache, D width, F feed-forward, V vocabulary,
P joined projection of queries, keys and values.

Sources: Touvron et al. 2023 (Llama 2); the layout of `transformers.models.llama`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from volano.model.attention import causal_mask, masks_by_window
from volano.model.config import DecoderConfig
from volano.model.fused import causal_blocks, takes_blocks
from volano.model.layer import Cache, Joined, Layer, Norm
from volano.model.rotary import no_rotation, rotation_at, rotation_table
from volano.model.shape import shape_for

__all__ = ["Cache", "Decoder", "DecoderConfig", "initialise", "shape_for"]


class Decoder(nn.Module):
    """Tokens to logits, with torch's own weights until `initialise` or a checkpoint sets others."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.recompute = False  # what layers computed, on the way back, in place of keeping it
        self.model = _Body(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.register_buffer("rotation", self._rotation_table(), persistent=False)
        self.rotation: Tensor

    def _rotation_table(self) -> Tensor:
        config = self.config
        return rotation_table(
            config.context, config.head_width, config.rope_theta, config.rope_scaling
        )

    def rebuild_rotation(self) -> None:
        """For whoever built the model on the meta device: no checkpoint holds the table."""
        self.rotation = self._rotation_table()

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
        if cache is not None:
            position_BT = cache.positions(tokens_BT)
        hidden_BTD = self.embedded(tokens_BT)
        hidden_BTD = self.through(
            hidden_BTD, document_BT, cache, position_BT=position_BT, mask_BTT=mask_BTT
        )
        if cache is not None:
            cache.advance(tokens_BT.shape[1])
        normed: Tensor = self.model.norm(hidden_BTD)
        return normed

    def embedded(self, tokens_BT: Tensor) -> Tensor:
        """States before the first layer, shape (B, T, D), in compute_dtype."""
        return F.embedding(tokens_BT, self.model.embed_tokens.weight).to(self.compute_dtype)

    def through(
        self,
        hidden_BTD: Tensor,
        document_BT: Tensor | None = None,
        cache: Cache | None = None,
        *,
        position_BT: Tensor | None = None,
        mask_BTT: Tensor | None = None,
        layers: range | None = None,
    ) -> Tensor:
        """States behind these layers, all without any named; the rest as `hidden` has it."""
        tokens = hidden_BTD.shape[1]
        assert position_BT is not None or cache is not None or tokens <= self.config.context, (
            "a row is longer than the context"
        )
        config, device = self.config, hidden_BTD.device
        windows = [config.window_of(place) for place in range(config.layers)]
        masks: dict[int, Any] = {}
        if cache is None and mask_BTT is None:
            if position_BT is None and takes_blocks(device, self.compute_dtype, config.head_width):
                masks = {**causal_blocks(tokens, document_BT, windows, device)}
            else:
                mask_BTT = causal_mask(tokens, document_BT, self.compute_dtype, device)
        if position_BT is None:
            position_BT = torch.arange(tokens, device=device)[None]
        if mask_BTT is not None:
            masks = masks_by_window(mask_BTT, position_BT, position_BT, windows)
        table = self.rotation.to(self.compute_dtype)
        rotation = rotation_at(table, position_BT)
        again = self.recompute and torch.is_grad_enabled()
        for place in range(config.layers) if layers is None else layers:
            layer = self.model.layers[place]
            turn = no_rotation(table) if place in config.unrotated_layers else rotation
            given = hidden_BTD, turn, masks.get(windows[place]), cache, place
            hidden_BTD = checkpoint(layer, *given, use_reentrant=False) if again else layer(*given)
        return hidden_BTD

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

    def _joined(self) -> list[Joined]:
        return [module for module in self.modules() if isinstance(module, Joined)]


class _Body(nn.Module):
    """`model.` of the Hugging Face layout."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = Norm(config.width, config.norm_epsilon)


def initialise(model: Decoder, seed: int) -> None:
    """Normal weights of 0.02, those that write into the residual stream divided by √(2 · layers);
    norms of one and biases of zero.

    The same seed gives the same weights whatever else torch has drawn. Source: Radford et al.
    2019 (GPT-2), section 2.3.
    """
    generator = torch.Generator().manual_seed(seed)
    residual = 0.02 / (2 * model.config.layers) ** 0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(0.0 if name.endswith(".bias") else 1.0)
            else:
                scale = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
                parameter.normal_(0.0, scale, generator=generator)
