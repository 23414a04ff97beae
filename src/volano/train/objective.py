"""What the training loop asks of a phase: batches by step, and a loss for a batch.

A phase owns its objective (`align/dpo.py`); the loop knows this protocol only.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from volano.model.decoder import Decoder


class LossOutput(NamedTuple):
    """The loss of a batch, and figures worth logging beside it.

    A metric `nll` is the likelihood's part of a loss that has others, in nats per label.
    weight: how many terms the mean runs over (tokens, pairs), so that micro-batches of unequal
    weight add up to the mean over the whole batch. weights: the same of metrics that are means over
    fewer; where none was counted in a step it has no such figure. All are scalars.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    weight: Tensor | float = 1.0
    weights: Mapping[str, Tensor] = MappingProxyType({})


class Objective(Protocol):
    """Batch → loss. The batch is the stream's named tuple, its arrays made tensors."""

    def loss(self, model: Decoder, batch: Any) -> LossOutput:
        """The mean loss, differentiable."""
        ...


class Stream(Protocol):
    """The batches of a run, each a pure function of its step, so that the cursor is the step."""

    @property
    def steps(self) -> int:
        """How many batches there are."""
        ...

    def batch(self, step: int) -> Any:
        """A named tuple of numpy arrays whose first axis is rows."""
        ...

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> Mapping[str, int]:
        """The source documents of all batches before that step but those of some steps, and how
        many of their tokens."""
        ...

    def documents_at(self, step: int) -> list[str]:
        """The source documents of one batch; named when its loss stands out."""
        ...
