"""What an adapter adds to a projection: a product of two thin matrices, scaled.

The adapters of linear layers that are joined into one matmul are joined as well: one thin matmul
down to all their ranks, and one back up, added into what the frozen weights have made. Costs
2 · rank · (inputs + outputs) multiplications a token and layer, and no gradient of a frozen weight
is ever made, which is two thirds of what training it would cost.

Shapes: N tokens, I inputs, O outputs of all joined layers, R ranks of all their adapters.

Source: Hu et al. 2021 (LoRA), section 4.1; the names lora_A and lora_B and their layout are peft's.
"""

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Linear):
    """A linear layer that an adapter can be attached to."""

    lora_A: nn.Linear | None
    lora_B: nn.Linear | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.register_module("lora_A", None)
        self.register_module("lora_B", None)
        self.scale, self.dropout = 1.0, 0.0

    def attach(self, rank: int, scale: float, dropout: float, generator: torch.Generator) -> None:
        """An adapter that adds nothing yet: A drawn as peft draws it, B zero."""
        device, dtype = self.weight.device, torch.promote_types(self.weight.dtype, torch.float32)
        down = nn.Linear(self.in_features, rank, bias=False, device="meta")
        up = nn.Linear(rank, self.out_features, bias=False, device="meta")
        bound = 1 / sqrt(self.in_features)
        drawn = torch.empty(rank, self.in_features).uniform_(-bound, bound, generator=generator)
        down.weight = nn.Parameter(drawn.to(device, dtype))
        up.weight = nn.Parameter(torch.zeros(self.out_features, rank, device=device, dtype=dtype))
        self.lora_A, self.lora_B, self.scale, self.dropout = down, up, scale, dropout

    def detach_adapter(self) -> None:
        """The layer without an adapter."""
        self.lora_A = self.lora_B = None

    def product(self) -> Tensor:
        """What the adapter amounts to, as a matrix of the weight's shape."""
        assert self.lora_A is not None
        assert self.lora_B is not None
        return self.scale * (self.lora_B.weight @ self.lora_A.weight)


def add_low_rank(
    output: Tensor, inputs: Tensor, layers: Sequence[LowRank], *, training: bool
) -> Tensor:
    """The outputs of joined layers, (…, O), with what their adapters add; unchanged without any."""
    if all(layer.lora_A is None for layer in layers):
        return output
    down, up, dropout = [], [], 0.0
    for layer in layers:
        if layer.lora_A is None or layer.lora_B is None:
            up.append(inputs.new_zeros(layer.out_features, 0))
            continue
        down.append(layer.lora_A.weight.to(inputs.dtype))
        up.append(layer.scale * layer.lora_B.weight.to(inputs.dtype))
        dropout = layer.dropout
    inputs_NI = F.dropout(inputs.flatten(0, -2), dropout, training)
    low_NR = F.linear(inputs_NI, torch.cat(down))
    up_OR: Tensor = torch.block_diag(*up)  # type: ignore[no-untyped-call]
    return torch.addmm(output.flatten(0, -2), low_NR, up_OR.t()).view(output.shape)
