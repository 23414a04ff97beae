import pytest

from volano.evaluate.comparisons import compare_stages, win_rates
from volano.evaluate.stage import Item


def answers(stage, scores, task="answer_chrf", length=10):
    return [
        Item(task, f"f{n}", stage, answer="x" * length, score=score)
        for n, score in enumerate(scores)
    ]


def choices(stage, right):
    return [Item("choice_pmi", f"f{n}", stage, correct=each) for n, each in enumerate(right)]


def test_shares_are_compared_item_by_item_by_mcnemar():
    items = choices("base", [True] * 2 + [False] * 8) + choices("sft", [True] * 10)
    [found] = compare_stages(items, seed=1)
    assert (found["first"], found["second"], found["test"]) == ("base", "sft", "exact McNemar")
    assert found["difference"] == pytest.approx(0.8)
    assert found["p_value"] == pytest.approx(2 * 0.5**8)
    assert found["n"] == 10


def test_scores_are_compared_by_permutation_and_the_ends_of_three_stages_too():
    items = [
        item
        for stage, shift in (("base", 0), ("sft", 5), ("aligned", 6))
        for item in answers(stage, [n + shift for n in range(30)])
    ]
    found = {(each["first"], each["second"]): each for each in compare_stages(items, seed=1)}
    assert found.keys() == {("base", "sft"), ("sft", "aligned"), ("base", "aligned")}
    assert found["base", "aligned"]["difference"] == pytest.approx(6)
    assert found["base", "sft"]["test"] == "paired permutation"


def test_items_that_one_stage_lacks_are_left_out():
    items = choices("base", [True] * 4) + choices("sft", [True] * 6)
    assert compare_stages(items, seed=1)[0]["n"] == 4


def test_win_rate_counts_higher_scores_and_half_of_the_ties():
    items = answers("base", [1.0, 2.0, 3.0, 4.0]) + answers("sft", [2.0, 3.0, 3.0, 1.0])
    found = {m.name: m for m in win_rates(items, seed=1)}
    assert found["win_rate_over_base"].value == 2.5 / 4
    assert found["win_rate_over_base"].stage == "sft"
    assert found["win_rate_over_base_length_controlled"].n == 4


def test_sampled_answers_count_once_per_function():
    items = [
        Item("sampled_chrf", f"f{n}#{seed}", stage, "x", score)
        for stage, scores in (("sft", (1.0, 1.0)), ("aligned", (2.0, 0.0)))
        for n in range(3)
        for seed, score in enumerate(scores)
    ]
    found = {m.name: m for m in win_rates(items, seed=1)}
    assert (found["win_rate_over_sft_sampled"].value, found["win_rate_over_sft_sampled"].n) == (
        0.5,
        3,
    )
