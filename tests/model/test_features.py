"""What a family has beyond a plain Llama, on every way through the model."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_decoder import FAMILY_FEATURES, tiny_decoder

from volano.model.cache import StaticCache
from volano.model.generate import generate
from volano.model.likelihood import mean_nll
from volano.model.score import score
from volano.model.slot_cache import SlotCache
from volano.model.slots import SlotEngine

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


def tokens(rows, length, seed=0):
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=list(FAMILY_FEATURES))
def model(request):
    decoder = tiny_decoder(**FAMILY_FEATURES[request.param])
    assert decoder.config.family == request.param
    return decoder


@torch.no_grad()
def test_static_cache_gives_the_logits_of_the_whole_forward(model):
    own = tokens(2, 20)
    padded = torch.cat([torch.cat([tokens(1, 3), own[:1]], 1), tokens(1, 23, seed=1)])
    cache = StaticCache(model.config, torch.tensor([3, 0]), 23, torch.float32)
    pieces = [padded[:, :12], *padded[:, 12:].split(1, dim=1)]
    logits = torch.cat([model(piece, cache=cache) for piece in pieces], dim=1)
    torch.testing.assert_close(logits[0, 3:], model(own)[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[1], model(padded)[1], rtol=0, atol=1e-4)


def _slots(model):
    context = model.config.context
    return SlotCache(model.config, 2, torch.float32, torch.device("cpu"), context=context)


@torch.no_grad()
def test_slot_cache_gives_the_logits_of_the_whole_forward(model):
    cache, inputs = _slots(model), tokens(2, 20)
    window = cache.fill(2)
    read = model(inputs[:, :9], cache=window)
    window.keep([9, 6])  # three of the second row were padding
    for place in range(9, 20):
        window = cache.step()
        piece = torch.stack([inputs[0, place], inputs[1, place - 3]])[:, None]
        read = torch.cat([read, model(piece, cache=window)], dim=1)
        window.keep([1, 1])
    torch.testing.assert_close(read[0], model(inputs)[0], rtol=0, atol=1e-4)
    of_second = torch.cat([read[1, :6], read[1, 9:]])
    torch.testing.assert_close(of_second, model(inputs)[1, :17], rtol=0, atol=1e-4)


def test_slot_engine_gives_the_tokens_of_generate(model):
    expected = generate(model, [PROMPT], max_new_tokens=20, temperature=1.0)[0].tokens
    assert len(set(expected)) > 5
    engine, found, ended = SlotEngine(lambda: model, slots=2), [], threading.Event()
    engine.submit(
        PROMPT,
        max_new_tokens=20,
        temperature=1.0,
        on_token=lambda token: found.append(token.id),
        on_end=lambda _: ended.set(),
    )
    assert ended.wait(30)
    engine.close()
    assert found == expected


def test_packed_documents_are_what_they_are_alone(model):
    first, second = tokens(1, 13, seed=1), tokens(1, 17, seed=2)
    document_BT = torch.tensor([[4] * 13 + [9] * 17])
    packed = model(torch.cat([first, second], 1), document_BT)
    torch.testing.assert_close(packed[:, :13], model(first), rtol=0, atol=1e-5)
    torch.testing.assert_close(packed[:, 13:], model(second), rtol=0, atol=1e-5)


def test_shared_prompts_score_as_the_plain_loop(model):
    # The second branch stands far from its prompt in the row and near it in positions.
    pairs = [([1, 2, 3], [4, 5, 6, 7]), ([1, 2, 3], [8, 9] * 5), ([5] * 12, [1, 2])]
    expected = []
    with torch.no_grad():
        for prompt, completion in pairs:
            log_probs = model(torch.tensor([[*prompt, *completion]]))[0].log_softmax(-1)
            places = torch.arange(len(completion)) + len(prompt) - 1
            expected.append(log_probs[places, torch.tensor(completion)].sum().item())
    np.testing.assert_allclose(score(model, pairs), expected, rtol=1e-5, atol=1e-4)


def gradients(model):
    document_BT = torch.tensor([[0] * 11 + [1] * 19]).expand(2, -1)
    loss = mean_nll(model.hidden(tokens(2, 30), document_BT), model.head_weight, tokens(2, 30, 1))
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: each.grad.clone() for name, each in model.named_parameters()}


def test_training_through_the_fused_operators_equals_plain_autograd(model, monkeypatch):
    model.double().compute_in(torch.float64)
    fused = gradients(model)
    # Under the compiler the plain forms run.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    plain = gradients(model)
    torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-9)


def test_float64_stays_float64_to_the_loss(model, monkeypatch):
    model.double().compute_in(torch.float64)
    seen = set()
    monkeypatch.setattr(F, "linear", lambda *given: seen.add(given[0].dtype) or linear(*given))
    loss, found = gradients(model)
    assert seen == {loss.dtype, *(each.dtype for each in found.values())} == {torch.float64}


linear = F.linear


def test_token_beyond_the_window_changes_nothing():
    model = tiny_decoder(layers=1, window=5)
    first, second = tokens(1, 12), tokens(1, 12)
    second[0, 3] = (second[0, 3] + 1) % 50
    same = (model(first) == model(second)).all(-1)[0].tolist()
    assert same == [True] * 3 + [False] * 5 + [True] * 4  # itself and the four after it see it


def test_window_as_long_as_the_row_is_no_window():
    narrow, wide = tiny_decoder(window=4), tiny_decoder(window=20)
    plain = tiny_decoder()
    assert torch.equal(wide(tokens(1, 20)), plain(tokens(1, 20)))
    assert not torch.equal(narrow(tokens(1, 20)), plain(tokens(1, 20)))


def test_layer_without_rotation_does_not_know_the_order_of_what_it_sees():
    model = tiny_decoder(layers=1, unrotated_layers=(0,))
    turned = tiny_decoder(layers=1)
    first, second = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[3, 1, 2, 4]])
    torch.testing.assert_close(model(first)[:, 3], model(second)[:, 3])
    assert (turned(first)[:, 3] - turned(second)[:, 3]).abs().max() > 1e-3
