"""Rotary positions: every position turns the pairs of a head by angles of its own.

The layout is Hugging Face's: the first half of a head is paired with the second. A checkpoint whose
context was stretched after its first training says how its frequencies were changed; the four ways
that the Llama and Qwen families use are here, each as transformers computes it, to the bit.

`dynamic` changes frequencies only where a row is longer than max_position_embeddings. No row here
is, so it computes what no scaling does, and is kept for whoever reads the checkpoint next.

Shapes: B rows, T positions of a row, W head width.

Sources: Su et al. 2021 (RoFormer); Chen et al. 2023 (linear); Peng et al. 2023 (YaRN, dynamic);
Llama 3.1's reference code; transformers 5.24, modeling_rope_utils.
"""

from math import ceil, floor, log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from volano.model.config import RopeScaling


class Rotation(NamedTuple):
    """cos and sin of every position's angles.

    cos has shape (1 or B, 1 or T, 1, W), its second half repeating the first; sin only that half,
    (1 or B, 1 or T, 1, W/2). One table serves a batch, or each row has its own.
    """

    cos: Tensor
    sin: Tensor


def rotation_table(
    positions: int, width: int, theta: float, scaling: RopeScaling | None = None
) -> Tensor:
    """For positions 0 … positions - 1, cos of W angles beside sin of W/2: (positions, 3W/2)."""
    powers = theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    frequencies, factor = 1.0 / powers, 1.0
    if scaling is not None:
        frequencies = _scaled(powers, theta, scaling)
        factor = _attention_factor(scaling)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    table = torch.cat([angles.cos(), angles.cos(), angles.sin()], dim=-1)
    return table if factor == 1.0 else table * factor


def rotation_at(table: Tensor, position_BT: Tensor) -> Rotation:
    """The rows of `rotation_table` that these positions need."""
    half = table.shape[-1] // 3
    cos, sin = torch.split(table[position_BT][:, :, None], [2 * half, half], dim=-1)
    return Rotation(cos, sin)


def no_rotation(table: Tensor) -> Rotation:
    """What a layer without positions is given: every head stays as it is."""
    half = table.shape[-1] // 3
    return Rotation(table.new_ones(1, 1, 1, 2 * half), table.new_zeros(1, 1, 1, half))


def _scaled(powers: Tensor, theta: float, scaling: RopeScaling) -> Tensor:
    """Radians per position, shape (W/2,), as the scaling changes 1 / powers."""
    if scaling.kind == "linear":
        return 1.0 / powers / scaling.factor
    if scaling.kind == "llama3":
        return _llama3(1.0 / powers, scaling)
    if scaling.kind == "yarn":
        return _yarn(powers, theta, scaling)
    return 1.0 / powers  # dynamic, within its context


def _llama3(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Short waves stay, long ones are divided by the factor, and those between change smoothly."""
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    wavelength = 2 * pi / frequencies
    longest, shortest = scaling.original_context / low, scaling.original_context / high
    stretched = torch.where(wavelength > longest, frequencies / scaling.factor, frequencies)
    share = (scaling.original_context / wavelength - low) / (high - low)
    between = (1 - share) * stretched / scaling.factor + share * stretched
    is_between = ~(wavelength < shortest) & ~(wavelength > longest)
    return torch.where(is_between, between, stretched)


def _yarn(powers: Tensor, theta: float, scaling: RopeScaling) -> Tensor:
    """Pairs that turn often within the original context stay; seldom ones are stretched."""
    pairs = len(powers)
    width = 2 * pairs

    def pair_that_turns(turns: float) -> float:
        return width * log(scaling.original_context / (turns * 2 * pi)) / (2 * log(theta))

    first, last = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        first, last = floor(first), ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    last = last + 0.001 if first == last else last  # or the ramp would divide by zero
    ramp = ((torch.arange(pairs, dtype=torch.float32) - first) / (last - first)).clamp(0, 1)
    kept = 1 - ramp
    return 1.0 / (scaling.factor * powers) * (1 - kept) + 1.0 / powers * kept


def _attention_factor(scaling: RopeScaling) -> float:
    """What yarn multiplies cos and sin by, so that scores of a longer context stay as sharp."""
    if scaling.kind != "yarn":
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor

    def of(mscale: float) -> float:
        return 0.1 * mscale * log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0

    if scaling.mscale and scaling.mscale_all_dim:
        return of(scaling.mscale) / of(scaling.mscale_all_dim)
    return of(1.0)
