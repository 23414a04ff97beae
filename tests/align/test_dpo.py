import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from volano.align.dpo import IGNORED_LABEL, PairLogProbs, dpo_loss, response_log_probs

LABELS_BT = torch.tensor([[1, 3, IGNORED_LABEL], [IGNORED_LABEL, 0, 2]])


def random_log_probs(seed: int, pairs: int = 3) -> PairLogProbs:
    values = torch.randn(2, pairs, dtype=torch.float64, generator=torch.manual_seed(seed))
    return PairLogProbs(*values.mul(20).unbind())


def numpy_loss(policy, reference, beta, label_smoothing):
    """Equation 7 with the cDPO weights, written from the paper."""
    chosen = policy.chosen_B.numpy() - reference.chosen_B.numpy()
    rejected = policy.rejected_B.numpy() - reference.rejected_B.numpy()
    margin = beta * (chosen - rejected)
    right, wrong = -np.logaddexp(0, -margin), -np.logaddexp(0, margin)
    return np.mean(-(1 - label_smoothing) * right - label_smoothing * wrong)


@given(st.integers(0, 10_000), st.floats(0.01, 2.0), st.floats(0.0, 0.49))
def test_loss_equals_the_formula_in_numpy(seed, beta, label_smoothing):
    policy, reference = random_log_probs(seed), random_log_probs(seed + 1)
    output = dpo_loss(policy, reference, beta=beta, label_smoothing=label_smoothing)
    expected = numpy_loss(policy, reference, beta, label_smoothing)
    assert output.loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_response_log_probs_equal_a_plain_sum_over_labels():
    logits_BTV = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.manual_seed(0))
    log_probs = logits_BTV - logits_BTV.exp().sum(-1, keepdim=True).log()
    expected = [log_probs[0, 0, 1] + log_probs[0, 1, 3], log_probs[1, 1, 0] + log_probs[1, 2, 2]]
    found_B = response_log_probs(logits_BTV, LABELS_BT)
    np.testing.assert_allclose(found_B.numpy(), [float(e) for e in expected], rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences():
    policy = [t.requires_grad_() for t in random_log_probs(0)]
    reference = random_log_probs(1)

    def loss(chosen_B, rejected_B):
        return dpo_loss(
            PairLogProbs(chosen_B, rejected_B), reference, beta=0.1, label_smoothing=0.2
        ).loss

    assert torch.autograd.gradcheck(loss, policy)
    logits_BTV = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: response_log_probs(x, LABELS_BT), logits_BTV)


def test_policy_that_equals_the_reference_loses_ln_2_and_ranks_nothing():
    same = random_log_probs(0)
    output = dpo_loss(same, same, beta=0.1)
    assert output.loss.item() == pytest.approx(math.log(2), abs=1e-15)
    assert output.accuracy.item() == 0.0
    assert output.margin_B.tolist() == [0.0, 0.0, 0.0]


def test_accuracy_counts_the_pairs_ranked_rightly():
    reference = PairLogProbs(torch.zeros(4), torch.zeros(4))
    policy = PairLogProbs(torch.tensor([1.0, 1.0, -1.0, 0.0]), torch.zeros(4))
    assert dpo_loss(policy, reference, beta=0.1).accuracy.item() == 2 / 4


def test_sum_in_bfloat16_keeps_float32_digits():
    logits_BTV = torch.randn(1, 200, 7, generator=torch.manual_seed(0)).bfloat16()
    labels_BT = torch.zeros(1, 200, dtype=torch.long)
    exact = response_log_probs(logits_BTV.double(), labels_BT)
    assert response_log_probs(logits_BTV, labels_BT).item() == pytest.approx(exact.item(), rel=1e-6)


def test_hopeless_margin_has_a_finite_loss_in_float32():
    zero = torch.zeros(1)
    output = dpo_loss(PairLogProbs(zero - 5_000, zero), PairLogProbs(zero, zero), beta=0.1)
    assert output.loss.item() == pytest.approx(500.0)
