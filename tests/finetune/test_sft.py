import numpy as np
import pytest
import torch
import torch.nn.functional as F

from volano.finetune.sft import AnswerObjective, AnswerStream
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.text.chat import EncodedConversation
from volano.text.stream import Batch

CONFIG = DecoderConfig(
    vocabulary=40, width=16, layers=2, heads=2, key_value_heads=1, feed_forward=24, context=24
)


def example(n):
    ids = [(n * 7 + k * 3) % 39 for k in range(5 + n % 4)]
    return EncodedConversation(ids, [False, False] + [True] * (len(ids) - 2))


EXAMPLES = [example(n) for n in range(20)]
SOURCES = [(f"d{n}",) for n in range(20)]


def stream(**changes):
    settings = {"context": 24, "padding_id": 39, "batch_rows": 2, "epochs": 1.0, "seed": 1}
    return AnswerStream(EXAMPLES, SOURCES, **(settings | changes))


def tensors(batch):
    return Batch(*(torch.from_numpy(part) for part in batch))


def model():
    decoder = Decoder(CONFIG)
    initialise(decoder, seed=3)
    return decoder


def test_loss_of_packed_rows_equals_each_answer_alone():
    decoder = model()
    answers = stream(batch_rows=1_000)
    output = AnswerObjective().loss(decoder, tensors(answers.batch(0)))
    total, tokens = 0.0, 0
    for ids, is_answer in EXAMPLES:
        logits = decoder(torch.tensor([ids[:-1]]))[0]
        nll = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
        total += nll[torch.tensor(is_answer[1:])].sum().item()
        tokens += sum(is_answer[1:])
    assert float(output.weight) == tokens
    assert output.loss.item() == pytest.approx(total / tokens, rel=1e-5)


def test_question_is_never_a_label():
    batch = stream(batch_rows=1_000).batch(0)
    for place, (ids, is_answer) in enumerate(EXAMPLES):
        labels = batch.labels_BT[batch.document_BT == place]
        assert [label >= 0 for label in labels] == is_answer[1:]
        assert labels[labels >= 0].tolist() == ids[is_answer.index(True) :]


def test_one_epoch_reads_every_example_once_and_knows_its_sources():
    answers = stream()
    tokens = {f"d{n}": len(EXAMPLES[n].ids) - 1 for n in range(20)}
    seen = answers.documents(answers.steps)
    assert answers.steps == round(answers.rows / 2)
    assert seen.items() <= tokens.items()
    assert answers.documents(0) == {}
    assert set(answers.documents_at(0)) == set(answers.documents(1))


def test_documents_of_steps_left_out_are_not_counted():
    answers = stream()
    whole, first = answers.documents(answers.steps), answers.documents(1)
    assert answers.documents(answers.steps, without={0}) == whole - first


def test_batches_are_a_pure_function_of_the_step_and_the_seed():
    first, again = stream(), stream()
    again.batch(2)
    for one, other in zip(first.batch(1), again.batch(1), strict=True):
        assert np.array_equal(one, other)
    assert stream(seed=2).documents_at(0) != first.documents_at(0)


def test_epochs_repeat_and_less_than_one_is_a_part():
    assert stream(epochs=3.0).steps == round(3 * stream().rows / 2)
    assert stream(epochs=0.01).steps == 1
    assert max(stream(epochs=2.0).documents(stream(epochs=2.0).steps).values()) <= 2 * 7
