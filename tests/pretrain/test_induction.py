"""The written induction head looks where it should, and a model that has it learns to repeat."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.nn import functional as F

from volano.core.errors import RecipeError
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.pretrain.bigrams import factors
from volano.pretrain.induction import BEFORE, add_induction_head, one_back
from volano.pretrain.section import PretrainSection
from volano.train.optimiser import Optimiser

VOCABULARY, WIDTH, CONTEXT, BEGINNING = 400, 96, 64, 0


def begun(*, induction, layers=2, context=CONTEXT):
    """A model with embeddings as pretrain/bigrams.py makes them, of random counts."""
    config = DecoderConfig(
        VOCABULARY, WIDTH, layers, heads=2, key_value_heads=2, feed_forward=96, context=context,
        tied=False,
    )  # fmt: skip
    model = Decoder(config)
    initialise(model, 1)
    counts = np.random.default_rng(1).poisson(0.2, (VOCABULARY, VOCABULARY)).astype(float)
    embedding, head = factors(csr_matrix(counts), WIDTH)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.from_numpy(embedding * 0.5))
        model.lm_head.weight.copy_(torch.from_numpy(head))
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
    if induction:
        add_induction_head(model, BEGINNING)
    return model


def repeated(rows, seed, length=CONTEXT):
    """The beginning, other tokens at random, and the same again."""
    once = torch.randint(
        1, VOCABULARY, (rows, length // 2 - 1), generator=torch.Generator().manual_seed(seed)
    )
    return torch.cat([torch.full((rows, 1), BEGINNING), once, once], dim=1)


def effects(model, layers, tokens_T, *, at):
    """How far the state at a place moves when each token before it is changed to another one."""
    with torch.no_grad():

        def state(tokens):
            return model.through(model.embedded(tokens[None]), layers=layers)[0, at]

        moved = []
        for place in range(1, at):
            changed = tokens_T.clone()
            changed[place] = (changed[place] + 7) % (VOCABULARY - 1) + 1
            moved.append(float((state(changed) - state(tokens_T)).norm()))
    return np.array([np.nan, *moved])


@pytest.mark.parametrize("context", [8, 128, 2048])
def test_the_score_of_the_token_before_stands_above_all_others(context):
    config = DecoderConfig(300, 128, 2, 2, 2, 128, context, tied=False)
    query, key = one_back(config)
    half = config.head_width // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    distance = np.arange(context)
    turned = np.exp(1j * np.outer(distance, frequency))  # of the query against the key
    score = ((query[:half] + 1j * query[half:]) * turned * key[:half]).real.sum(axis=1)
    score /= np.sqrt(config.head_width)
    others = np.delete(score, 1)
    assert score[1] - others.max() == pytest.approx(BEFORE, rel=1e-6)


def test_the_first_layer_passes_on_the_token_before_and_no_other():
    model = begun(induction=True)
    moved = effects(model, range(1), repeated(1, 2)[0], at=20)
    assert np.nanargmax(moved) == 19
    assert moved[19] > 20 * np.nanmax(moved[:19])


def test_the_second_layer_sees_what_followed_the_same_token():
    model = begun(induction=True)
    head = model.model.layers[1].self_attn
    with torch.no_grad():  # it adds nothing by itself: let it add what it sees
        head.o_proj.weight[:, : model.config.head_width] = torch.eye(WIDTH, model.config.head_width)
    hits = 0
    for seed in range(10):
        tokens = repeated(1, seed)[0]
        at = CONTEXT // 2 + 9  # the token there stood at 10; what followed it, at 11
        assert tokens[at] == tokens[at - CONTEXT // 2 + 1]
        moved = effects(model, range(2), tokens, at=at)
        # The place of the token before is in sight of the first layer's head already.
        hits += np.nanargmax(moved[: at - 1]) in (at - CONTEXT // 2 + 1, at - CONTEXT // 2 + 2)
    assert hits >= 8


def test_the_first_predictions_are_those_of_the_bigrams_but_for_what_was_cleared():
    tokens = repeated(8, 3)
    with torch.no_grad():
        plain = begun(induction=False)(tokens)
        first = begun(induction=True)(tokens)
    plain, first = (F.log_softmax(each, dim=-1).flatten() for each in (plain, first))
    assert np.corrcoef(plain.numpy(), first.numpy())[0, 1] > 0.8


def loss_of_the_second_half(model):
    """After some steps on repeated random tokens, on others."""
    optimiser = Optimiser(model, PretrainSection(matrix_learning_rate=0.01))
    half = CONTEXT // 2

    def loss(tokens):
        logits = model(tokens[:, :-1])[:, half:]
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, half + 1 :].flatten())

    for step in range(60):
        loss(repeated(16, 100 + step)).backward()
        optimiser.step(1.0)
    with torch.no_grad():
        return float(loss(repeated(64, 99)))


def test_a_model_with_the_head_learns_to_repeat_and_one_without_has_not_yet():
    any_of_the_first_half = np.log(CONTEXT // 2 - 1)
    assert loss_of_the_second_half(begun(induction=False)) > any_of_the_first_half
    assert loss_of_the_second_half(begun(induction=True)) < 0.5 * any_of_the_first_half


def test_the_same_bytes_each_time_and_a_deeper_layer_is_left_alone():
    first, second = begun(induction=True, layers=3), begun(induction=True, layers=3)
    plain = begun(induction=False, layers=3)
    for (name, one), two, before in zip(
        first.named_parameters(), second.parameters(), plain.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        if name.startswith("model.layers.2") or "mlp" in name or "norm" in name:
            assert torch.equal(one, before), name


@pytest.mark.parametrize("width", [16, 48, 64, 256])
def test_narrow_and_wide_models_begin_with_finite_losses(width):
    heads = max(1, width // 64)
    config = DecoderConfig(
        VOCABULARY, width, 2, heads, heads, feed_forward=96, context=CONTEXT, tied=False
    )
    model = Decoder(config)
    initialise(model, 1)
    add_induction_head(model, BEGINNING)
    tokens = repeated(4, 1)
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert torch.isfinite(loss)


def test_one_layer_is_too_few():
    with pytest.raises(RecipeError, match="takes two layers, and the model has one"):
        begun(induction=True, layers=1)


def test_a_tied_model_is_refused():
    with pytest.raises(RecipeError, match="start: induction sets embedding and head apart"):
        PretrainSection.read({"start": "induction"}, "recipe.yaml: pretrain")
