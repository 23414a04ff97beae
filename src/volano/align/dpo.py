"""Direct preference optimisation: learn from ranked pairs with no reward model in between.

Shapes: B pairs, T tokens, V vocabulary. Log-probabilities are in nats, summed over the
tokens of a response.

Sources: Rafailov et al. 2023, equation 7; label smoothing after Mitchell 2023 (cDPO).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_LABEL = -100  # prompt and padding; torch's own default


class PairLogProbs(NamedTuple):
    """One model's log-probabilities. Named, because four bare tensors get swapped unnoticed."""

    chosen_B: Tensor
    rejected_B: Tensor


class DPOOutput(NamedTuple):
    loss: Tensor  # scalar, nats per pair
    accuracy: Tensor  # scalar, fraction of pairs ranked as the annotator did; a tie is a miss
    margin_B: Tensor  # implicit reward of the chosen response minus that of the rejected one


def response_log_probs(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Log-probability of each response, shape B, in float32 or finer.

    Labels are already shifted: `logits_BTV[:, t]` predicts `labels_BT[:, t]`. Positions that
    hold IGNORED_LABEL add nothing.
    """
    # A sum over T in bfloat16 keeps two digits; float64 stays, so that gradcheck means something.
    logits_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    nll_BT = F.cross_entropy(
        logits_BTV.transpose(1, 2), labels_BT, ignore_index=IGNORED_LABEL, reduction="none"
    )
    return -nll_BT.sum(dim=1)


def dpo_loss(
    policy: PairLogProbs, reference: PairLogProbs, *, beta: float, label_smoothing: float = 0.0
) -> DPOOutput:
    """Mean loss over the pairs; ln 2 as long as the policy still equals the reference.

    beta: reward per nat of departure from the reference (the paper's default: 0.1).
    label_smoothing: the fraction of pairs believed to be ranked the wrong way round, below 0.5.
    """
    chosen_reward_B = beta * (policy.chosen_B - reference.chosen_B)
    rejected_reward_B = beta * (policy.rejected_B - reference.rejected_B)
    margin_B = chosen_reward_B - rejected_reward_B
    # logsigmoid, because log(sigmoid(x)) is -inf below x = -88 in float32
    right_B, wrong_B = F.logsigmoid(margin_B), F.logsigmoid(-margin_B)
    loss_B = -(1 - label_smoothing) * right_B - label_smoothing * wrong_B
    return DPOOutput(loss_B.mean(), (margin_B > 0).float().mean(), margin_B.detach())
