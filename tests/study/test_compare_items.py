"""Items of two models side by side, by hand."""

import pytest

from volano.evaluate.stage import RANDOM, Item
from volano.study.compare_items import Missing, Row, compare_items, judged_together


def right(task, outcomes, stage=""):
    return [Item(task, f"i{n}", stage, correct=each) for n, each in enumerate(outcomes)]


def scored(task, values, stage="", weights=None):
    return [
        Item(task, f"i{n}", stage, f"says {value}", value, None, weights and weights[n])
        for n, value in enumerate(values)
    ]


def test_right_and_wrong_are_compared_by_mcnemar_with_p_by_hand():
    # Of ten items the first alone has five right: p = 2 · (1/2)^5.
    (row,) = compare_items(
        right("choice_pmi", [True] * 8 + [False] * 2),
        right("choice_pmi", [True] * 3 + [False] * 7),
    ).rows
    assert (row.p_value, row.test) == (2 / 32, "exact McNemar")
    assert (row.first, row.second, row.n) == (0.8, 0.3, 10)
    assert (row.only_first, row.only_second) == (5, 0)
    assert row.low < row.difference == -0.5 < row.high


def test_a_planted_difference_is_found_and_a_score_that_only_varies_is_not():
    noise = [float((7 * n) % 11) for n in range(60)]
    other = [float((7 * n + 5) % 11) for n in range(60)]
    found = compare_items(
        [*scored("answer_chrf", noise), *scored("other_chrf", noise)],
        [*scored("answer_chrf", [each + 3 for each in other]), *scored("other_chrf", other)],
    )
    planted, none = judged_together(found.rows)
    assert planted.low > 1
    assert planted.verdict == "better"
    assert none.low < 0 < none.high
    assert none.verdict == "no difference shown"


def test_identical_models_differ_in_nothing():
    items = [*right("answers_end", [True, False] * 20), *scored("answer_chrf", [1.0, 2.0] * 20)]
    found = compare_items(items, items)
    for row in judged_together(found.rows):
        assert (row.difference, row.p_value, row.verdict) == (0, 1, "no difference shown")
    assert (found.changes, found.missing) == ([], [])


@pytest.mark.parametrize(
    ("task", "verdict"),
    [("answers_end", "better"), ("answers_repeat", "worse"), ("refused_safe", "worse")],
)
def test_more_is_better_where_it_is(task, verdict):
    found = compare_items(right(task, [False] * 20), right(task, [True] * 20))
    assert judged_together(found.rows)[0].verdict == verdict
    assert {each.lost for each in found.changes} == {verdict == "worse"}


def test_bits_are_summed_over_bytes_and_fewer_are_better():
    weights = [10.0, 990.0] * 10
    found = compare_items(
        scored("bits_per_byte", [1.0, 3.0] * 10, weights=weights),
        scored("bits_per_byte", [2.0, 2.0] * 10, weights=weights),
    )
    (row,) = judged_together(found.rows)
    # (10 · 2 + 990 · 2) / 1000 beside (10 · 1 + 990 · 3) / 1000; the plain means are both 2.
    assert (row.first, row.second) == pytest.approx((2.98, 2.0))
    assert row.difference == pytest.approx(-0.98)
    assert (row.verdict, row.unit) == ("better", "bits/byte")


def test_items_that_only_one_has_are_counted_and_not_compared():
    first = [*right("choice_pmi", [True] * 5), *right("choice_pmi", [True] * 4, "sft")]
    second = [*right("choice_pmi", [True] * 3), *scored("answer_chrf", [1.0])]
    found = compare_items(first, second)
    assert [(row.task, row.of, row.n) for row in found.rows] == [("choice_pmi", "", 3)]
    assert found.missing == [
        Missing("choice_pmi", "", 2, 0, 3),
        Missing("choice_pmi", "sft", 4, 0, 0),
        Missing("answer_chrf", "", 0, 1, 0),
    ]


def test_a_document_of_other_bytes_is_another_item():
    found = compare_items(
        scored("bits_per_byte", [1.0, 2.0, 3.0], weights=[10.0, 20.0, 30.0]),
        scored("bits_per_byte", [1.0, 2.0, 3.0], weights=[10.0, 20.0, 31.0]),
    )
    assert [row.n for row in found.rows] == [2]
    assert found.missing == [Missing("bits_per_byte", "", 1, 1, 2)]


def test_sampled_answers_count_once_per_function_and_references_not_at_all():
    first = [Item("sampled_chrf", f"f{n}#{s}", "sft", "x", 1.0) for n in range(3) for s in range(4)]
    second = [
        Item("sampled_chrf", f"f{n}#{s}", "sft", "x", 2.0 * (s % 2) + n)
        for n in range(3)
        for s in range(4)
    ]
    beside = right("choice_pmi", [True, False], RANDOM)
    (row,) = compare_items([*first, *beside], [*second, *beside]).rows
    assert (row.n, row.first, row.second) == (3, 1.0, 2.0)


def test_p_values_are_adjusted_by_holm_over_all_rows():
    rows = [
        Row("choice_pmi", "", 0, 0, 0.1, 0, 0, p_value, 9, "share", "")
        for p_value in (0.02, 0.001, 0.3)
    ]
    judged = judged_together(rows)
    assert [each.adjusted for each in judged] == pytest.approx([0.04, 0.003, 0.3])
    assert [each.verdict for each in judged] == ["better", "better", "no difference shown"]


def test_what_changed_has_its_answers_and_the_largest_stands_first():
    first = [*right("answers_end", [True, False]), *scored("answer_chrf", [9.0, 5.0])]
    second = [*right("answers_end", [False, True]), *scored("answer_chrf", [8.0, 1.0])]
    lost, won, larger, smaller = compare_items(first, second).changes
    assert (lost.id, lost.lost, lost.first, lost.second) == ("i0", True, 1, 0)
    assert (lost.first_answer, lost.second_answer) == ("says 9.0", "says 8.0")
    assert (won.id, won.lost) == ("i1", False)
    assert [each.id for each in (larger, smaller)] == ["i1", "i0"]
