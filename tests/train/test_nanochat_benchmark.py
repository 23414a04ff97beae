"""What benchmarks/nanochat.py counts is the same on both sides; nanochat itself is not needed."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from volano.model.bits_per_byte import _windows

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import nanochat as benchmark
import nanochat_peer as peer

PRINTED = """\
Vocab size: 16,384
step 00000/00004 (0.00%) | loss: 9.704 | lrm: 0.25 | dt: 41234.50ms | tok/sec: 198 | epoch: 1 pq: 0
step 00001/00004 (25.00%) | loss: 9.6 | lrm: 0.50 | dt: 2000.00ms | tok/sec: 4,096 | epoch: 1 pq: 0
"""


def test_passages_are_whole_lines_and_lose_nothing():
    text = "".join(f"line {number}\n" + "\n" * (number % 3) for number in range(500)) + "end"
    found = list(benchmark.passages(text))
    assert "".join(found) == text
    assert max(map(len, found)) <= benchmark.PASSAGE_CHARACTERS < len(text)
    assert all(passage.endswith("\n") for passage in found[:-1])


def test_a_line_longer_than_a_passage_stays_whole():
    long = "x" * (benchmark.PASSAGE_CHARACTERS + 1) + "\n"
    assert list(benchmark.passages(f"a\n{long}b\n")) == ["a\n", long, "b\n"]
    assert list(benchmark.passages(f"{long}b\n\n")) == [long, "b\n\n"]


def test_seconds_of_each_step_are_read_from_what_nanochat_prints():
    assert benchmark.step_seconds(PRINTED) == [41.2345, 2.0]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 12, 13, 40])
def test_both_sides_read_a_text_in_the_same_windows(length):
    context, ids = 8, list(range(1, length + 1))
    tokenizer = SimpleNamespace(begin_of_text_id=0, encode_batch=lambda texts: [ids])
    ours = [
        (window.tokens, window.first_scored)
        for window in _windows(tokenizer, ["text"], context, context // 2)
    ]
    assert [tuple(window) for window in peer.windows([0, *ids], context)] == ours


def test_batches_hold_every_label_once_and_padding_none(monkeypatch):
    monkeypatch.setattr(peer, "BATCH_TOKENS", 40)
    texts = [[0, *range(1, length + 1)] for length in (0, 1, 3, 30, 70)]
    found = [window for ids in texts for window in peer.windows(ids, 16)]
    pairs = list(peer.batches(sorted(found, key=lambda window: len(window.tokens))))
    labels = [
        label for _, labels_BT in pairs for row in labels_BT.tolist() for label in row if label > 0
    ]
    assert sorted(labels) == sorted(token for ids in texts for token in ids[1:])
    for tokens_BT, labels_BT in pairs:
        assert tokens_BT.shape == labels_BT.shape
        assert tokens_BT.shape[1] >= 2
        assert tokens_BT.numel() <= 40
        scored = labels_BT != peer.IGNORED_LABEL
        # In these texts each token is one more than that before it.
        assert (labels_BT[scored] == tokens_BT[scored] + 1).all()
