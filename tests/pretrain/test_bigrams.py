"""The start from bigrams predicts as the counts do, and touches nothing else."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.pretrain.bigrams import count_bigrams, factors, start_from_bigrams
from volano.text.pack import pack_documents
from volano.text.stream import IGNORED_LABEL, TokenShards
from volano.text.tokenizer import train_tokenizer

TEXTS = [f"the {adjective} {noun} reads the {noun}." for adjective in ("old", "new", "red")
         for noun in ("file", "key", "stack", "queue")]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer = train_tokenizer(TEXTS * 20, vocabulary=300)
    documents = [(str(place), text) for place, text in enumerate(TEXTS * 20)]
    pack_documents(folder, {"function": documents}, tokenizer, context=13)
    return TokenShards(folder)


def untied(shards, width=32):
    config = DecoderConfig(shards.meta["vocabulary"], width, 2, 2, 2, 64, 16, tied=False)
    model = Decoder(config)
    initialise(model, 1)
    return model


def nats(model, shards, rows):
    """Mean negative log-likelihood of the labels in these rows."""
    batch = shards.read(rows)
    labels = torch.from_numpy(batch.labels_BT)
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.tokens_BT), torch.from_numpy(batch.document_BT))
    return float(
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL
        )
    )


def test_counts_are_those_of_a_plain_loop(shards):
    rows = np.arange(0, shards.rows, 2)
    counts = count_bigrams(shards, rows, shards.meta["vocabulary"]).toarray()
    expected = np.zeros_like(counts)
    batch = shards.read(rows)
    for tokens, labels in zip(batch.tokens_BT, batch.labels_BT, strict=True):
        for token, label in zip(tokens, labels, strict=True):
            if label != IGNORED_LABEL:
                expected[token, label] += 1
    assert (counts == expected).all()
    assert 0 < counts.sum() < batch.labels_BT.size  # there was padding to leave out


def test_first_loss_lies_near_that_of_the_bigrams_and_far_below_the_unigrams(shards):
    rows = np.arange(shards.rows)
    model = untied(shards)
    random = nats(model, shards, rows)
    start_from_bigrams(model, shards, rows)
    counts = count_bigrams(shards, rows, shards.meta["vocabulary"]).toarray()
    joint = counts / counts.sum()
    marginal = joint.sum(0)
    unigram = -np.sum(marginal[marginal > 0] * np.log(marginal[marginal > 0]))
    given = joint / np.maximum(joint.sum(1, keepdims=True), 1e-12)
    bigram = -np.sum(joint[joint > 0] * np.log(given[joint > 0]))
    started = nats(model, shards, rows)
    assert bigram < started < (bigram + unigram) / 2 < unigram < random


def test_layers_begin_as_the_identity_and_keep_their_other_weights(shards):
    model, untouched = untied(shards), untied(shards)
    start_from_bigrams(model, shards, np.arange(shards.rows))
    for (name, weight), before in zip(
        model.named_parameters(), untouched.parameters(), strict=True
    ):
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            assert not weight.any()
        elif "layers" in name or "norm" in name:
            assert torch.equal(weight, before)
        else:
            assert not torch.equal(weight, before)


def test_the_same_rows_give_the_same_bytes(shards):
    first, second = untied(shards), untied(shards)
    for model in (first, second):
        start_from_bigrams(model, shards, np.arange(shards.rows))
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


def test_embeddings_have_the_length_that_the_last_norm_gives():
    counts = csr_matrix(np.random.default_rng(1).poisson(1.0, (50, 50)).astype(float))
    embedding, head = factors(counts, 16)
    assert np.allclose(np.square(embedding).sum(1), 16)
    assert np.isfinite(head).all()


def test_a_token_never_seen_starts_with_finite_weights():
    counts = np.zeros((20, 20))
    counts[0, 1] = counts[1, 2] = 5
    embedding, head = factors(csr_matrix(counts), 8)
    assert np.isfinite(embedding).all()
    assert np.isfinite(head).all()
