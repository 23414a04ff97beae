"""What one process holds of a parameter that lies split over several, and how to see it whole.

Most of an optimiser works entry by entry and never needs the whole. What does, the orthogonal
matrices of Muon and the state kept for resuming, gathers it here and takes its own part back.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard


class Share(NamedTuple):
    """A parameter is cut along `axis` into one part for each process of a mesh of one dimension;
    as torch.chunk cuts, so that the last parts may be smaller or empty."""

    mesh: DeviceMesh
    axis: int
    shape: tuple[int, ...]  # of the whole

    def whole(self, part: Tensor) -> Tensor:
        """All parts joined; any axes before those of the parameter are kept. Collective."""
        return self.laid(part).full_tensor()

    def laid(self, part: Tensor) -> DTensor:
        """The part as torch's own word for a part of a whole, in the same memory; any axes before
        those of the parameter are kept."""
        stacked = part.dim() - len(self.shape)
        shape = torch.Size((*part.shape[:stacked], *self.shape))
        laid: DTensor = DTensor.from_local(
            part.contiguous(),
            self.mesh,
            [Shard(self.axis + stacked)],
            run_check=False,
            shape=shape,
            stride=torch.empty(shape, device="meta").stride(),
        )
        return laid

    def room(self, dtype: torch.dtype) -> DTensor:
        """A part without content."""
        whole = torch.empty(self.shape, dtype=dtype, device="meta")
        return self.laid(torch.empty(self.part(whole).shape, dtype=dtype))

    def part(self, whole: Tensor) -> Tensor:
        """This process's part."""
        axis = self.axis + whole.dim() - len(self.shape)
        parts, place = torch.chunk(whole, self.mesh.size(), axis), self.mesh.get_local_rank()
        return parts[place] if place < len(parts) else whole.narrow(axis, 0, 0)


def local(tensor: Tensor) -> Tensor:
    """What of a tensor lies here, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(part: Tensor, tensor: Tensor) -> Tensor:
    """A part as what `tensor` is: itself split by torch, or plain."""
    if not isinstance(tensor, DTensor):
        return part
    return DTensor.from_local(
        part,
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
