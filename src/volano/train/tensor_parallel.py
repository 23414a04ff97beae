"""Layers split by heads and neurons, and the rows between them by tokens (sequence parallel).

Each process holds some heads (rows of the query, key and value weights, columns of the output's)
and some neurons of the feed-forward. Between, norms and residuals run on a stretch of each row.
What goes in is gathered from the stretches, and the partial sums that come out are added up and cut
into stretches again by one reduce-scatter. Embedding, final norm and head are whole everywhere.

The communication is DTensor's, its way back included. The weights are plain tensors and not
DTensors: a layer joins them with torch.cat and hands them to operators with gradients of their own,
neither of which takes a DTensor. Hooks do it all from outside; a layer does not know.

Shapes: B rows, T tokens of a row, D width.

Source: Korthikanti et al. 2022, section 4.2.2.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from volano.model.attention import HeadLayout
from volano.model.decoder import Decoder
from volano.model.low_rank import LowRank
from volano.train.share import Share

TOKENS_AXIS = 1
BY_ROWS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


class Split(NamedTuple):
    """The split parameters by name, and those that are whole but see a part of the tokens or heads:
    their gradients have to be added up over the mesh."""

    shares: dict[str, Share]
    partial: list[str]


def split_layers(model: Decoder, layers: range, mesh: DeviceMesh) -> Split:
    """Leave this process's part of these layers in the model, with all that joins the parts."""
    split = Split({}, [])
    rows = _Rows(mesh)
    parts = mesh.size()
    for place in layers:
        layer: Any = model.model.layers[place]
        for block in (layer.self_attn, layer.mlp):
            for name, module in block.named_children():
                prefix = f"model.layers.{place}.{'mlp' if block is layer.mlp else 'self_attn'}"
                if isinstance(module, LowRank):
                    axis = 0 if name in BY_ROWS else 1
                    split.shares.update(_cut(module, f"{prefix}.{name}", axis, mesh))
            block.register_forward_pre_hook(rows.before_block)
            block.register_forward_hook(rows.behind_block)
        whole = layer.self_attn.heads
        layer.self_attn.heads = HeadLayout(
            whole.heads // parts, whole.key_value_heads // parts, whole.width
        )
        split.partial.extend(
            f"model.layers.{place}.{name}" for name, _ in layer.named_parameters() if "norm" in name
        )
    model.model.layers[layers[0]].register_forward_pre_hook(rows.into_stretches)
    model.model.layers[layers[-1]].register_forward_hook(rows.out_of_stretches)
    return split


def _cut(module: LowRank, name: str, axis: int, mesh: DeviceMesh) -> dict[str, Share]:
    shares = {}
    for kind, parameter in list(module.named_parameters(recurse=False)):
        # A bias on the way in is cut as the rows are; parallel_plan refuses one on the way out.
        share = Share(mesh, axis, tuple(parameter.shape))
        setattr(module, kind, nn.Parameter(share.part(parameter.detach()).clone()))
        shares[f"{name}.{kind}"] = share
    module.out_features, module.in_features = module.weight.shape
    return shares


class _Rows:
    """Moves states between whole rows and stretches of them, and back for the gradients."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self._mesh = mesh
        self._tokens = 0  # of the rows on their way

    def into_stretches(self, module: nn.Module, arguments: Any) -> Any:
        """Whole rows, equal everywhere → stretches."""
        self._tokens = arguments[0].shape[TOKENS_AXIS]
        stretch = self._moved(arguments[0], Replicate(), Shard(TOKENS_AXIS))
        return (stretch.to_local(), *arguments[1:])

    def before_block(self, module: nn.Module, arguments: Any) -> Any:
        """Stretches → whole rows, of which each process makes a part of the sums."""
        rows = self._moved(arguments[0], Shard(TOKENS_AXIS), Replicate())
        return (rows.to_local(grad_placements=[Partial()]), *arguments[1:])

    def behind_block(self, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        """Partial sums → stretches of their sum."""
        moved: Tensor = self._moved(output, Partial(), Shard(TOKENS_AXIS)).to_local()
        return moved

    def out_of_stretches(self, module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        """Stretches → whole rows, with which all processes do the same."""
        moved: Tensor = self._moved(output, Shard(TOKENS_AXIS), Replicate()).to_local()
        return moved

    def _moved(self, states_BTD: Tensor, here: Placement, there: Placement) -> DTensor:
        rows, _, width = states_BTD.shape
        shape = torch.Size((rows, self._tokens, width))
        laid = DTensor.from_local(
            states_BTD.contiguous(),
            self._mesh,
            [here],
            run_check=False,
            shape=shape,
            stride=(self._tokens * width, width, 1),
        )
        moved: DTensor = laid.redistribute(placements=[there])
        return moved
