import pytest
import torch
import torch.nn.functional as F

from volano.model import likelihood
from volano.model.likelihood import IGNORED_LABEL, mean_nll, penalised_nll, token_log_probs


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(likelihood, "CHUNK_BYTES", 1)  # 64 rows a chunk: 3 chunks of 150 rows


def problem(dtype=torch.float64):
    torch.manual_seed(0)
    hidden = torch.randn(5, 30, 6, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, 11, (5, 30))
    labels[torch.rand(5, 30) < 0.2] = IGNORED_LABEL
    return hidden, weight, labels


def plain_nll(hidden, weight, labels, reduction):
    logits = (hidden @ weight.T).transpose(1, 2)
    return F.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL, reduction=reduction)


def test_mean_and_its_gradients_equal_cross_entropy_over_several_chunks():
    hidden, weight, labels = problem()
    ours, plain = mean_nll(hidden, weight, labels), plain_nll(hidden, weight, labels, "mean")
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(3 * ours, (hidden, weight)),
        torch.autograd.grad(3 * plain, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("z_weight", [0.0, 0.3])
def test_penalised_loss_its_parts_and_gradients_equal_the_formula(z_weight):
    hidden, weight, labels = problem()
    ours = penalised_nll(hidden, weight, labels, z_weight=z_weight)
    nll = plain_nll(hidden, weight, labels, "mean")
    log_z = torch.logsumexp(hidden @ weight.T, -1)[labels != IGNORED_LABEL]
    plain = nll + z_weight * log_z.square().mean()
    torch.testing.assert_close(ours.loss, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.nll, nll.detach(), rtol=0, atol=1e-12)
    if z_weight:  # without, nobody asks for it
        squared = log_z.detach().square().mean()
        torch.testing.assert_close(ours.squared_log_z, squared, rtol=0, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(3 * ours.loss, (hidden, weight)),
        torch.autograd.grad(3 * plain, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_gradient_of_the_penalised_loss_passes_gradcheck():
    hidden, weight, labels = problem()

    def loss(hidden, weight):
        return penalised_nll(hidden, weight, labels[:1], z_weight=0.3).loss

    rows = hidden[:1].detach().requires_grad_()
    assert torch.autograd.gradcheck(loss, (rows, weight))


def test_a_penalty_pulls_the_normaliser_towards_one():
    torch.manual_seed(0)
    hidden = torch.ones(64, 1, dtype=torch.float64)
    labels = torch.randint(0, 5, (64,))
    normalisers = []
    for z_weight in (0.0, 0.1):
        weight = torch.full((5, 1), 3.0, dtype=torch.float64, requires_grad=True)
        for _ in range(300):
            loss = penalised_nll(hidden, weight, labels, z_weight=z_weight).loss
            (gradient,) = torch.autograd.grad(loss, weight)
            with torch.no_grad():
                weight -= gradient
        normalisers.append(torch.logsumexp(weight[:, 0], 0).item())
    assert normalisers[0] > 4  # log 5 + 3, and no loss that moves it
    assert abs(normalisers[1]) < 1e-3


def test_token_values_and_their_gradients_equal_cross_entropy_over_several_chunks():
    hidden, weight, labels = problem()
    ours, plain = (
        token_log_probs(hidden, weight, labels),
        -plain_nll(hidden, weight, labels, "none"),
    )
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    flow = torch.randn_like(ours)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (hidden, weight), flow),
        torch.autograd.grad(plain, (hidden, weight), flow),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", [mean_nll, token_log_probs])
def test_a_frozen_head_has_no_gradient_and_the_states_have_the_same(function):
    hidden, weight, labels = problem()
    flow = torch.randn(5, 30, dtype=torch.float64) if function is token_log_probs else None
    with_head, _ = torch.autograd.grad(function(hidden, weight, labels), (hidden, weight), flow)
    frozen = weight.detach()
    (alone,) = torch.autograd.grad(function(hidden, frozen, labels), (hidden,), flow)
    assert torch.equal(alone, with_head)


def test_all_labels_ignored_cost_nothing_and_teach_nothing():
    hidden, weight, labels = problem()
    loss = mean_nll(hidden, weight, torch.full_like(labels, IGNORED_LABEL))
    loss.backward()
    assert loss.item() == 0.0
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_unlikely_label_under_huge_logits_stays_finite():
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]])
    assert mean_nll(hidden, weight, torch.tensor([1])).item() == 2000.0


def test_bfloat16_hidden_states_train_float32_weights_to_three_digits():
    hidden, weight, labels = problem(torch.float32)
    reduced = hidden.detach().bfloat16().requires_grad_()
    ours, plain = mean_nll(reduced, weight, labels), plain_nll(hidden, weight, labels, "mean")
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(plain.item(), rel=5e-3)
    (mine,), (theirs,) = torch.autograd.grad(ours, weight), torch.autograd.grad(plain, weight)
    assert mine.dtype == torch.float32
    assert F.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0) > 0.9999
