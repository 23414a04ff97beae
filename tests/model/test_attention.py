import pytest
import torch

from volano.model.attention import (
    HeadLayout,
    attend,
    attention,
    causal_mask,
    join_heads,
    split_heads,
)
from volano.model.rotary import rotation_at, rotation_table


def problem(tokens, layout, rows=2, dtype=torch.float64):
    torch.manual_seed(0)
    joined = torch.randn(
        rows,
        tokens,
        layout.query_width + 2 * layout.key_value_width,
        dtype=dtype,
        requires_grad=True,
    )
    table = rotation_table(tokens, layout.width, theta=100.0).to(dtype)
    document_BT = (torch.arange(tokens) // 5).expand(rows, tokens)
    mask = causal_mask(tokens, document_BT, dtype)
    return joined, rotation_at(table, torch.arange(tokens)[None]), mask


@pytest.mark.parametrize("layout", [HeadLayout(2, 2, 4), HeadLayout(4, 2, 6), HeadLayout(3, 1, 2)])
@pytest.mark.parametrize("tokens", [1, 7, 300])  # 300 takes three blocks of queries
def test_fused_attention_and_its_gradient_equal_the_plain_form(layout, tokens):
    joined, rotation, mask = problem(tokens, layout)
    fused = attention(joined, rotation, mask, layout)
    plain = join_heads(attend(*split_heads(joined, rotation, layout), mask))
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-12)
    flow = torch.randn_like(fused)
    (of_fused,) = torch.autograd.grad(fused, joined, flow)
    (of_plain,) = torch.autograd.grad(plain, joined, flow)
    torch.testing.assert_close(of_fused, of_plain, rtol=0, atol=1e-12)


def test_gradient_equals_finite_differences():
    layout = HeadLayout(2, 1, 4)
    joined, rotation, mask = problem(6, layout)
    assert torch.autograd.gradcheck(lambda x: attention(x, rotation, mask, layout), joined)


def test_scores_depend_on_distance_only():
    layout = HeadLayout(1, 1, 8)
    joined, _, mask = problem(4, layout, dtype=torch.float64)
    table = rotation_table(64, layout.width, theta=100.0).double()
    near, far = (
        attention(joined, rotation_at(table, torch.arange(4)[None] + begin), mask, layout)
        for begin in (0, 50)
    )
    torch.testing.assert_close(near, far, rtol=0, atol=1e-5)  # the table is float32


def test_mask_of_two_documents_written_out():
    mask = causal_mask(4, torch.tensor([[7, 7, 3, 3]]), torch.float32)
    seen = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert (mask == 0)[0].int().tolist() == seen
