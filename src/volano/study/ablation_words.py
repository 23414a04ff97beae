"""What an ablation found in plain words: the question, the verdict of each arm, what stands behind.

Every number comes from the verdicts or from the artifacts that they were made from. A metric that
failed its signal check counts for nothing here, and is named.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from volano.stats.seeds import MOST_SEEDS, seeds_to_show
from volano.study.ablation_found import SHARE, FoundAblation, Metric
from volano.study.ablation_read import little_left, of_one_document, reread
from volano.study.common_held_out import said_of_common
from volano.study.held_out_overlap import said_of_overlap
from volano.study.mixture_law import predicted
from volano.study.words import PERCENT, count_of, joined, measure_of, signed

MOST_NAMED = 3  # metrics of one verdict in a sentence; the table has all
LONGEST_NAMES = 90  # characters of a question; the list below it has all arms
FEW_ITEMS = 30  # documents or questions that a metric is of; fewer are told
LONGEST_REASON = 160  # of a failure in a sentence; the table has all of it
GREAT = 1e6  # from where on a figure is a power of ten: a model that diverged
STAGES = {"sft": "fine-tuned", "aligned": "aligned", "final": "last model"}
SHOWN = ("better", "worse")
NONE_SEEN = "so few seeds could show none"
UNSAID, UNSHOWN = "unsaid", "unshown"
HELD_EQUAL = {
    "tokens": "every arm was given as many tokens",
    "compute": "every arm was given the same compute{}",
    "documents": "every arm read its own text equally often",
}


def question_of(found: FoundAblation) -> str:
    """What was asked, as one sentence."""
    asked = str(found.report.extra.get("question") or "")
    if asked:
        return asked
    names = [f"`{each}`" for each in found.arms]
    if len(names) == 2:
        return f"Does {names[1]} do better than {names[0]}?"
    named = joined(names)
    return f"Which of {named if len(named) <= LONGEST_NAMES else f'{len(names)} arms'} does best?"


def headline_of(found: FoundAblation) -> str:
    """The verdicts without figures: a sentence for all the arms of which it holds."""
    first = f"`{found.arms[0]}`"
    if not found.report.comparisons:
        return f"Nothing is compared: no arm has two seeds in common with {first}."
    lost = [f"`{each}`" for each in found.arms if _is_lost(each, found)]
    alike: dict[str, list[str]] = {}
    for arm, judged in _judged(found).items():
        alike.setdefault(_verdict_of(judged, first), []).append(f"`{arm}`")
    said = []
    for verdict, arms in alike.items():
        if verdict == UNSAID:
            said.append(f"Of {joined(arms)} nothing is said: each metric failed its signal check.")
        elif verdict == UNSHOWN:
            said.append(f"No difference is shown between {joined(arms)} and {first}.")
        else:
            said.append(f"{joined(arms)} {'is' if len(arms) == 1 else 'are'} {verdict}.")
    if lost:
        said.append(f"Of {joined(lost)} nothing is known: every trial failed.")
    return " ".join(said)


def _is_lost(arm: str, found: FoundAblation) -> bool:
    trials = [each for each in found.trials if each.arm == arm]
    return bool(trials) and not any(each.measured for each in trials)


def paragraphs_of(found: FoundAblation) -> list[str]:
    """The verdict of each arm with its figures; and last, what a reader has to know to weigh
    them."""
    verdicts = [" ".join(_told(arm, judged, found)) for arm, judged in _judged(found).items()]
    weighed = (
        _crossed,
        _bracketed,
        _seeds,
        _more_seeds,
        _given_up,
        _common,
        _overlap,
        little_left,
        _in_common,
        _in_training,
        _few,
        _of_one_document,
        _held_equal,
        reread,
        _alike,
    )
    behind = [told(found) for told in (*weighed, _failed, _greyed)]
    verdicts += [each.said for each in predicted(found)]
    return [each for each in [*verdicts, " ".join(filter(None, behind))] if each]


def title_of(metric: Metric) -> str:
    """A metric as a row of a table has it: Bits per byte: function."""
    title = measure_of(metric.family).title
    return f"{title}: {metric.domain}{_stage(metric)}" if metric.domain else title + _stage(metric)


def value_text(value: float, unit: str) -> str:
    """A value with as many digits as it may be compared by."""
    if unit == SHARE:
        return f"{100 * value:.2f}{PERCENT}"
    return f"{value:.4g}" if abs(value) >= GREAT else f"{value:,.{_digits(value)}f}"


def difference_text(value: float, unit: str) -> str:
    """A difference with its sign; of shares in percentage points."""
    if unit == SHARE:
        return f"{signed(100 * value, 2)} points"
    return f"{value:+.4g}" if abs(value) >= GREAT else signed(value, _digits(value))


def _digits(value: float) -> int:
    return 4 if abs(value) < 10 else 2


def value_interval_text(low: float, high: float, unit: str) -> str:
    """Both ends of a value's interval."""
    return f"{value_text(low, unit).removesuffix(PERCENT)} to {value_text(high, unit)}"


def interval_text(low: float, high: float, unit: str) -> str:
    """Both ends of a difference's interval."""
    ends = [difference_text(each, unit).removesuffix(" points") for each in (low, high)]
    return " to ".join(ends)


def verdict_text(comparison: Mapping[str, Any], unit: str) -> str:
    """better, worse, or that no difference is shown and what would have been seen."""
    if comparison["verdict"] not in SHOWN and comparison["visible"] is None:
        # Of values that are not finite nothing is said.
        known = isfinite(comparison["difference"])
        return f"{comparison['verdict']} ({NONE_SEEN})" if known else str(comparison["verdict"])
    if comparison["verdict"] in SHOWN or not comparison["visible"]:
        # Where all seeds differ by the same, their spread tells nothing of what would be seen.
        return str(comparison["verdict"])
    seen = difference_text(comparison["visible"], unit).removeprefix("+")
    return f"{comparison['verdict']} (would have seen {seen})"


def not_trained(found: FoundAblation) -> dict[str, str]:
    """Arm, with its size where there are several → the one whose content it has."""
    return dict(found.report.extra.get("alike", {}))


def failures_of(found: FoundAblation) -> list[dict[str, str]]:
    """Arms, with their sizes, of which seeds failed for one reason."""
    lost: dict[tuple[str, str], list[int]] = {}
    for each in (*found.trials, *found.signalling):
        if each.failure:
            lost.setdefault((each.name, each.failure), []).append(each.seed)
    return [
        {"label": name, "seeds": joined(list(map(str, sorted(seeds)))), "failure": reason}
        for (name, reason), seeds in lost.items()
    ]


def _judged(found: FoundAblation) -> dict[str, list[dict[str, Any]]]:
    """Arm → its comparisons, without the metrics that failed their signal check."""
    comparisons = found.report.comparisons
    return {
        arm: [
            each
            for each in comparisons
            if each["arm"] == arm and found.metric(each["metric"]).plain not in found.greyed
        ]
        for arm in found.arms
        if any(each["arm"] == arm for each in comparisons)
    }


def _verdict_of(judged: Sequence[Mapping[str, Any]], first: str) -> str:
    counts = {each: sum(one["verdict"] == each for one in judged) for each in SHOWN}
    shown = [f"{verdict} in {count}" for verdict, count in counts.items() if count]
    if not judged:
        return UNSAID
    if not shown:
        return UNSHOWN
    if len(judged) == 1:
        return f"{judged[0]['verdict']} than {first}"
    return f"{' and '.join(shown)} of {len(judged)} metrics than {first}"


def _told(arm: str, judged: Sequence[dict[str, Any]], found: FoundAblation) -> list[str]:
    sentences = []
    for verdict in SHOWN:
        those = [_with_figures(each, found) for each in judged if each["verdict"] == verdict]
        if those:
            sentences.append(f"`{arm}` is {verdict} than `{found.arms[0]}` in {_some(those)}.")
    luck = [_with_figures(each, found) for each in judged if each["verdict"] not in SHOWN]
    if luck:
        other = "other " if sentences else ""
        sentences.append(
            f"Between `{arm}` and `{found.arms[0]}` no {other}difference is shown in {_some(luck)}."
        )
    return sentences


def _with_figures(each: Mapping[str, Any], found: FoundAblation) -> str:
    metric = found.metric(each["metric"])
    unit = found.unit(metric)
    title = _in_prose(metric) + (f" at {metric.size}" if metric.size else "")
    if each["low"] == each["high"] == 0:
        return f"{title} (the same with every seed)"
    difference = difference_text(each["difference"], unit)
    if each["verdict"] in SHOWN:
        return f"{title} ({difference}, {interval_text(each['low'], each['high'], unit)})"
    seen = difference_text(each["visible"], unit).removeprefix("+") if each["visible"] else ""
    said = f"; {seen} would have been seen" if seen else ""
    return f"{title} ({difference}{f'; {NONE_SEEN}' if each['visible'] is None else said})"


def _in_prose(metric: Metric) -> str:
    title = measure_of(metric.family).title
    domain = f", {metric.domain}" if metric.domain else ""
    return f"{title[:1].lower()}{title[1:]}{domain}{_stage(metric)}"


def _stage(metric: Metric) -> str:
    return f" ({STAGES[metric.stage]})" if metric.stage else ""


def _some(figures: Sequence[str]) -> str:
    more = len(figures) - MOST_NAMED
    return joined([*figures[:MOST_NAMED], *([f"{more} more (see the table)"] if more > 0 else [])])


def _bracketed(found: FoundAblation) -> str:
    """What stands in the brackets of the verdicts."""
    judged = [each for arm in _judged(found).values() for each in arm]
    shown = [each for each in judged if each["verdict"] in SHOWN]
    seen = [each for each in judged if each["verdict"] not in SHOWN and each["visible"]]
    interval = " and, of one that is shown, its 95 % interval" if shown else ""
    said = [f"In brackets stands the difference{interval}."] if judged else []
    if seen:
        said.append(
            "What would have been seen is the true difference that four of five such ablations "
            "find."
        )
    return " ".join(said)


def _seeds(found: FoundAblation) -> str:
    counts = sorted({each["n"] for each in found.report.comparisons})
    if not counts:
        return ""
    many = count_of(counts[-1], "seed")
    many = many if len(counts) == 1 else f"{counts[0]} to {many}"
    lacking = "".join(f" {each}" for each in said_of_seeds(found.report.extra))
    tests = len(found.report.comparisons)
    adjusted = f"; p is adjusted for {tests} comparisons" if tests > 1 else ""
    return f"Arms are compared by {many} that both have{adjusted}.{lacking}"


def more_seeds(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """How many seeds would show what each interval by itself sees, and all together do not."""
    hidden = [
        each
        for each in comparisons
        if each["verdict"] not in SHOWN
        and not each.get("greyed")
        and each["deviation"]
        and each["low"] * each["high"] > 0
    ]
    if not hidden:
        return ""
    needed = [
        seeds_to_show(each["difference"], each["deviation"], tests=len(comparisons))
        for each in hidden
    ]
    most = f"{max(filter(None, needed))} seeds" if all(needed) else f"more than {MOST_SEEDS} seeds"
    have = "has an interval" if len(hidden) == 1 else "have intervals"
    are = "is" if len(hidden) == 1 else "are"
    return (
        f"{len(hidden)} of {count_of(len(comparisons), 'comparison')} {have} clear of zero and "
        f"{are} not shown, as all are judged together; with {most}, or fewer metrics and arms, "
        "differences as large as these would be."
    )


def said_of_seeds(extra: Mapping[str, Any]) -> list[str]:
    """Where arms have not all the same seeds."""
    told = []
    for arms in extra.get("values", {}).values():
        first, *others = list(arms.values())
        of_others = [set(first) - set(each) for each in others]
        alone = any(set(each) - set(first) for each in others)
        if any(of_others) or alone:
            told.append(
                "Some arms lack a seed: differences are of the seeds that both have, and so is the "
                "value of an arm that is compared; that of the first is of all its own."
            )
            break
    return told


def _more_seeds(found: FoundAblation) -> str:
    return more_seeds(found.report.comparisons)


def _overlap(found: FoundAblation) -> str:
    return " ".join(said_of_overlap(found.report.extra))


def _common(found: FoundAblation) -> str:
    common = found.report.extra.get("common")
    return "" if common is None else said_of_common(common)


def few_items(extra: Mapping[str, Any]) -> dict[str, int]:
    """Metrics of so few documents or questions that it is told."""
    return {name: n for name, n in extra.get("items", {}).items() if 1 < n < FEW_ITEMS}


def _few(found: FoundAblation) -> str:
    counts = dict(sorted(few_items(found.report.extra).items(), key=lambda each: each[1]))
    said = [f"{_in_prose(found.metric(name))} ({n})" for name, n in counts.items()]
    named = _some(list(dict.fromkeys(said)))
    return f"Of fewer than {FEW_ITEMS} documents or questions: {named}." if said else ""


def _of_one_document(found: FoundAblation) -> str:
    return of_one_document(found.report.extra)


def _given_up(found: FoundAblation) -> str:
    less = found.report.extra.get("given_up", [])
    return f"To fit into the minutes that were given: {joined(less)}." if less else ""


def _in_training(found: FoundAblation) -> str:
    """Where an arm never met some of the documents that it is asked to continue."""
    said = [
        f"`{arm}` trains on {there:,} of {whole:,} ({group})"
        for arm, groups in found.report.extra.get("in_training", {}).items()
        for group, (there, whole) in groups.items()
        if there < whole
    ]
    return f"Of the documents to be said by heart {_some(said)}." if said else ""


def _in_common(found: FoundAblation) -> str:
    """Where arms were asked different items, as those that fit into a context differ."""
    said = [
        f"{_in_prose(found.metric(name))} ({n:,} of {most:,})"
        for name, (n, most) in found.report.extra.get("items_in_common", {}).items()
    ]
    return f"Counted are the items that all arms were asked: {_some(said)}." if said else ""


def _crossed(found: FoundAblation) -> str:
    said = [
        f"`{each['arm']}` is better at {joined(each['better'])} and worse at "
        f"{joined(each['worse'])} in {_lower(title_of(found.metric(each['metric'])))}"
        for each in found.report.extra.get("crossings", [])
        if each["metric"] not in found.greyed
    ]
    return f"The curves cross: {'; '.join(said)}." if said else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _held_equal(found: FoundAblation) -> str:
    if found.report.extra.get("later"):
        return "Base models are the same in all arms; what differs lies behind them."
    read = {(each.size, each.arm): each.tokens_read for each in found.trials if each.base}
    if not any(read.values()):  # a finished base, or models that are gone
        return ""
    equal = all(len({n for (of, _), n in read.items() if of == size}) < 2 for size in found.sizes)
    known = [each for each in read.values() if each]
    match = str(found.report.extra.get("match", ""))
    said = HELD_EQUAL.get(match, f"{match} was held equal" if match else "")
    sizes = {each.base.bill().get("parameters") for each in found.trials if each.base}
    several = len(sizes) > 1
    said = said.format(", so larger models read fewer tokens" if several else "")
    if match == "tokens" and not equal:
        said = ""  # they are what the arms differ in
    if known and len(set(known)) == 1:
        tokens = f"each model read {known[0]:,} tokens"
    elif known and equal:
        tokens = f"each model of a size read as many tokens ({min(known):,} to {max(known):,})"
    elif known:
        tokens = f"models read {min(known):,} to {max(known):,} tokens"
    else:
        tokens = ""
    both = ": ".join(filter(None, [said, tokens]))
    return f"{both[:1].upper()}{both[1:]}." if both else ""


def _alike(found: FoundAblation) -> str:
    same = [f"`{arm}` has the content of `{other}`" for arm, other in not_trained(found).items()]
    return f"{joined(same)}, and was not trained again." if same else ""


def _failed(found: FoundAblation) -> str:
    by_reason: dict[str, list[str]] = {}
    for each in failures_of(found):
        several = "s" if " and " in each["seeds"] else ""
        named = f"`{each['label']}` with seed{several} {each['seeds']}"
        by_reason.setdefault(each["failure"], []).append(named)
    told = [f"{joined(names)} ({_cut(reason)})" for reason, names in by_reason.items()]
    trials = count_of(
        sum(bool(each["failure"]) for each in found.report.extra["failures"]), "trial"
    )
    return f"{trials} failed, in whole or in part: {'; '.join(told)}." if told else ""


def _cut(reason: str) -> str:
    line = reason.partition("\n")[0].rstrip(".")
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON].rstrip()} …"


def _greyed(found: FoundAblation) -> str:
    told = []
    for name, fails in found.greyed.items():
        told.append(f"{_in_prose(found.metric(name))} ({', '.join(dict.fromkeys(fails))})")
    return f"Greyed, since the signal check failed: {'; '.join(told)}." if told else ""
