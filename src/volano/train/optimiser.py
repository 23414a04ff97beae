"""AdamW, and Muon for the matrices between embedding and head.

Muon steps in the direction of the orthogonal matrix nearest to its momentum, so that every
direction that the gradient names moves at the same rate. It is worth several times its cost here
(docs/log.md). Newton-Schulz runs batched over all matrices of one shape, as one matmul each.

Shapes: M matrices of one shape, R rows, C columns.

Sources: Loshchilov & Hutter 2019 (AdamW); Jordan et al. 2024 (Muon: coefficients, Nesterov
momentum, √(R / C) for tall matrices).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from volano.train.section import TrainSection
from volano.train.share import Share, local

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # steepest at 0; singular values end within 0.7–1.2
NEWTON_SCHULZ_STEPS = 5
ADAM_EPSILON = 1e-10  # rare rows of the embedding have gradients far below the usual 1e-8
# The rows of these belong to single tokens: to Muon they are no matrix.
EMBEDDING, HEAD = "embed_tokens", "lm_head"
ADAPTER = ("lora_A", "lora_B")  # thin, one of them zero at first: AdamW, as they are tuned for


class Optimiser:
    """What the loop steps: AdamW for some parameters, Muon for the others."""

    def __init__(
        self,
        model: nn.Module,
        section: TrainSection,
        dtype: torch.dtype = torch.float32,
        shares: Mapping[str, Share] | None = None,
    ) -> None:
        """`dtype` is what Newton-Schulz computes in; its result needs no more than bfloat16.
        `shares` are those of the parameters of which a part lies here, by name."""
        self.section = section
        rate = section.learning_rate
        matrices, head, others, adapter = [], [], [], []
        self._names: dict[nn.Parameter, str] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            self._names[parameter] = name
            parts = name.split(".")
            if any(each in parts for each in ADAPTER):
                adapter.append(parameter)
            elif HEAD in parts:
                head.append(parameter)
            elif parameter.dim() != 2 or EMBEDDING in parts:
                others.append(parameter)
            else:
                matrices.append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": others, "lr": rate, "weight_decay": 0.0},
            {"params": head, "lr": section.head_learning_rate, "weight_decay": 0.0},
            {"params": adapter, "lr": section.adapter_learning_rate, "weight_decay": 0.0},
        ]
        self._parameters = [*others, *head, *matrices, *adapter]
        self._has_head, self._has_adapter = bool(head), bool(adapter)
        self._muon: Muon | None = None
        if section.optimiser == "muon":
            self._muon = Muon(
                matrices,
                momentum=section.momentum,
                weight_decay=section.weight_decay,
                dtype=dtype,
                shares=[(shares or {}).get(self._names[each]) for each in matrices],
            )
        else:
            decay = section.weight_decay
            groups.append({"params": matrices, "lr": rate, "weight_decay": decay})
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            betas=(section.beta1, section.beta2),
            eps=ADAM_EPSILON,
            fused=True,
        )
        self._peaks = [group["lr"] for group in self._adamw.param_groups]

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak rates; gradients are cleared."""
        for group, peak in zip(self._adamw.param_groups, self._peaks, strict=True):
            group["lr"] = factor * peak
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        if self._muon is not None:
            self._muon.step(factor * self.section.matrix_learning_rate)

    def rates(self, factor: float) -> dict[str, float]:
        """The rates of a step at `factor`, by the setting that holds their peak."""
        if self._has_adapter:  # then nothing else learns
            return {"learning_rate": factor * self.section.adapter_learning_rate}
        rates = {"learning_rate": factor * self.section.learning_rate}
        if self._has_head:
            rates["head_learning_rate"] = factor * self.section.head_learning_rate
        if self._muon is not None:
            rates["matrix_learning_rate"] = factor * self.section.matrix_learning_rate
        return rates

    def clear(self) -> None:
        """Forget the gradients of a step that is not taken."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Everything a resumed run needs to step on as if never stopped: tensors by the parameter's
        name and their own. They are those in use, and go on to change."""
        muon = self._muon.momentum() if self._muon is not None else {}
        return {
            name: dict(self._adamw.state.get(parameter, {}))
            | ({"momentum": muon[parameter]} if parameter in muon else {})
            for parameter, name in self._names.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over a state kept by `state_dict`, on whatever device; AdamW goes on in the tensors
        given where they lie with the parameter."""
        muon = self._muon.momentum() if self._muon is not None else {}
        for parameter, name in self._names.items():
            kept = state.get(name, {})  # before the first step AdamW keeps nothing
            if parameter in muon:
                muon[parameter].copy_(local(kept["momentum"]))
            elif kept:
                device = local(parameter).device
                self._adamw.state[parameter] = {
                    key: value.to(device) for key, value in kept.items()
                }
            else:
                self._adamw.state.pop(parameter, None)


class Muon:
    """Momentum, orthogonalised, for matrices only; its state is stacked by shape.

    Of a matrix that lies split over processes each holds its part of the momentum; the whole is
    gathered for as long as it is orthogonalised.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        *,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
        shares: Sequence[Share | None] = (),
    ) -> None:
        self.decay_of_momentum, self.weight_decay, self.dtype = momentum, weight_decay, dtype
        self._alike: dict[tuple[tuple[int, ...], Share | None], list[nn.Parameter]] = {}
        for matrix, share in zip(matrices, shares or [None] * len(matrices), strict=True):
            self._alike.setdefault((tuple(matrix.shape), share), []).append(matrix)
        self._momentum = [
            torch.stack([torch.zeros_like(local(matrix)) for matrix in group]).detach()
            for group in self._alike.values()
        ]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update; gradients are cleared."""
        for kept_MRC, (kind, group) in zip(self._momentum, self._alike.items(), strict=True):
            share = kind[1]
            gradient_MRC = torch.stack([_gradient(matrix) for matrix in group])
            kept_MRC.lerp_(gradient_MRC, 1 - self.decay_of_momentum)
            nesterov_MRC = gradient_MRC.lerp_(kept_MRC, self.decay_of_momentum)
            if share is not None:
                nesterov_MRC = share.whole(nesterov_MRC)
            rows, columns = nesterov_MRC.shape[1:]
            update_MRC = orthogonalise(nesterov_MRC, self.dtype).to(nesterov_MRC.dtype)
            update_MRC *= max(1.0, rows / columns) ** 0.5
            if share is not None:
                update_MRC = share.part(update_MRC)
            here = [local(matrix) for matrix in group]
            if self.weight_decay:
                torch._foreach_mul_(here, 1 - rate * self.weight_decay)
            torch._foreach_add_(here, list(update_MRC.unbind()), alpha=-rate)
            for matrix in group:
                matrix.grad = None

    def momentum(self) -> dict[nn.Parameter, Tensor]:
        """What is held here of each matrix's momentum, in use."""
        return {
            matrix: kept
            for kept_MRC, group in zip(self._momentum, self._alike.values(), strict=True)
            for matrix, kept in zip(group, kept_MRC.unbind(), strict=True)
        }


def orthogonalise(matrices_MRC: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Each matrix with its singular vectors kept and its singular values driven to about 1.

    Five Newton-Schulz steps in `dtype`: values above a hundredth of the largest end within
    0.65–1.25, smaller ones below. The zero matrix stays zero.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices_MRC.shape[1] > matrices_MRC.shape[2]
    # The product below is square in the first axis, so the short one goes there.
    x = matrices_MRC.mT if tall else matrices_MRC
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


def _gradient(matrix: Tensor) -> Tensor:
    # A layer that took no part in the loss has no gradient; its momentum fades.
    return local(torch.zeros_like(matrix) if matrix.grad is None else matrix.grad)
