"""Attention by torch's own fused kernels, for a device that has them: CUDA.

Scores never lie in memory as a whole. Two ways: `flex` compiles a kernel (Triton) that passes over
the blocks of keys which no query of a block may see, so that documents packed into one row cost
what they would cost alone; training takes it. `scaled` is torch's ready kernel under any additive
mask; scoring, generation and compiled training take it, and training where Triton is not installed.
On a processor both are slower than model/attention.py, which is what they are tested against.

Shapes: B rows, T query positions, S key positions, H query heads, K key-value heads, W head width,
P joined projection.

Source: Dong et al. 2024 (FlexAttention); Dao 2023 (FlashAttention 2), whose tiling both use.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

NARROWEST_HEAD = 16  # of what Triton multiplies


def is_fused(query: Tensor) -> bool:
    """Whether `scaled` is to be taken. In float64 there are no such kernels."""
    return query.is_cuda and query.dtype != torch.float64


def takes_blocks(device: torch.device, dtype: torch.dtype, head_width: int) -> bool:
    """Whether `flex` is to be taken: for learning, where its kernel can be compiled."""
    return (
        device.type == "cuda"
        and dtype != torch.float64
        and head_width >= NARROWEST_HEAD
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and find_spec("triton") is not None
    )


def causal_blocks(
    tokens: int, document_BT: Tensor | None, windows: Iterable[int], device: torch.device
) -> "dict[int, BlockMask]":
    """`causal_mask` for each window, as blocks of positions: seen wholly, in part, or not."""
    from torch.nn.attention.flex_attention import create_block_mask

    rows = None if document_BT is None else len(document_BT)
    return {
        window: create_block_mask(
            _sees(document_BT, window), rows, None, tokens, tokens, device=device
        )
        for window in set(windows)
    }


def _sees(document_BT: Tensor | None, window: int) -> Callable[..., Tensor]:
    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = key <= query
        if window:
            seen = seen & (query - key < window)
        if document_BT is not None:
            seen = seen & (document_BT[row, query] == document_BT[row, key])
        return seen

    return sees


def flex(query_BHTW: Tensor, key_BKTW: Tensor, value_BKTW: Tensor, blocks: "BlockMask") -> Tensor:
    """Attended values, shape (B, H, T, W), under a mask of `causal_blocks`."""
    grouped = query_BHTW.shape[1] != key_BKTW.shape[1]
    attended: Tensor = _flex_on(query_BHTW.device.type)(
        query_BHTW, key_BKTW, value_BKTW, block_mask=blocks, enable_gqa=grouped
    )
    return attended


@lru_cache
def _flex_on(device_type: str) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # Without compiling, which a processor cannot for learning, the same sums are made unfused.
    return torch.compile(flex_attention) if device_type == "cuda" else flex_attention


def scaled(query_BHTW: Tensor, key_BKSW: Tensor, value_BKSW: Tensor, mask: Tensor) -> Tensor:
    """Attended values, shape (B, H, T, W), under an additive mask (B or 1, T, S)."""
    group = query_BHTW.shape[1] // key_BKSW.shape[1]
    if group > 1:  # the kernel that takes a mask takes no shared keys
        key_BKSW = key_BKSW.repeat_interleave(group, dim=1)
        value_BKSW = value_BKSW.repeat_interleave(group, dim=1)
    return F.scaled_dot_product_attention(
        query_BHTW, key_BKSW, value_BKSW, attn_mask=mask[:, None].to(query_BHTW.dtype)
    )
