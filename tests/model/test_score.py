import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_decoder import tiny_decoder

from volano.core.errors import DataError
from volano.model import score as score_module
from volano.model.score import score

MODEL = tiny_decoder()
some_tokens = st.lists(st.integers(0, 49), min_size=1, max_size=10)
pairs_with_shared_prompts = st.lists(
    st.tuples(st.sampled_from([(1,), (2, 3), (4,) * 9]) | some_tokens, st.just([]) | some_tokens),
    max_size=12,
)


@torch.no_grad()
def plain_score(model, prompt, completion):
    log_probs = model(torch.tensor([[*prompt, *completion]]))[0].log_softmax(-1)
    begin = len(prompt) - 1
    return sum(log_probs[begin + i, token].item() for i, token in enumerate(completion))


@settings(deadline=None, max_examples=40)
@given(pairs_with_shared_prompts, st.sampled_from([1, 64, 8192]), st.sampled_from([16, 256]))
def test_packed_scores_equal_the_plain_loop(pairs, batch_tokens, row_tokens):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_module, "ROW_TOKENS", row_tokens)
        scores = score(MODEL, pairs, batch_tokens=batch_tokens)
    expected = [plain_score(MODEL, *pair) for pair in pairs]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)


def test_shared_prompt_is_read_once(monkeypatch):
    read = []
    hidden = MODEL.hidden
    monkeypatch.setattr(
        MODEL,
        "hidden",
        lambda tokens, **rest: read.append(tokens.numel()) or hidden(tokens, **rest),
    )
    score(MODEL, [([1] * 20, [choice, 5]) for choice in range(4)])
    assert read == [24]  # the prompt, and the first of each completion's two tokens


def test_scores_are_float32_whatever_the_model_trains_in():
    reduced = tiny_decoder().compute_in(torch.bfloat16)
    pairs = [([1, 2, 3], [4, 5, 6])]
    assert score(reduced, pairs).tolist() == score(MODEL, pairs).tolist()
    assert reduced.compute_dtype == torch.bfloat16


def test_pair_may_fill_the_context_and_one_token_more():
    prompt = [1] * 20
    full = [2] * 13  # the last token is predicted and never read
    assert np.isfinite(score(MODEL, [(prompt, full)])).all()
    with pytest.raises(DataError, match="pair 0: 34 tokens, and the model reads 32"):
        score(MODEL, [(prompt, [*full, 2])])


def test_empty_prompt_is_refused():
    with pytest.raises(DataError, match="pair 1: empty prompt"):
        score(MODEL, [([1], [2]), ([], [2])])
