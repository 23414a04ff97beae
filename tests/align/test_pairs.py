import numpy as np
import pytest
import torch

from volano.align.dpo import PairLogProbs, dpo_loss, response_log_probs
from volano.align.objective import PreferenceObjective
from volano.align.pairs import EncodedPair, PairBatch, PairStream
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.text.chat import EncodedConversation

CONFIG = DecoderConfig(
    vocabulary=40, width=16, layers=2, heads=2, key_value_heads=1, feed_forward=24, context=24
)


def response(n, length):
    ids = [1, 2] + [(n * 7 + k * 3) % 39 for k in range(length)]
    return EncodedConversation(ids, [False, False] + [True] * length)


PAIRS = [EncodedPair(response(n, 2 + n % 6), response(n + 50, 2 + n // 2 % 5)) for n in range(30)]
REFERENCE = np.random.default_rng(0).normal(-10, 3, (30, 2)).astype(np.float32)
SOURCES = [(f"d{n}", f"e{n}") for n in range(30)]


def stream(**changes):
    settings = {"padding_id": 39, "batch_pairs": 4, "epochs": 1.0, "seed": 1}
    return PairStream(PAIRS, REFERENCE, SOURCES, **(settings | changes))


def tensors(batch):
    return PairBatch(*(torch.from_numpy(part) for part in batch))


def model(seed):
    decoder = Decoder(CONFIG)
    initialise(decoder, seed=seed)
    return decoder


def test_both_sides_of_a_pair_stand_beside_their_reference():
    batch = stream(batch_pairs=30).batch(0)
    assert sorted(map(tuple, batch.reference_BS)) == sorted(map(tuple, REFERENCE))
    for pair in range(30):
        place = next(p for p in range(30) if REFERENCE[p, 0] == batch.reference_BS[pair, 0])
        for side, wanted in enumerate(PAIRS[place]):
            labels = batch.labels_BST[pair, side]
            assert labels[labels >= 0].tolist() == wanted.ids[2:]
            tokens = batch.tokens_BST[pair, side]
            assert tokens[: len(wanted.ids) - 1].tolist() == wanted.ids[:-1]


def test_epoch_reads_each_pair_once():
    pairs = stream(batch_pairs=5)
    assert pairs.steps == 6
    assert set(pairs.documents(pairs.steps)) == {name for two in SOURCES for name in two}


def test_documents_of_steps_left_out_are_not_counted():
    pairs = stream(batch_pairs=5)
    whole, first = pairs.documents(pairs.steps), pairs.documents(1)
    assert pairs.documents(pairs.steps, without={0}) == whole - first


def test_batches_are_a_pure_function_of_the_step():
    first, again = stream(), stream()
    again.batch(3)
    for one, other in zip(first.batch(1), again.batch(1), strict=True):
        assert np.array_equal(one, other)


def test_pairs_of_like_length_share_a_batch():
    pairs = stream(batch_pairs=2)
    widths = [pairs.batch(step).tokens_BST.shape[2] for step in range(15)]
    assert pairs.tokens == sum(2 * 2 * width for width in widths)
    assert len(set(widths)) > 2


def test_loss_equals_dpo_on_the_full_logits_plus_the_likelihood_term():
    decoder, batch = model(1), tensors(stream().batch(0))
    policy = PairLogProbs(
        *(
            response_log_probs(decoder(batch.tokens_BST[:, side]), batch.labels_BST[:, side])
            for side in (0, 1)
        )
    )
    reference = PairLogProbs(batch.reference_BS[:, 0], batch.reference_BS[:, 1])
    dpo = dpo_loss(policy, reference, beta=0.3, label_smoothing=0.1)
    tokens_B = (batch.labels_BST[:, 0] >= 0).sum(1)
    expected = dpo.loss - 0.5 * (policy.chosen_B / tokens_B).mean()
    objective = PreferenceObjective(beta=0.3, label_smoothing=0.1, nll_weight=0.5)
    output = objective.loss(decoder, batch)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert output.metrics["accuracy"].item() == dpo.accuracy.item()
    assert float(output.weight) == 4


def test_a_reminder_is_neither_ranked_nor_missed():
    decoder, batch = model(3), tensors(stream().batch(0))
    objective = PreferenceObjective(beta=0.3)
    of_three = objective.loss(decoder, type(batch)(*(field[1:] for field in batch)))
    for field in batch:
        field[0, 1] = field[0, 0]
    output = objective.loss(decoder, batch)
    assert output.weights["accuracy"] == output.weights["margin"] == 3
    for name in ("accuracy", "margin"):
        assert output.metrics[name].item() == pytest.approx(of_three.metrics[name].item())
    assert of_three.metrics["margin"].item() != 0


def test_step_against_the_gradient_prefers_the_chosen_response_more():
    decoder, batch = model(2), tensors(stream(batch_pairs=8).batch(0))
    objective = PreferenceObjective(beta=0.1)
    optimiser = torch.optim.SGD(decoder.parameters(), lr=0.05)
    before = objective.loss(decoder, batch)
    before.loss.backward()
    optimiser.step()
    after = objective.loss(decoder, batch)
    assert after.loss.item() < before.loss.item()
    assert after.metrics["margin"].item() > before.metrics["margin"].item()
