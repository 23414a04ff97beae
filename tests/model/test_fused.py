"""The attention of CUDA against that of the processor, as far as a processor can make its sums."""

import warnings

import pytest
import torch
from tiny_decoder import tiny_decoder

from volano.model import decoder, fused
from volano.model.attention import (
    HeadLayout,
    attention,
    causal_mask,
    join_heads,
    masks_by_window,
    split_heads,
)
from volano.model.likelihood import mean_nll
from volano.model.rotary import Rotation, rotation_at, rotation_table

TOKENS, LAYOUT = 150, HeadLayout(heads=4, key_value_heads=2, width=16)


@pytest.fixture(autouse=True)
def unfused(monkeypatch):
    """Let torch make the sums of its kernel one by one, which it else refuses for learning."""
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        yield


def given(documents: bool):
    generator = torch.Generator().manual_seed(1)
    shape = (2, TOKENS, (LAYOUT.heads + 2 * LAYOUT.key_value_heads) * LAYOUT.width)
    joined_BTP = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    flow = torch.randn(2, TOKENS, LAYOUT.query_width, generator=generator, dtype=torch.float64)
    position_BT = torch.arange(TOKENS)[None]
    table = rotation_table(TOKENS, LAYOUT.width, 10_000.0).double()
    place = torch.arange(TOKENS)
    document_BT = torch.stack([place // 60, place // 33]) if documents else None
    return joined_BTP, flow, Rotation(*rotation_at(table, position_BT)), position_BT, document_BT


@pytest.mark.parametrize("documents", [True, False])
@pytest.mark.parametrize("window", [0, 40])
def test_both_ways_give_the_attention_of_the_processor_and_its_gradient(documents, window):
    joined_BTP, flow, rotation, position_BT, document_BT = given(documents)
    mask = causal_mask(TOKENS, document_BT, torch.float64)
    mask = masks_by_window(mask, position_BT, position_BT, [window])[window]
    blocks = fused.causal_blocks(TOKENS, document_BT, [window], torch.device("cpu"))[window]
    ours = attention(joined_BTP, rotation, mask, LAYOUT)
    ways = {
        "flex": attention(joined_BTP, rotation, blocks, LAYOUT),
        "scaled": join_heads(fused.scaled(*split_heads(joined_BTP, rotation, LAYOUT), mask)),
    }
    (expected,) = torch.autograd.grad(ours, joined_BTP, flow)
    for name, attended in ways.items():
        torch.testing.assert_close(attended, ours, rtol=1e-12, atol=1e-12, msg=name)
        (found,) = torch.autograd.grad(attended, joined_BTP, flow)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, msg=name)


def learnt(model):
    tokens_BT = torch.arange(48).view(2, 24)
    document_BT = (torch.arange(24) // 9).expand(2, 24)
    loss = mean_nll(model.hidden(tokens_BT, document_BT), model.head_weight, tokens_BT)
    return loss, torch.autograd.grad(loss, [*model.parameters()])


@pytest.mark.parametrize("recompute", [False, True])
def test_a_decoder_with_windows_learns_the_same_through_blocks(monkeypatch, recompute):
    model = tiny_decoder(family="smollm3", window=6, full_layers=(0,)).double()
    model.compute_in(torch.float64)
    loss, gradients = learnt(model)
    taken = []

    def takes_blocks(device, dtype, head_width):
        taken.append((device.type, dtype, head_width))
        return True

    monkeypatch.setattr(decoder, "takes_blocks", takes_blocks)
    model.recompute = recompute
    other, others = learnt(model)
    assert taken == [("cpu", torch.float64, 8)]
    torch.testing.assert_close(other, loss, rtol=1e-12, atol=1e-12)
    for one, another in zip(gradients, others, strict=True):
        torch.testing.assert_close(another, one, rtol=1e-10, atol=1e-10)


def test_blocks_are_for_learning_on_cuda_where_triton_is(monkeypatch):
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr(fused, "find_spec", lambda name: object())
    assert fused.takes_blocks(cuda, torch.bfloat16, 64)
    assert not fused.takes_blocks(cuda, torch.float64, 64)
    assert not fused.takes_blocks(cuda, torch.bfloat16, 8)
    assert not fused.takes_blocks(torch.device("cpu"), torch.bfloat16, 64)
    with torch.no_grad():
        assert not fused.takes_blocks(cuda, torch.bfloat16, 64)
    monkeypatch.setattr(fused, "find_spec", lambda name: None)
    assert not fused.takes_blocks(cuda, torch.bfloat16, 64)
