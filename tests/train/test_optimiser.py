import copy
from dataclasses import replace

import pytest
import torch
from toy_run import CONFIG, toy_model, toy_section

from volano.model.decoder import Decoder, initialise
from volano.train.optimiser import NEWTON_SCHULZ, Muon, Optimiser, orthogonalise


def plain_muon(weight, gradients, *, rate, momentum, weight_decay):
    """One matrix, one step after the other, in double precision, as the paper writes it."""
    weight, kept = weight.double().clone(), torch.zeros_like(weight, dtype=torch.float64)
    a, b, c = NEWTON_SCHULZ
    for gradient in gradients:
        gradient = gradient.double()
        kept = momentum * kept + (1 - momentum) * gradient
        x = (1 - momentum) * gradient + momentum * kept
        x = x / x.norm()
        for _ in range(5):
            x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
        scale = max(1, weight.shape[0] / weight.shape[1]) ** 0.5
        weight = weight * (1 - rate * weight_decay) - rate * scale * x
    return weight


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_equals_the_plain_algorithm_on_every_shape(weight_decay):
    torch.manual_seed(0)
    shapes = [(8, 8), (24, 8), (8, 24), (8, 8)]
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    starts = [matrix.detach().clone() for matrix in matrices]
    gradients = [[torch.randn(shape) for shape in shapes] for _ in range(4)]
    muon = Muon(matrices, momentum=0.9, weight_decay=weight_decay)
    for step in gradients:
        for matrix, gradient in zip(matrices, step, strict=True):
            matrix.grad = gradient.clone()
        muon.step(0.05)
    for place, (matrix, start) in enumerate(zip(matrices, starts, strict=True)):
        expected = plain_muon(
            start,
            [step[place] for step in gradients],
            rate=0.05,
            momentum=0.9,
            weight_decay=weight_decay,
        )
        torch.testing.assert_close(matrix.detach().double(), expected, rtol=1e-4, atol=1e-5)


def test_muon_agrees_with_torch_within_the_bfloat16_of_its_newton_schulz():
    torch.manual_seed(0)
    mine, theirs = (torch.nn.Parameter(torch.ones(24, 8)) for _ in range(2))
    muon = Muon([mine], momentum=0.95, weight_decay=0.1)
    peer = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(24, 8)
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step(0.02)
        peer.step()
    torch.testing.assert_close(mine, theirs, rtol=0, atol=3e-3)


def test_orthogonalise_keeps_singular_vectors_and_flattens_singular_values():
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(3, 20, 20))
    right, _ = torch.linalg.qr(torch.randn(3, 20, 20))
    values = torch.logspace(0, -2, 20)
    out = orthogonalise(left @ torch.diag(values) @ right)
    turned = left.mT @ out @ right.mT
    diagonal = turned.diagonal(dim1=1, dim2=2)
    assert ((diagonal > 0.65) & (diagonal < 1.25)).all()
    torch.testing.assert_close(turned, torch.diag_embed(diagonal), rtol=0, atol=1e-4)


def test_orthogonalise_in_bfloat16_points_the_same_way():
    torch.manual_seed(0)
    matrices = torch.randn(3, 16, 48)
    fine, coarse = orthogonalise(matrices), orthogonalise(matrices, torch.bfloat16).float()
    cosine = torch.nn.functional.cosine_similarity(fine.flatten(1), coarse.flatten(1))
    assert (cosine > 0.999).all()


def test_zero_gradient_moves_nothing():
    assert (orthogonalise(torch.zeros(2, 4, 6)) == 0).all()


def test_adamw_equals_torch_adamw():
    mine, theirs = toy_model(), toy_model()
    section = toy_section(optimiser="adamw", weight_decay=0.1, learning_rate=0.01)
    optimiser = Optimiser(mine, section)
    outer = {"embed_tokens", "norm", "input_layernorm", "post_attention_layernorm"}
    plain = [p for name, p in theirs.named_parameters() if outer & set(name.split("."))]
    matrices = [p for name, p in theirs.named_parameters() if not outer & set(name.split("."))]
    peer = torch.optim.AdamW(
        [{"params": plain, "weight_decay": 0.0}, {"params": matrices}],
        lr=0.01,
        betas=(section.beta1, section.beta2),
        eps=1e-10,
        weight_decay=0.1,
    )
    for step in range(5):
        torch.manual_seed(step)
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        optimiser.step(1.0)
        peer.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_weights_decay_in_the_matrices_alone(optimiser):
    model = Decoder(replace(CONFIG, tied=False))
    initialise(model, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Optimiser(model, toy_section(optimiser=optimiser, weight_decay=0.5)).step(1.0)
    shrunk = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    outer = ("embed_tokens", "lm_head", "norm")
    assert shrunk == {name for name in before if not any(each in name for each in outer)}


def test_embedding_and_norms_are_left_to_adamw():
    model = toy_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    # Adam's first step is its rate in every entry, whatever the gradient.
    Optimiser(model, toy_section(learning_rate=0.5, matrix_learning_rate=1e-9)).step(1.0)
    for name, value in model.state_dict().items():
        moved = (before[name] - value).abs().max().item()
        assert moved == pytest.approx(0 if "proj" in name else 0.5, abs=1e-6), name


def test_untied_head_has_a_rate_of_its_own():
    model = Decoder(replace(CONFIG, tied=False))
    initialise(model, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    Optimiser(model, toy_section(learning_rate=0.5, head_learning_rate=0.25)).step(0.5)
    for name, rate in (("model.embed_tokens.weight", 0.25), ("lm_head.weight", 0.125)):
        moved = before[name] - model.state_dict()[name]
        torch.testing.assert_close(moved, torch.full_like(moved, rate))


def test_state_taken_over_steps_on_alike():
    models = [toy_model(), toy_model()]
    first = Optimiser(models[0], toy_section())
    torch.manual_seed(0)
    gradients = [[torch.randn_like(p) for p in models[0].parameters()] for _ in range(2)]

    def step(model, optimiser, gradient):
        for parameter, value in zip(model.parameters(), gradient, strict=True):
            parameter.grad = value.clone()
        optimiser.step(1.0)

    step(models[0], first, gradients[0])
    models[1].load_state_dict(models[0].state_dict())
    second = Optimiser(models[1], toy_section())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for model, optimiser in zip(models, (first, second), strict=True):
        step(model, optimiser, gradients[1])
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, other)
