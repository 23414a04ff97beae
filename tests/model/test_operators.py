import pytest
import torch
import torch.nn.functional as F

from volano.model.operators import norm_heads, rms_norm, swiglu


def test_rms_norm_and_its_gradient_equal_the_formula():
    torch.manual_seed(0)
    hidden = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, dtype=torch.float64, requires_grad=True)
    expected = hidden / (hidden.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight
    torch.testing.assert_close(rms_norm(hidden, weight, 1e-3), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda h, w: rms_norm(h, w, 1e-3), (hidden, weight))


def test_rms_norm_is_the_same_when_nothing_is_learnt():
    hidden, weight = torch.randn(4, 8), torch.randn(8)
    with torch.no_grad():
        still = rms_norm(hidden, weight, 1e-5)
    torch.testing.assert_close(still, rms_norm(hidden, weight, 1e-5))


def head_problem(dtype=torch.float64):
    """Three heads of four to norm, and two behind them that stay."""
    torch.manual_seed(0)
    joined = torch.randn(2, 5, 20, dtype=dtype, requires_grad=True)
    return joined, torch.randn(3, 4, dtype=dtype, requires_grad=True)


def test_norm_of_heads_and_its_gradient_equal_the_formula():
    joined, weight = head_problem()
    headed = joined[..., :12].view(2, 5, 3, 4)
    normed = headed / (headed.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight
    expected = torch.cat([normed.flatten(-2), joined[..., 12:]], dim=-1)
    torch.testing.assert_close(norm_heads(joined, weight, 1e-3), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda j, w: norm_heads(j, w, 1e-3), (joined, weight))


def test_norm_of_heads_is_the_same_when_nothing_is_learnt():
    joined, weight = head_problem(torch.float32)
    with torch.no_grad():
        still = norm_heads(joined, weight, 1e-5)
    torch.testing.assert_close(still, norm_heads(joined, weight, 1e-5))


def test_swiglu_and_its_gradient_equal_the_formula():
    joined = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    gate, up = joined.chunk(2, dim=-1)
    torch.testing.assert_close(swiglu(joined), gate * torch.sigmoid(gate) * up)
    assert torch.autograd.gradcheck(swiglu, joined)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_bfloat16_norm_stays_within_two_of_its_roundings(scale):
    torch.manual_seed(0)
    hidden = (torch.randn(64, 32) * scale).bfloat16().requires_grad_()
    weight = torch.ones(32).bfloat16()
    exact = F.rms_norm(hidden.double(), (32,), weight.double(), 1e-5)
    error = (rms_norm(hidden, weight, 1e-5).double() - exact).abs() / exact.abs()
    assert error.max() < 2 * 2**-8
