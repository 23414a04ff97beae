"""The gate's decision on items whose answer is known, both ways."""

import json

import pytest

from volano.core.files import json_digest
from volano.core.finding import DataRequest, Finding
from volano.evaluate.gate import BITS, CANDIDATE, FORMER, decide
from volano.evaluate.half import HALF
from volano.evaluate.section import GateSection
from volano.evaluate.stage import Item
from volano.evaluate.step import GATE
from volano.evaluate.verdict import plain, verdict_of

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


def finding(name, **values):
    request = DataRequest(name, "Names for sentences.", 100, ("conversations",))
    return Finding(
        id=name,
        title=f"questions of {name}",
        cause="wrong, and nobody said what is right",
        cases=100,
        held_out=50,
        judged=500,
        share=0.2,
        low=0.1,
        high=0.3,
        medoid="",
        medoid_answer="",
        words=(),
        causes={},
        request=request,
    )


def said(verdict):
    return tuple(f"{each.records} {each.what}" for each in verdict.requests)


@pytest.mark.parametrize(
    ("second", "passed"), [((80, 0), False), ((80, 70), False), ((80, 78), True), ((0, 0), True)]
)
def test_what_is_gained_at_one_finding_hides_no_loss_at_another(second, passed):
    one, two = shares(200, 0, 120), shares(200, *second)
    half = scored(HALF, [*one[0], *two[0]], [*one[1], *two[1]])
    finding_of = {str(place): "first" if place < 200 else "second" for place in range(400)}
    findings = [finding("first"), finding("second")]
    verdict = decide(half, KEPT, SECTION, seed=1, findings=findings, finding_of=finding_of)
    assert verdict.better
    assert verdict.promote is passed
    apart = [test for test in verdict.tests if test["question"] == "not worse"]
    assert [(test["title"], test["n"]) for test in apart] == [
        ("questions of first", 200), ("questions of second", 200),
    ]  # fmt: skip
    if not passed:
        assert verdict.reason.startswith("worse at questions of second (-")
        assert verdict.reason.endswith("n = 200; the margin is 10 points)")
        asked = ("200 records for questions of second. Names for sentences.",)
        assert said(verdict) == asked, "what was gained is not asked for again"
        assert verdict.requests[0].finding == "second"


@pytest.mark.parametrize(
    ("n", "candidate", "passed"),
    [(2, 1, False), (20, 18, False), (20, 20, True), (60, 60, True), (104, 104, True)],
)
def test_a_kind_of_few_questions_is_no_worse_only_if_they_can_tell(n, candidate, passed):
    one, two = shares(300, 0, 150), shares(n, n, candidate)
    half = scored(HALF, [*one[0], *two[0]], [*one[1], *two[1]])
    finding_of = {str(place): "first" if place < 300 else "second" for place in range(300 + n)}
    findings = [finding("first"), finding("second")]
    verdict = decide(half, KEPT, SECTION, seed=1, findings=findings, finding_of=finding_of)
    assert verdict.promote is passed
    if not passed and n > 2:
        assert "it cannot be told whether worse at questions of second" in verdict.reason
        told = f"{n} more judged questions of second: {n} cannot tell whether they got worse."
        assert told in said(verdict)


def test_a_refusal_says_what_the_next_turn_needs():
    half, rest = scored(HALF, *shares(150, 30, 30)), scored(TASK, *shares(300, 270, 200))
    rest += scored(BITS, [2.0] * 300, [2.0] * 300)
    verdict = decide(half, rest, SECTION, seed=1, findings=[finding("first")])
    assert not verdict.promote
    assert said(verdict) == (
        "100 more judged questions of the kinds that fail.",
        "200 records for questions of first. Names for sentences.",
        "70 more conversations of those that the former version learnt, beside the new: as many "
        "items of answers_end got worse.",
    )
    assert decide(HALF_BETTER, KEPT, SECTION, seed=1).requests == ()
    assert verdict_of({"verdict": json.loads(json.dumps(plain(verdict)))}) == verdict


def test_bits_per_byte_weigh_documents_by_their_bytes():
    # Small documents lose a tenth, and the large ones, with nearly all bytes, nothing.
    former = [2.0] * 300
    candidate = [2.2 if place % 2 else 2.0 for place in range(300)]
    bits = [
        each._replace(weight=1.0 if int(each.id) % 2 else 1e4)
        for each in scored(BITS, former, candidate)
    ]
    rest = scored(TASK, *shares(300, 270, 270)) + bits
    verdict = decide(HALF_BETTER, rest, SECTION, seed=1)
    assert verdict.promote
    assert verdict.tests[-1]["difference"] == pytest.approx(-0.2 / 10_001)
    plain = [each._replace(weight=None) for each in bits]
    rest = scored(TASK, *shares(300, 270, 270)) + plain
    assert decide(HALF_BETTER, rest, SECTION, seed=1).lost == (BITS,)


def test_golden_figures_of_a_verdict():
    # A change here means another verdict for equal inputs: raise the step's version with it.
    former = [place % 7 / 7 for place in range(240)]
    half = scored(HALF, former, [value + place % 5 / 40 for place, value in enumerate(former)])
    rest = scored(TASK, *shares(300, 270, 262)) + scored(BITS, [2.0] * 300, [2.01] * 300)
    figures = [
        {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in test.items()
        }
        for test in decide(half, rest, SECTION, seed=1).tests
    ]
    assert (GATE.version, json_digest(figures)[:16]) == (8, "63fabc3cd56f1df4")
