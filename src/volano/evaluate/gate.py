"""The gate: may this version be promoted? Decided by tests whose margins were fixed beforehand.

Two things have to hold. *Better*: on the held-out half of what failed, which no version has learnt
from, the new one scores higher, by a paired test. *Nothing lost*: on every protected task of the
evaluation the data exclude a loss of the margin or more. A gate that cannot tell says no.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from volano.core.report import Measurement
from volano.evaluate.half import CHOICE, ENDS, EXACT, HALF, Row
from volano.evaluate.section import GateSection
from volano.evaluate.stage import Item, measured, outcomes
from volano.stats.intervals import bootstrap_interval, share_interval
from volano.stats.non_inferiority import non_inferior
from volano.stats.paired import mcnemar, paired_difference

FORMER, CANDIDATE = "former", "candidate"
BITS = "bits_per_byte"


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why; `lost` names the protected tasks that did not pass."""

    promote: bool
    reason: str
    better: bool
    lost: tuple[str, ...] = ()
    tests: tuple[dict[str, Any], ...] = field(default=())


def decide(
    half: Sequence[Item], rest: Sequence[Item], section: GateSection, *, seed: int
) -> Verdict:
    """The verdict on the items of both versions, whose stages are FORMER and CANDIDATE."""
    better = _better(half, section, seed)
    kept = [_kept(rest, task, section, seed) for task in section.protects]
    lost = tuple(each["name"] for each in kept if not each["passed"])
    reasons = []
    if not better["passed"]:
        reasons.append(_not_better(better, section))
    reasons += [_is_lost(each, section) for each in kept if not each["passed"]]
    promote = not reasons
    if promote:
        reasons = [
            f"better on the held-out half ({_points(better)}, p = {better['p_value']:.2g}), and "
            "nothing protected lost its margin"
        ]
    return Verdict(promote, "; ".join(reasons), better["passed"], lost, (better, *kept))


def verdict_of(extra: Mapping[str, Any]) -> Verdict:
    """The verdict that a gate's report holds."""
    value = extra["verdict"]
    lists = {name: tuple(value[name]) for name in ("lost", "tests")}
    return Verdict(**{**value, **lists})


def plain(verdict: Verdict) -> dict[str, Any]:
    """For a report's `extra`."""
    return asdict(verdict)


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


def _kept(rest: Sequence[Item], task: str, section: GateSection, seed: int) -> dict[str, Any]:
    one, two = _pairs(rest, task)
    found: dict[str, Any] = {"name": task, "question": "nothing lost", "n": len(one)}
    if len(one) < 2:
        nothing = {"difference": 0.0, "bound": 0.0, "margin": 0.0, "passed": False}
        return found | nothing | {"test": "none"}
    margin = section.accuracy_margin
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
    return [first[name] for name in ids], [second[name] for name in ids]


def _not_better(test: Mapping[str, Any], section: GateSection) -> str:
    if test["n"] < section.min_items:
        return (
            f"{test['n']} held-out questions, and the gate needs {section.min_items}: more feedback"
        )
    return f"not better on the held-out half ({_points(test)}, p = {test['p_value']:.2g})"


def _is_lost(test: Mapping[str, Any], section: GateSection) -> str:
    if test["n"] < section.min_items:
        return f"{test['name']} was measured on {test['n']} items, and needs {section.min_items}"
    if test["name"] == BITS:
        share = -test["difference"] / (test["margin"] / section.bits_margin)
        return f"{BITS} {100 * share:+.1f} %, and the margin is {100 * section.bits_margin:g} %"
    return (
        f"{test['name']} {100 * test['difference']:+.1f} points, at worst "
        f"{100 * test['bound']:+.1f}, and the margin is {100 * test['margin']:g}"
    )


def _points(test: Mapping[str, Any]) -> str:
    low, high = (100 * test[name] for name in ("low", "high"))
    return f"{100 * test['difference']:+.1f} points [{low:+.1f}, {high:+.1f}], n = {test['n']}"


def half_measurements(
    items: Sequence[Item], cases: Sequence[Row], *, seed: int
) -> list[Measurement]:
    """Scores of both versions on the held-out half, pooled and per finding, with intervals."""
    finding_of = {str(case["id"]): str(case["finding"]) for case in cases}
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
