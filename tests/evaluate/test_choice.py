import json

import numpy as np
import pytest

from volano.core.records import Document
from volano.evaluate.choice import judge, matched_items
from volano.evaluate.held_out import askable, select_held_out
from volano.evaluate.overlap import lexical_share, shared_words
from volano.text.functions import answer_about, read_function


def document(name, summary, split="test"):
    metadata = json.dumps({"qualified_name": name, "summary": summary})
    return Document(
        f"p:{name}", f"{name}()\n\n{summary}", "s", "function", split, metadata=metadata
    )


def functions():
    """Names and answers share from none to two words, by design of the vocabulary."""
    verbs, nouns = ["load", "parse", "sort", "merge"], ["file", "tree", "array", "graph", "token"]
    made = []
    for n in range(60):
        verb, noun, other = verbs[n % 4], nouns[n % 5], nouns[n // 5 % 5]
        made.append(
            read_function(document(f"m.{verb}_{noun}{n}", f"{verb} one {other} number {n}"))
        )
    return made


def test_every_distractor_shares_at_least_as_many_words_as_the_truth():
    items = matched_items(functions(), most=1_000)
    assert len(items) > 10
    for item in items:
        assert item.answers[0] == answer_about(item.function)
        name = item.function.qualified_name
        assert item.shared == tuple(shared_words(name, answer) for answer in item.answers)
        assert min(item.shared[1:]) >= item.shared[0]
        assert len(set(item.answers)) == 4


def test_lexical_baseline_is_no_better_than_chance_on_matched_items():
    items = matched_items(functions(), most=1_000)
    assert np.mean([lexical_share(item.shared) for item in items]) <= 1 / 4


def test_item_without_three_near_distractors_is_not_asked():
    few = [document("a.load_json", "Load JSON."), document("b.x", "Load JSON too.")]
    few += [document(f"c{n}.y", f"Sort number {n}.") for n in range(5)]
    asked = {item.function.qualified_name for item in matched_items([*map(read_function, few)], 99)}
    # "a.load_json" shares two words with its answer, and only one other answer does as well.
    assert "a.load_json" not in asked
    assert "b.x" in asked


def test_items_are_the_same_each_time_and_fewer_are_the_first_of_many():
    items = matched_items(functions(), most=1_000)
    assert matched_items(functions(), most=5) == items[:5]


def test_choice_by_hand():
    item = matched_items(functions(), most=1)[0]
    item = item._replace(answers=("a", "bb", "é", "cccc"))
    # Per byte: −2, −1, −3, −1.25; minus the unconditional: 3, 1, 0, 1
    scores = judge([[-2.0, -2.0, -6.0, -5.0]], [[-5.0, -3.0, -6.0, -6.0]], [item])
    assert (scores.pmi, scores.normalised) == ([True], [False])


def test_tie_is_a_miss():
    item = matched_items(functions(), most=1)[0]
    assert judge([[-1.0] * 4], [[-1.0] * 4], [item]).pmi == [False]


def test_function_whose_answer_was_trained_on_is_kept_but_not_asked_about():
    documents = [
        document("t.a", "Return the copy of it.", split="train"),
        document("h.a", "Return the `copy` of it."),
        document("h.b", "Return something else."),
        document("h.c", "Return something  else."),
        document("h.p", "Return a pooled thing.", split="pool"),
        Document("topic", "x", "s", "topic"),
    ]
    held_out = select_held_out(documents)
    assert [d.id for d in held_out] == ["p:h.a", "p:h.b", "p:h.c"]
    assert [f.id for f in askable(held_out)] == ["p:h.b"]


@pytest.mark.parametrize("most", [0, 3])
def test_no_functions_make_no_items(most):
    assert matched_items([], most) == []
