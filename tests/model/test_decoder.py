import copy

import pytest
import torch
import torch.nn.functional as F
from tiny_decoder import FAMILY_FEATURES, tiny_decoder

from volano.model.decoder import Decoder, initialise, shape_for


def tokens(rows, length, seed=0):
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_neighbouring_document_does_not_change_a_logit():
    model = tiny_decoder()
    own, others = tokens(1, 10), [tokens(1, 12, seed) for seed in (1, 2)]
    document_BT = torch.tensor([[4] * 12 + [9] * 10])
    first, second = (model(torch.cat([each, own], 1), document_BT)[:, 12:] for each in others)
    assert torch.equal(first, second)
    # Alone it stands at other positions, and only distances count, up to rounding.
    torch.testing.assert_close(first, model(own), rtol=0, atol=1e-5)


def test_one_document_is_the_same_as_no_documents():
    model = tiny_decoder()
    assert torch.equal(
        model(tokens(2, 9)), model(tokens(2, 9), torch.zeros(2, 9, dtype=torch.long))
    )


def test_later_token_does_not_change_an_earlier_logit():
    model = tiny_decoder()
    first, second = tokens(1, 10), tokens(1, 10)
    second[0, 6:] = (second[0, 6:] + 1) % 50
    assert torch.equal(model(first)[:, :6], model(second)[:, :6])
    assert not torch.equal(model(first)[:, 6], model(second)[:, 6])


def test_logits_are_the_hidden_states_times_the_head():
    for tied in (True, False):
        model = tiny_decoder(tied=tied)
        expected = F.linear(model.hidden(tokens(2, 5)), model.head_weight)
        assert torch.equal(model(tokens(2, 5)), expected)


@pytest.mark.parametrize("features", [{}, *FAMILY_FEATURES.values()])
def test_gradient_of_every_parameter_equals_finite_differences(features):
    shape = {"vocabulary": 7, "width": 8, "heads": 2, "key_value_heads": 1, "feed_forward": 6}
    model = tiny_decoder(**shape | features).double()
    model.compute_in(torch.float64)
    inputs, labels = tokens(1, 5) % 7, tokens(1, 5, seed=1)[0] % 7

    def loss():
        return F.cross_entropy(model(inputs)[0], labels)

    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn_like(parameter)
        step = 1e-6 * direction
        with torch.no_grad():
            parameter += step
            above = loss()
            parameter -= 2 * step
            below = loss()
            parameter += step
        slope = (parameter.grad * direction).sum().item()
        assert (above - below).item() / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_names_are_those_of_hugging_face():
    names = set(tiny_decoder(tied=False, layers=1).state_dict())
    block = "model.layers.0."
    assert names == {
        "model.embed_tokens.weight",
        *(f"{block}self_attn.{each}_proj.weight" for each in "qkvo"),
        *(f"{block}mlp.{each}_proj.weight" for each in ("gate", "up", "down")),
        f"{block}input_layernorm.weight",
        f"{block}post_attention_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    }


def test_biases_begin_at_zero_and_norms_at_one():
    model = tiny_decoder(**FAMILY_FEATURES["qwen3"])
    initialise(model, seed=0)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, torch.full_like(parameter, not name.endswith(".bias")))


def test_seed_alone_decides_the_weights():
    config = tiny_decoder().config
    first, second, third = (Decoder(config) for _ in range(3))
    initialise(first, seed=3)
    torch.randn(5)
    initialise(second, seed=3)
    initialise(third, seed=4)
    for mine, same, other in zip(
        first.parameters(), second.parameters(), third.parameters(), strict=True
    ):
        assert torch.equal(mine, same)
        assert mine.dim() == 1 or not torch.equal(mine, other)


def test_frozen_weights_give_the_same_logits_and_are_forgotten_after():
    model = tiny_decoder()
    with torch.no_grad():
        before = model(tokens(1, 8))
        with model.frozen():
            assert torch.equal(model(tokens(1, 8)), before)
            with model.frozen(torch.float64):
                assert model(tokens(1, 8)).dtype == torch.float64
            assert torch.equal(model(tokens(1, 8)), before)
        model.model.layers[0].self_attn.q_proj.weight.mul_(2)
        assert not torch.equal(model(tokens(1, 8)), before)


def test_bfloat16_agrees_with_float32_and_leaves_parameters_and_gradients_alone():
    model = tiny_decoder()
    reduced = copy.deepcopy(model).compute_in(torch.bfloat16)
    exact, rough = model(tokens(2, 8)), reduced(tokens(2, 8))
    assert F.cosine_similarity(exact.flatten(), rough.float().flatten(), dim=0) > 0.999
    rough.float().sum().backward()
    assert {p.grad.dtype for p in reduced.parameters()} == {torch.float32}


@pytest.mark.parametrize("features", [{}, *FAMILY_FEATURES.values()])
def test_count_of_parameters_is_that_of_the_model(features):
    for tied in (True, False):
        model = tiny_decoder(tied=tied, **features)
        assert model.config.parameters == sum(p.numel() for p in model.parameters())


def test_laptop_model_has_the_documented_shape():
    shape = shape_for(1_400_000, vocabulary=4096, context=128)
    assert (shape.width, shape.layers, shape.heads, shape.feed_forward) == (128, 4, 2, 384)
    assert Decoder(shape).config.parameters == 1_377_408
