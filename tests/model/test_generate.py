import math

import numpy as np
import pytest
import torch
from scipy import stats
from tiny_decoder import tiny_decoder

from volano.core.errors import DataError
from volano.model.generate import choose, generate

PROMPTS = [[3, 1, 4, 1, 5, 9], [2], [7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9], [6, 6], [1, 2, 3, 4, 5]]


@pytest.fixture(scope="module")
def model():
    return tiny_decoder()


def plain_greedy(model, prompt, new_tokens, stop_ids=()):
    """No cache, no batch, no padding."""
    tokens, ended = list(prompt), False
    while not ended and len(tokens) < min(len(prompt) + new_tokens, model.config.context):
        token = int(model(torch.tensor([tokens]))[0, -1].argmax())
        ended = token in stop_ids
        tokens += [] if ended else [token]
    return tokens[len(prompt) :], ended


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batched_greedy_answers_equal_the_plain_loop(model, batch_size):
    stop_ids = {plain_greedy(model, PROMPTS[2], 8)[0][4], plain_greedy(model, PROMPTS[1], 8)[0][1]}
    made = generate(model, PROMPTS, max_new_tokens=12, stop_ids=stop_ids, batch_size=batch_size)
    expected = [plain_greedy(model, prompt, 12, stop_ids) for prompt in PROMPTS]
    assert [(each.tokens, each.ended) for each in made] == expected
    assert {each.ended for each in made} == {True, False}  # or the test would show less


def test_answer_goes_on_until_the_context_is_full(model):
    made = generate(model, PROMPTS, max_new_tokens=1000)
    assert [len(each.tokens) for each in made] == [32 - len(prompt) for prompt in PROMPTS]
    assert [each.tokens for each in made] == [plain_greedy(model, p, 1000)[0] for p in PROMPTS]
    assert not any(each.ended for each in made)


def test_samples_depend_on_seed_and_place_and_not_on_the_batch(model):
    same = [PROMPTS[0]] * 6
    settings = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.9}
    first, again, alone, other = (
        [each.tokens for each in generate(model, same, **settings, seed=seed, batch_size=size)]
        for seed, size in ((1, 64), (1, 64), (1, 2), (2, 64))
    )
    assert first == again == alone
    assert first != other
    assert len({tuple(tokens) for tokens in first}) > 1


def test_samples_follow_the_tempered_distribution():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    draws = np.random.default_rng(0).random(20_000)
    chosen = choose(logits.expand(20_000, 4), 0.7, 1.0, draws)
    counts = torch.bincount(chosen, minlength=4).numpy()
    expected = (logits / 0.7).softmax(0).double().numpy() * 20_000
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_top_p_keeps_the_fewest_tokens_that_hold_it():
    logits = torch.tensor([0.1, 0.5, 0.25, 0.15]).log()
    draws = np.linspace(0, 1, 1000, endpoint=False)
    counts = [
        torch.bincount(choose(logits.expand(1000, 4), 1.0, top_p, draws), minlength=4).tolist()
        for top_p in (0.4, 0.7)
    ]
    assert counts[0] == [0, 1000, 0, 0]
    assert counts[1] == [0, 667, 333, 0]  # 0.5 : 0.25 of the 1,000 evenly spaced draws


def test_nothing_asked_gives_nothing(model):
    assert generate(model, [], max_new_tokens=5) == []
    nothing = generate(model, [[1]], max_new_tokens=0)[0]
    assert nothing.tokens == []
    assert not nothing.ended
    assert math.isnan(nothing.seconds_to_first_token)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[1], []], "prompt 1: empty. Begin it"),
        ([[1], [1] * 32], "prompt 1: 32 tokens, and the model reads 32, the answer included. "),
        ([[1] * 32], "the prompt: 32 tokens, and the model reads 32, the answer included. Shorten"),
    ],
)
def test_prompt_that_leaves_no_room_is_refused(model, prompts, message):
    with pytest.raises(DataError) as refused:
        generate(model, prompts, max_new_tokens=1)
    assert str(refused.value).startswith(message)


def test_generation_computes_in_the_model_s_type():
    model = tiny_decoder().compute_in(torch.bfloat16)
    assert len(generate(model, PROMPTS, max_new_tokens=3)[0].tokens) == 3
    assert model.compute_dtype == torch.bfloat16
