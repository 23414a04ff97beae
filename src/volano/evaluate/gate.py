"""The gate: may this version be promoted? Decided by tests whose margins were fixed beforehand.

Two things have to hold. *Better*: on held-out questions of the kinds that failed, of which no new
data was made, the new version scores higher, by a paired test. *Nothing lost*: on each of the kinds
by itself, and on every protected task of the evaluation, the data exclude a loss of its margin or
more. A gate that cannot tell says no, and asks for the data that would help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from volano.core.finding import DataRequest, Finding
from volano.core.report import Measurement
from volano.evaluate.half import CHOICE, ENDS, EXACT, HALF, Row
from volano.evaluate.section import GateSection
from volano.evaluate.stage import Item, measured, outcomes
from volano.evaluate.verdict import Verdict
from volano.stats.intervals import bootstrap_interval, share_interval
from volano.stats.non_inferiority import non_inferior
from volano.stats.paired import mcnemar, paired_difference

FORMER, CANDIDATE = "former", "candidate"
BITS = "bits_per_byte"
SAFETY_TASKS = ("refusal_unsafe", "answered_safe")
LOOK_ALIKES = "pairs of safe and unsafe look-alikes", "preferences"
FORMER_DATA = (
    "conversations of those that the former version learnt, beside the new",
    "conversations",
)


def decide(
    half: Sequence[Item],
    rest: Sequence[Item],
    section: GateSection,
    *,
    seed: int,
    findings: Sequence[Finding] = (),
    finding_of: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on the items of both versions, whose stages are FORMER and CANDIDATE.

    `finding_of` maps ids of the half's items to ids of the `findings` whose kind they are of.
    """
    better = _better(half, section, seed)
    apart = _apart(half, findings, finding_of or {}, section, seed)
    kept = [_kept(rest, task, section, seed) for task in section.protects]
    lost = tuple(each["name"] for each in kept if not each["passed"])
    reasons = []
    if not better["passed"]:
        reasons.append(_not_better(better, section))
    reasons += [_is_worse(each) for each in apart if not each["passed"]]
    reasons += [_is_lost(each, section) for each in kept if not each["passed"]]
    promote = not reasons
    if promote:
        reasons = [
            f"better on the held-out half ({_points(better)}, p = {better['p_value']:.2g}), and "
            "nothing protected lost its margin"
        ]
    requests = () if promote else _requests(better, apart, kept, findings, section)
    tests = (better, *apart, *kept)
    return Verdict(promote, "; ".join(reasons), better["passed"], lost, requests, tests)


def _better(half: Sequence[Item], section: GateSection, seed: int) -> dict[str, Any]:
    one, two = _pairs(half, HALF)
    found: dict[str, Any] = {"name": HALF, "question": "better", "n": len(one)}
    if len(one) < 2:
        nothing = {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0, "passed": False}
        return found | nothing | {"test": "none"}
    difference = paired_difference(one, two, seed=seed)
    p_value, test = difference.p_value, "paired bootstrap and permutation"
    if all(value in (0.0, 1.0) for value in one + two):
        p_value = mcnemar([bool(v) for v in one], [bool(v) for v in two]).p_value
        test = "exact McNemar"
    enough = len(one) >= section.min_items
    passed = enough and p_value < section.significance and difference.value > 0
    return found | {
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p_value": p_value,
        "test": test,
        "passed": passed,
    }


def _apart(
    half: Sequence[Item],
    findings: Sequence[Finding],
    finding_of: Mapping[str, str],
    section: GateSection,
    seed: int,
) -> list[dict[str, Any]]:
    """Each finding by itself: what is gained at one may not hide what is lost at another."""
    former, candidate = (outcomes(half, HALF, stage) for stage in (FORMER, CANDIDATE))
    found = []
    for finding in findings:
        mine = {name for name in former if finding_of.get(name) == finding.id}
        ids = sorted(mine & candidate.keys())
        if len(findings) < 2 or len(ids) < 2:
            continue
        one, two = [former[name] for name in ids], [candidate[name] for name in ids]
        difference = paired_difference(one, two, seed=seed, permutations=0)
        # Few questions are asked of some kinds: the bound alone says whether they are enough.
        result = non_inferior(
            one,
            two,
            margin=section.finding_margin,
            min_items=2,
            seed=seed,
            significance=section.significance,
        )
        found.append(
            {
                "name": f"{HALF}@{finding.id}",
                "title": finding.title.partition(":")[0],
                "question": "not worse",
                "n": len(ids),
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "bound": result.bound,
                "margin": result.margin,
                "passed": result.passed and difference.high >= 0,
                "test": "one-sided paired bootstrap",
            }
        )
    return found


def _requests(
    better: Mapping[str, Any],
    apart: Sequence[Mapping[str, Any]],
    kept: Sequence[Mapping[str, Any]],
    findings: Sequence[Finding],
    section: GateSection,
) -> tuple[DataRequest, ...]:
    """What data the next turn needs: of what is there too little, did not gain, or was not kept."""
    asked = []
    if better["n"] < section.min_items:
        missing = 2 * (section.min_items - better["n"])  # half of them will be held out
        what = "more judged questions of the kinds that fail."
        asked.append(DataRequest("", what, missing, ("ratings",)))
    gained = {each["name"] for each in apart if each["low"] > 0}
    if not apart and better["passed"]:
        gained = {f"{HALF}@{each.id}" for each in findings}
    for finding in findings:
        if f"{HALF}@{finding.id}" not in gained and finding.request is not None:
            what = f"records for {finding.title}. {finding.request.what}"
            most = 2 * finding.request.records
            asked.append(replace(finding.request, what=what, records=most))
    for test in apart:
        if not test["passed"] and test["high"] >= 0:
            what = f"more judged {test['title']}: {test['n']} cannot tell whether they got worse."
            asked.append(DataRequest("", what, test["n"], ("ratings",)))
    for test in kept:
        if test["n"] < section.min_items:
            what = f"more items of {test['name']}, of which there are too few to tell."
            asked.append(DataRequest("", what, section.min_items - test["n"], ("items",)))
        elif not test["passed"]:
            what, kind = LOOK_ALIKES if test["name"] in SAFETY_TASKS else FORMER_DATA
            what = f"more {what}: as many items of {test['name']} got worse."
            asked.append(DataRequest("", what, test["worse"], (kind,)))
    return tuple(asked)


def _kept(rest: Sequence[Item], task: str, section: GateSection, seed: int) -> dict[str, Any]:
    one, two = _pairs(rest, task)
    found: dict[str, Any] = {"name": task, "question": "nothing lost", "n": len(one)}
    if len(one) < 2:
        nothing = {"difference": 0.0, "bound": 0.0, "margin": 0.0, "passed": False}
        return found | nothing | {"test": "none"}
    margin = section.accuracy_margin
    found["worse"] = sum(b > a if task == BITS else b < a for a, b in zip(one, two, strict=True))
    if task == BITS:  # fewer is better; the margin is a share of what the former needs
        margin = section.bits_margin * sum(one) / len(one)
        one, two = [-value for value in one], [-value for value in two]
    result = non_inferior(
        one,
        two,
        margin=margin,
        min_items=section.min_items,
        seed=seed,
        significance=section.significance,
    )
    return found | {
        "difference": result.value,
        "bound": result.bound,
        "margin": margin,
        "passed": result.passed,
        "test": "one-sided paired bootstrap",
    }


def _pairs(items: Sequence[Item], task: str) -> tuple[list[float], list[float]]:
    first, second = outcomes(items, task, FORMER), outcomes(items, task, CANDIDATE)
    ids = sorted(first.keys() & second.keys())
    share = _shares_of_bytes(items, ids) if task == BITS else dict.fromkeys(ids, 1.0)
    return [share[name] * first[name] for name in ids], [share[name] * second[name] for name in ids]


def _shares_of_bytes(items: Sequence[Item], ids: Sequence[str]) -> dict[str, float]:
    """Each document's bytes over their mean. So weighed, the mean of bits per byte is the ratio of
    sums that is reported, in which ten bytes do not count as much as ten thousand."""
    weights = {each.id: each.weight for each in items if each.task == BITS}
    sizes = {name: 1.0 if (size := weights[name]) is None else size for name in ids}
    mean = sum(sizes.values()) / max(len(sizes), 1)
    return {name: size / mean for name, size in sizes.items()}


def _not_better(test: Mapping[str, Any], section: GateSection) -> str:
    if test["n"] < section.min_items:
        return (
            f"{test['n']} held-out questions, and the gate needs {section.min_items}: more feedback"
        )
    return f"not better on the held-out half ({_points(test)}, p = {test['p_value']:.2g})"


def _is_worse(test: Mapping[str, Any]) -> str:
    verb = "worse" if test["high"] < 0 else "it cannot be told whether worse"
    bound, margin = 100 * test["bound"], 100 * test["margin"]
    points = f"{100 * test['difference']:+.1f} points, at worst {bound:+.1f}, n = {test['n']}"
    return f"{verb} at {test['title']} ({points}; the margin is {margin:g} points)"


def _is_lost(test: Mapping[str, Any], section: GateSection) -> str:
    if test["n"] < section.min_items:
        return f"{test['name']} was measured on {test['n']} items, and needs {section.min_items}"
    if test["name"] == BITS:
        share = -test["difference"] / (test["margin"] / section.bits_margin)
        return f"{BITS} {100 * share:+.1f} %, and the margin is {100 * section.bits_margin:g} %"
    return (
        f"{test['name']} {100 * test['difference']:+.1f} points, at worst "
        f"{100 * test['bound']:+.1f}, and the margin is {100 * test['margin']:g} points"
    )


def _points(test: Mapping[str, Any]) -> str:
    low, high = (100 * test[name] for name in ("low", "high"))
    return f"{100 * test['difference']:+.1f} points [{low:+.1f}, {high:+.1f}], n = {test['n']}"


def half_measurements(
    items: Sequence[Item], cases: Sequence[Row], *, seed: int
) -> list[Measurement]:
    """Scores of both versions on the held-out half, pooled and per finding, with intervals."""
    finding_of = {str(case["id"]): str(case["alike"]) for case in cases}
    found = []
    for stage in (FORMER, CANDIDATE):
        for task in (HALF, EXACT, ENDS, CHOICE):
            values = outcomes(items, task, stage)
            groups = {"": list(values.values())}
            for name, value in values.items():
                groups.setdefault(f"@{finding_of[name]}", []).append(value)
            for group, scores in groups.items():
                if len(scores) >= 2:
                    interval = (
                        bootstrap_interval(scores, seed=seed)
                        if task == HALF
                        else share_interval([bool(score) for score in scores])
                    )
                    found.append(measured(f"{task}{group}", stage, interval))
    return found
