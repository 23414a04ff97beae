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
from volano.pretrain.run import begin
from volano.pretrain.section import PretrainSection
from volano.study.recipe import Recipe
from volano.study.wheel import stages_of
from volano.text.pack import pack_documents
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import train_tokenizer
from volano.train.optimiser import Optimiser

VOCABULARY, WIDTH, CONTEXT, BEGINNING = 400, 96, 64, 0


def begun(*, induction, layers=2, width=WIDTH):
    """A model with embeddings as pretrain/bigrams.py makes them, of random counts."""
    heads = max(1, width // 64) if width != WIDTH else 2
    config = DecoderConfig(
        VOCABULARY, width, layers, heads, heads, feed_forward=96, context=CONTEXT, tied=False
    )
    model = Decoder(config)
    initialise(model, 1)
    counts = np.random.default_rng(1).poisson(0.2, (VOCABULARY, VOCABULARY)).astype(float)
    embedding, head = factors(csr_matrix(counts), width)
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
        at = CONTEXT // 2 + 9
        before = at - CONTEXT // 2 + 1  # where the token of `at` stood before
        assert tokens[at] == tokens[before]
        moved = effects(model, range(2), tokens, at=at)
        # The place itself is what makes the next one found; the last two are the first head's.
        moved[[before, at - 1]] = np.nan
        hits += np.nanargmax(moved) == before + 1
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


@pytest.mark.parametrize("width", [16, 32, 48, 64, 512])
def test_narrow_and_wide_models_begin_about_as_bigrams_do(width):
    tokens = repeated(8, 1)
    losses = []
    for induction in (False, True):
        model = begun(induction=induction, width=width)
        with torch.no_grad():
            logits = model(tokens[:, :-1])
        losses.append(float(F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())))
    assert losses[1] == pytest.approx(losses[0], abs=0.3)


@pytest.mark.parametrize("known", [6, 20, 60])
def test_a_corpus_of_few_tokens_begins_with_shorter_codes(known):
    model = begun(induction=False)
    counts = np.zeros((VOCABULARY, VOCABULARY))
    counts[:known, :known] = np.random.default_rng(1).poisson(3.0, (known, known))
    embedding, head = factors(csr_matrix(counts), WIDTH)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.from_numpy(embedding * 0.5))
        model.lm_head.weight.copy_(torch.from_numpy(head))
    add_induction_head(model, BEGINNING)
    assert all(torch.isfinite(each).all() for each in model.parameters())


def test_a_run_begins_as_its_section_says(tmp_path):
    texts = [(str(n), f"the {n} of {n + 1} reads the {n * n}") for n in range(200)]
    tokenizer = train_tokenizer([text for _, text in texts], vocabulary=300)
    pack_documents(tmp_path, {"function": texts}, tokenizer, context=32)
    stream = TokenStream(TokenShards(tmp_path), steps=9, batch_rows=4, seed=1)

    def weights(start):
        model = Decoder(DecoderConfig(300, 48, 2, 1, 1, 64, 32, tied=False))
        begin(model, start, stream, 1)
        return model

    by_hand = weights("bigrams")
    add_induction_head(by_hand, tokenizer.end_of_text_id)
    for one, two in zip(weights("induction").parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(weights("random").head_weight, weights("bigrams").head_weight)


def test_one_layer_is_too_few_and_is_said_before_anything_is_made():
    pretrain = {"start": "induction", "model": {"depth": 1, "tied": "off"}}
    recipe = Recipe.read({"name": "one", "pretrain": pretrain}, "recipe.yaml")
    with pytest.raises(RecipeError, match="takes two layers, and the model has one"):
        stages_of(recipe)


def test_a_tied_model_is_refused():
    with pytest.raises(RecipeError, match="start: induction sets embedding and head apart"):
        PretrainSection.read({"start": "induction"}, "recipe.yaml: pretrain")
