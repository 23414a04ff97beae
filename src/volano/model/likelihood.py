"""Likelihood of the next tokens without ever holding all logits.

At 4,096 tokens and a vocabulary of 4,096, logits and their gradient are 128 MB in float32, and
writing them costs more than the matmul that makes them. Here a chunk of rows stays in the cache
from matmul to gradient. Two forms: `mean_nll` for a mean over tokens, whose gradient is made on
the way forward, and `token_log_probs` where each token's value is needed (preferences, scoring),
which makes its chunks again on the way back. Rows whose label is ignored cost nothing.

Shapes: N rows with a label, D width, V vocabulary; leading … of the arguments are free. Z is the
sum over the vocabulary that a softmax divides by. Natural logarithms; results are float32, or
float64 where the hidden states are.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

IGNORED_LABEL = -100  # prompt and padding; torch's own default
CHUNK_BYTES = 4 << 20  # of logits: what two cores keep in their caches (2, 8, 16 MiB are slower)
DEVICE_CHUNK_BYTES = 256 << 20  # on CUDA, where a small matmul leaves most of the device idle


class PenalisedNll(NamedTuple):
    """Means over the labels that are not ignored; 0 where all are. All are scalars."""

    loss: Tensor  # nll + z_weight · squared_log_z, and the only one with a gradient
    nll: Tensor  # nats
    squared_log_z: Tensor


def mean_nll(hidden: Tensor, head_weight: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats per label that is not ignored; 0 where all are.

    `hidden` is (…, D) and already in the compute type, `head_weight` (V, D) in its own type,
    `labels` (…) already shifted: `hidden[i]` predicts `labels[i]`.
    """
    loss: Tensor = penalised_nll(hidden, head_weight, labels, z_weight=0.0).loss
    return loss


# Inductor would hold all logits, which is slower than the chunks.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def penalised_nll(
    hidden: Tensor, head_weight: Tensor, labels: Tensor, *, z_weight: float
) -> PenalisedNll:
    """`mean_nll` and `z_weight` times the mean of log² Z, which keeps logits from drifting off.

    The softmax does not feel a constant added to all logits, so nothing else holds them near 0,
    where bfloat16 is finest. Source: Chowdhery et al. 2022 (PaLM), section 5, with 1e-4.
    """
    kept, labels_N = _labelled(hidden, labels)
    learning = torch.is_grad_enabled()
    sums = _SummedNll.apply(kept, head_weight, labels_N, learning, z_weight)  # type: ignore[no-untyped-call]
    return PenalisedNll(*(total / max(len(labels_N), 1) for total in sums))


# Inductor would hold all logits, which is slower than the chunks.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def token_log_probs(hidden: Tensor, head_weight: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of each label, of the labels' shape; 0 where the label is ignored."""
    kept, labels_N = _labelled(hidden, labels)
    values: Tensor = _LogProbs.apply(kept, head_weight, labels_N)  # type: ignore[no-untyped-call]
    if len(labels_N) == labels.numel():
        return values.view(labels.shape)
    return values.new_zeros(labels.shape).masked_scatter(labels != IGNORED_LABEL, values)


def _labelled(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    hidden_MD, labels_M = hidden.reshape(-1, hidden.shape[-1]), labels.reshape(-1)
    labelled = labels_M != IGNORED_LABEL
    if bool(labelled.all()):
        return hidden_MD, labels_M
    return hidden_MD[labelled], labels_M[labelled]


def _chunks(hidden_ND: Tensor, weight_VD: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, their logits and probabilities, in two buffers that the next chunk overwrites."""
    (vocabulary, width), rows = weight_VD.shape, len(hidden_ND)
    # No fewer rows than the width, or the gradient of a large head is read and written too often.
    chunk_bytes = DEVICE_CHUNK_BYTES if hidden_ND.is_cuda else CHUNK_BYTES
    size = min(max(chunk_bytes // (vocabulary * hidden_ND.element_size()), width, 64), max(rows, 1))
    logits_buffer, probabilities_buffer = hidden_ND.new_empty(2, size, vocabulary)
    for start in range(0, rows, size):
        chunk = hidden_ND[start : start + size]
        logits = torch.mm(chunk, weight_VD.t(), out=logits_buffer[: len(chunk)])
        probabilities = torch.softmax(logits, -1, out=probabilities_buffer[: len(chunk)])
        yield slice(start, start + len(chunk)), logits, probabilities


def _log_z(logits_NV: Tensor, probabilities_NV: Tensor) -> Tensor:
    # From the likeliest token: its probability is at least 1 / V and never underflows.
    finer = torch.promote_types(logits_NV.dtype, torch.float32)
    return logits_NV.amax(-1).to(finer) - probabilities_NV.amax(-1).to(finer).log()


def _log_probs(logits_NV: Tensor, log_z_N: Tensor, labels_N: Tensor) -> Tensor:
    return logits_NV.gather(1, labels_N[:, None])[:, 0].to(log_z_N.dtype) - log_z_N


class _SummedNll(torch.autograd.Function):
    """Sums over N of the penalised loss, of the nll and of log² Z; the first has a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        head_weight: Tensor,
        labels_N: Tensor,
        learning: bool,
        z_weight: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        finer = torch.promote_types(hidden_ND.dtype, torch.float32)
        nll, squared = torch.zeros(2, dtype=finer, device=hidden_ND.device).unbind()
        weight_VD = head_weight.to(hidden_ND.dtype)
        d_weight = torch.zeros_like(head_weight) if learning and ctx.needs_input_grad[1] else None
        if learning:
            d_hidden = torch.empty_like(hidden_ND)
            ctx.save_for_backward(d_hidden, d_weight)
        for rows, logits, probabilities in _chunks(hidden_ND, weight_VD):
            log_z_N = _log_z(logits, probabilities)
            nll -= _log_probs(logits, log_z_N, labels_N[rows]).sum()
            if z_weight:
                squared += log_z_N.square().sum()
            if learning:
                if z_weight:  # the gradient of log² Z is 2 log Z times the probabilities
                    probabilities *= (1 + 2 * z_weight * log_z_N)[:, None].to(probabilities.dtype)
                flow = _minus_one_at(probabilities, labels_N[rows])
                torch.mm(flow, weight_VD, out=d_hidden[rows])
                if d_weight is not None:  # a frozen head has none
                    d_weight += flow.t() @ hidden_ND[rows]
        loss = nll + z_weight * squared if z_weight else nll.clone()
        ctx.mark_non_differentiable(nll, squared)
        return loss, nll, squared

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        scale = gradients[0]
        of_weight = None if d_weight is None else d_weight * scale.to(d_weight.dtype)
        return d_hidden * scale.to(d_hidden.dtype), of_weight, None, None, None


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_weight: Tensor, labels_N: Tensor) -> Tensor:
        finer = torch.promote_types(hidden_ND.dtype, torch.float32)
        values = torch.empty(len(labels_N), dtype=finer, device=hidden_ND.device)
        for rows, logits, probabilities in _chunks(hidden_ND, head_weight.to(hidden_ND.dtype)):
            log_z_N = _log_z(logits, probabilities)
            values[rows] = _log_probs(logits, log_z_N, labels_N[rows])
        ctx.save_for_backward(hidden_ND, head_weight, labels_N)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden_ND, head_weight, labels_N = ctx.saved_tensors
        weight_VD = head_weight.to(hidden_ND.dtype)
        d_hidden = torch.empty_like(hidden_ND)
        d_weight = torch.zeros_like(head_weight) if ctx.needs_input_grad[1] else None
        for rows, _, probabilities in _chunks(hidden_ND, weight_VD):
            flow = _minus_one_at(probabilities, labels_N[rows])
            flow *= -gradients[0][rows, None].to(flow.dtype)
            torch.mm(flow, weight_VD, out=d_hidden[rows])
            if d_weight is not None:
                d_weight += flow.t() @ hidden_ND[rows]
        return d_hidden, d_weight, None


def _minus_one_at(probabilities_NV: Tensor, labels_N: Tensor) -> Tensor:
    """The gradient of the negative log-likelihood: probabilities, less one at the label."""
    rows_N = torch.arange(len(labels_N), device=labels_N.device)
    probabilities_NV[rows_N, labels_N] -= 1.0  # scatter_add_ would copy all of it in bfloat16
    return probabilities_NV
