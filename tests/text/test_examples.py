import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.text.chat import EncodedConversation
from volano.text.examples import fitting, pack_examples, row_order
from volano.text.stream import IGNORED_LABEL

CONTEXT, PADDING = 12, 99


def example(prompt, answer, first=1):
    length = prompt + answer
    return EncodedConversation(
        list(range(first, first + length)), [False] * prompt + [True] * answer
    )


examples = st.lists(st.builds(example, st.integers(1, 5), st.integers(1, 7)), max_size=20)


@given(examples)
def test_every_example_stands_whole_in_one_row_with_labels_on_its_answer_alone(given_examples):
    batch, rows = pack_examples(given_examples, context=CONTEXT, padding_id=PADDING)
    assert sorted(place for places in rows for place in places) == list(range(len(given_examples)))
    for row, places in enumerate(rows):
        for place in places:
            inside = batch.document_BT[row] == place
            ids, is_answer = given_examples[place]
            assert batch.tokens_BT[row][inside].tolist() == ids[:-1]
            wanted = [
                i if a else IGNORED_LABEL for i, a in zip(ids[1:], is_answer[1:], strict=True)
            ]
            assert batch.labels_BT[row][inside].tolist() == wanted
    padding = batch.document_BT == len(given_examples)
    assert (batch.labels_BT[padding] == IGNORED_LABEL).all()
    assert (batch.tokens_BT[padding] == PADDING).all()
    assert padding.sum() == batch.tokens_BT.size - sum(len(e.ids) - 1 for e in given_examples)


def test_example_that_is_too_long_is_left_out_and_counted():
    long, empty = example(4, CONTEXT), EncodedConversation([1, 2], [False, False])
    found = fitting([long, example(2, 2), empty], context=CONTEXT, where="x")
    assert found == ([1], 1, 1)
    assert fitting([example(4, CONTEXT - 3)], context=CONTEXT, where="x").places == [0]


@pytest.mark.parametrize("given_examples", [[], [example(4, CONTEXT)]])
def test_nothing_to_train_on_is_an_error_not_a_division_by_zero(given_examples):
    with pytest.raises(DataError, match="examples can be trained on"):
        fitting(given_examples, context=CONTEXT, where="finetune.data")


def test_no_row_comes_again_before_all_others_have():
    order = row_order(5, total=12, seed=1)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert not np.array_equal(order[:5], order[5:10])
    assert np.array_equal(order, row_order(5, total=12, seed=1))
    assert not np.array_equal(order, row_order(5, total=12, seed=2))
