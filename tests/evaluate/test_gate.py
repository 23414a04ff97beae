"""The gate's decision on items whose answer is known, both ways."""

import pytest

from volano.evaluate.gate import BITS, CANDIDATE, FORMER, decide
from volano.evaluate.half import HALF
from volano.evaluate.section import GateSection
from volano.evaluate.stage import Item

TASK = "answers_end"
SECTION = GateSection(protects=[TASK, BITS])


def scored(task, former, candidate):
    """Items of both versions, by place."""
    return [
        Item(task, str(place), stage, score=float(score))
        for stage, scores in ((FORMER, former), (CANDIDATE, candidate))
        for place, score in enumerate(scores)
    ]


def shares(n, former, candidate):
    """Of `n` right and wrong answers, how many are right before and after; the same ones first."""
    return [place < former for place in range(n)], [place < candidate for place in range(n)]


HALF_BETTER = scored(HALF, *shares(300, 60, 90))
KEPT = scored(TASK, *shares(300, 270, 270)) + scored(BITS, [2.0] * 300, [2.0] * 300)


def test_better_where_it_failed_and_nothing_lost_is_promoted():
    verdict = decide(HALF_BETTER, KEPT, SECTION, seed=1)
    assert verdict.promote
    assert verdict.lost == ()
    assert verdict.reason.startswith("better on the held-out half (+10.0 points")
    better, *kept = verdict.tests
    assert (better["n"], better["test"]) == (300, "exact McNemar")
    assert better["p_value"] == pytest.approx(2 * 0.5**30)
    assert [each["name"] for each in kept] == [TASK, BITS]


@pytest.mark.parametrize(
    ("half", "reason"),
    [
        (shares(300, 60, 60), "not better on the held-out half (+0.0 points"),
        (shares(300, 90, 60), "not better on the held-out half (-10.0 points"),
        (shares(300, 60, 64), "not better on the held-out half (+1.3 points"),  # p = 0.125
        (shares(199, 60, 120), "199 held-out questions, and the gate needs 200"),
        (shares(1, 0, 1), "1 held-out questions, and the gate needs 200"),
    ],
)
def test_a_half_that_is_not_better_or_too_small_is_refused(half, reason):
    verdict = decide(scored(HALF, *half), KEPT, SECTION, seed=1)
    assert not verdict.promote
    assert not verdict.better
    assert verdict.lost == ()
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("n", "candidate", "lost"),
    [
        (300, 270, False),
        (300, 261, False),  # -3 points, at worst -4.7: one-sided; two-sided it would be -5
        (300, 257, True),  # -4.3 points are less than the margin, and at worst they are more
        (300, 200, True),
        (199, 199, True),  # nothing lost, on too few
    ],
)
def test_a_loss_that_the_data_do_not_exclude_is_refused_by_name(n, candidate, lost):
    former = min(270, n)
    rest = scored(TASK, *shares(n, former, min(candidate, n)))
    rest += scored(BITS, [2.0] * 300, [2.0] * 300)
    verdict = decide(HALF_BETTER, rest, SECTION, seed=1)
    assert verdict.promote is not lost
    assert verdict.lost == ((TASK,) if lost else ())
    assert verdict.better


@pytest.mark.parametrize(
    ("factor", "lost"), [(0.9, False), (1.005, False), (1.02, True), (1.5, True)]
)
def test_bits_per_byte_are_fewer_when_better_and_their_margin_is_a_share(factor, lost):
    former = [1.0 + (place % 7) / 10 for place in range(300)]
    rest = scored(TASK, *shares(300, 270, 270))
    rest += scored(BITS, former, [factor * each for each in former])
    verdict = decide(HALF_BETTER, rest, SECTION, seed=1)
    assert verdict.lost == ((BITS,) if lost else ())
    if lost:
        assert f"{BITS} {100 * (factor - 1):+.1f} %, and the margin is 1 %" in verdict.reason


def test_only_items_of_both_versions_are_compared():
    half = [each for each in HALF_BETTER if not (each.stage == CANDIDATE and int(each.id) >= 150)]
    verdict = decide(half, KEPT, SECTION, seed=1)
    assert verdict.tests[0]["n"] == 150
    assert not verdict.promote


def test_scores_between_right_and_wrong_are_compared_by_permutation():
    former = [(place % 10) / 20 for place in range(300)]
    half = scored(HALF, former, [each + 0.01 * (place % 3) for place, each in enumerate(former)])
    verdict = decide(half, KEPT, SECTION, seed=1)
    assert verdict.promote
    assert verdict.tests[0]["test"] == "paired bootstrap and permutation"
