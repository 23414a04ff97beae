"""Short examples, such as questions with their answers, packed into rows and never cut.

An example keeps to itself: its own document number, so that attention does not cross into its
neighbour, and labels on the answer alone. One that does not fit a row is left out and counted:
cut off, it would teach a model not to end.

Shapes: B rows, T positions.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError
from volano.text.chat import EncodedConversation
from volano.text.pack import best_fit
from volano.text.stream import IGNORED_LABEL, Batch

Array = npt.NDArray[Any]


class Fitting(NamedTuple):
    """Which examples can be trained on, and how many cannot."""

    places: list[int]
    too_long: int
    without_answer: int  # nothing to learn: their loss would divide by zero


def fitting(examples: Sequence[EncodedConversation], *, context: int, where: str) -> Fitting:
    """The examples of at most `context` positions that have a label. Raises DataError if none."""
    places, too_long, without_answer = [], 0, 0
    for place, example in enumerate(examples):
        if positions(example) > context:
            too_long += 1
        elif not any(example.is_answer[1:]):
            without_answer += 1
        else:
            places.append(place)
    if not places:
        what = f"none of {len(examples):,} examples can be trained on ({too_long:,} are too long)"
        raise DataError(what, where, f"Give examples of at most {context} tokens, with an answer.")
    return Fitting(places, too_long, without_answer)


def positions(example: EncodedConversation) -> int:
    """Positions that an example takes up: its last token is only ever a label."""
    return len(example.ids) - 1


def pack_examples(
    examples: Sequence[EncodedConversation], *, context: int, padding_id: int
) -> tuple[Batch, list[list[int]]]:
    """Rows that hold the examples, best fit, and the places of the examples in each row.

    The document number of a position is its example's place in `examples`, and their count in
    padding. Labels are shifted: IGNORED_LABEL outside answers.
    """
    rows = best_fit([positions(example) for example in examples], context)
    shape = (len(rows), context)
    tokens_BT = np.full(shape, padding_id, np.int64)
    labels_BT = np.full(shape, IGNORED_LABEL, np.int64)
    document_BT = np.full(shape, len(examples), np.int64)
    for row, places in enumerate(rows):
        begin = 0
        for place in places:
            ids, is_answer = (np.asarray(part) for part in examples[place])
            span = slice(begin, begin + len(ids) - 1)
            tokens_BT[row, span] = ids[:-1]
            labels_BT[row, span] = np.where(is_answer[1:], ids[1:], IGNORED_LABEL)
            document_BT[row, span] = place
            begin = span.stop
    return Batch(tokens_BT, labels_BT, document_BT), rows


def row_order(rows: int, *, total: int, seed: int) -> Array:
    """`total` row numbers: all in a fresh random order, then all in another, and so on."""
    epochs = -(-total // max(rows, 1))
    drawn = [np.random.default_rng([seed, epoch]).permutation(rows) for epoch in range(epochs)]
    return np.concatenate([*drawn, np.empty(0, np.int64)])[:total].astype(np.int64)
