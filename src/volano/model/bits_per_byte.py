"""How well a model predicts texts, in bits per byte: comparable across tokenizers.

Shapes: B windows, T tokens of a window.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from volano.model.decoder import Decoder
from volano.model.likelihood import IGNORED_LABEL, token_log_probs
from volano.text.tokenizer import Tokenizer

Array = npt.NDArray[Any]
BATCH_TOKENS = 8192


class BitsPerByte(NamedTuple):
    """Per text, so that an interval can be drawn over texts."""

    bits: Array  # float64
    utf8_bytes: Array  # int64

    @property
    def value(self) -> float:
        """All bits over all bytes; not a number where there is no byte."""
        total = int(self.utf8_bytes.sum())
        return float(self.bits.sum() / total) if total else float("nan")

    def of(self, chosen: Array) -> "BitsPerByte":
        """Those of some texts, by a mask or by places."""
        return BitsPerByte(self.bits[chosen], self.utf8_bytes[chosen])


class _Window(NamedTuple):
    text: int
    tokens: list[int]
    first_scored: int  # labels before this position were scored by the window before


def bits_per_byte(
    model: Decoder, tokenizer: Tokenizer, texts: Sequence[str], *, stride: int = 0
) -> BitsPerByte:
    """Bits of each text given that a document begins: -log2 of the probability of its tokens.

    The end-of-text token stands before each text as its condition and is not itself counted,
    neither before nor after, as in lm-evaluation-harness. A text longer than the context is read
    in windows that start `stride` tokens apart (0: half the context); each token is counted once,
    in the first window that holds it, and so sees at least `context - stride` tokens before it
    except near the text's beginning. The empty text has no bits and no bytes.
    """
    stride = stride or max(1, model.config.context // 2)
    assert 0 < stride <= model.config.context
    windows = list(_windows(tokenizer, texts, model.config.context, stride))
    windows.sort(key=lambda window: len(window.tokens))  # neighbours of a length need no padding
    bits = np.zeros(len(texts))
    device = model.head_weight.device
    training = model.training
    model.eval()
    with torch.inference_mode(), model.frozen():
        for batch in _batches(windows):
            length = len(batch[-1].tokens) - 1
            tokens_BT = torch.zeros(len(batch), length, dtype=torch.long)
            labels_BT = torch.full((len(batch), length), IGNORED_LABEL)
            for place, window in enumerate(batch):
                ids = torch.tensor(window.tokens)
                tokens_BT[place, : len(ids) - 1] = ids[:-1]
                first = window.first_scored
                labels_BT[place, first : len(ids) - 1] = ids[first + 1 :]
            # Padding stands after the text, where causal attention never looks.
            log_probs_BT = token_log_probs(
                model.hidden(tokens_BT.to(device)), model.head_weight, labels_BT.to(device)
            )
            nats = -log_probs_BT.double().sum(1).cpu().numpy()
            np.add.at(bits, [window.text for window in batch], nats / np.log(2))
    model.train(training)
    utf8_bytes = np.array([len(text.encode()) for text in texts], np.int64)
    return BitsPerByte(bits, utf8_bytes)


def _windows(
    tokenizer: Tokenizer, texts: Sequence[str], context: int, stride: int
) -> Iterator[_Window]:
    for place, ids in enumerate(tokenizer.encode_batch(texts)):
        whole = [tokenizer.begin_of_text_id, *ids]
        start = scored = 0  # labels scored so far: label i is whole[i + 1]
        while scored < len(ids):
            window = whole[start : start + context + 1]
            yield _Window(place, window, scored - start)
            scored = start + len(window) - 1
            start += stride


def _batches(windows: list[_Window]) -> Iterator[list[_Window]]:
    batch: list[_Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * len(window.tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
