"""The figures of an ablation as its page shows them: the forest plot, the table, the signal check.

Differences are drawn to one scale where they have one unit and one direction, at every size of the
model, and on a panel of their own where they have not.
"""

from collections.abc import Sequence
from typing import Any

from volano.page import plots
from volano.study.ablation_found import SHARE, FoundAblation, Metric
from volano.study.ablation_words import (
    SHOWN,
    difference_text,
    interval_text,
    title_of,
    value_interval_text,
    value_text,
    verdict_text,
)
from volano.study.words import measure_of, p_value, signed

MOST_TIMES = 30  # as far as the lower third of differences reaches; what lies beyond is an arrow
ROOM = 0.08  # of a forest plot's width, beyond the longest interval
Comparisons = Sequence[dict[str, Any]]


def forest_of(found: FoundAblation) -> list[dict[str, str]]:
    """A panel for each family of metrics and each size. Those of one unit and one direction share a
    scale."""
    panels = []
    for (unit, lower, _), those in _by_scale(found).items():
        scale = 100.0 if unit == SHARE else 1.0
        bounds = _bounds(those, scale)
        better = f"{'lower' if lower else 'higher'} is better"
        axis = ": ".join(filter(None, ["points" if unit == SHARE else unit, better]))
        metrics = [found.metric(each["metric"]) for each in those]
        for family in dict.fromkeys(each.family for each in metrics):
            for size in found.sizes:
                drawn = [
                    _drawn(each, metric, found, scale)
                    for each, metric in zip(those, metrics, strict=True)
                    if (metric.family, metric.size) == (family, size)
                ]
                if drawn:
                    title = ", ".join(filter(None, [measure_of(family).title, size]))
                    beside = f"{title}: difference to {found.letter(found.arms[0])}"
                    plot = plots.differences(drawn, title=beside, unit=axis, bounds=bounds)
                    panels.append({"title": title, "plot": plot, "said": _beyond(drawn, bounds)})
    return panels


def metrics_of(found: FoundAblation) -> list[dict[str, Any]]:
    """A row for each metric of each arm, as in the verdicts, and nothing left out."""
    compared = {(each["metric"], each["arm"]): each for each in found.report.comparisons}
    rows: list[dict[str, Any]] = []
    for each in found.report.measurements:
        metric = found.metric(each.name)
        unit = found.unit(metric)
        row = {
            "title": title_of(metric),
            "metric": each.name,
            "size": metric.size,
            "again": bool(rows) and rows[-1]["metric"] == each.name,
            "lower": is_lower_better(metric),
            "arm": found.letter(each.stage),
            "value": value_text(each.value, unit),
            "interval": value_interval_text(each.low, each.high, unit) if each.n > 1 else "",
            "n": each.n,
            "over": found.report.extra.get("items", {}).get(each.name, 0),
            "greyed": metric.plain in found.greyed,
            **dict.fromkeys(("difference", "apart", "p", "verdict", "tone"), ""),
        }
        comparison = compared.get((each.name, each.stage))
        if comparison is not None:
            row |= {
                "difference": difference_text(comparison["difference"], unit),
                "apart": interval_text(comparison["low"], comparison["high"], unit),
                "p": p_value(comparison["adjusted"]),
                "verdict": verdict_text(comparison, unit),
                "tone": comparison["verdict"] if comparison["verdict"] in SHOWN else "",
            }
        elif each.stage != found.arms[0]:
            row["verdict"] = "fewer than two seeds in common"
        rows.append(row)
    return rows


def seeds_of(found: FoundAblation) -> dict[str, Any]:
    """The value of every seed, a row for each metric of each arm."""
    values = found.report.extra["values"]
    seeds = sorted({each.seed for each in found.trials})
    rows = []
    for name, arms in values.items():
        metric = found.metric(name)
        unit = found.unit(metric)
        for arm, by_seed in sorted(arms.items(), key=lambda each: found.arms.index(each[0])):
            numbers = [by_seed.get(str(seed)) for seed in seeds]
            rows.append(
                {
                    "title": title_of(metric),
                    "size": metric.size,
                    "arm": found.letter(arm),
                    "greyed": metric.plain in found.greyed,
                    "cells": ["" if n is None else value_text(n, unit) for n in numbers],
                }
            )
    return {"seeds": seeds, "rows": rows}


def signal_of(found: FoundAblation) -> list[dict[str, Any]]:
    """What the signal check says of each metric, at all sizes together."""
    checked = {found.metric(name).plain: each for name, each in _signal(found).items()}
    rows = []
    for name, each in checked.items():
        metric = found.metric(name)
        unit = found.unit(metric)
        rows.append(
            {
                "title": title_of(metric),
                "gain": "" if each["gain"] is None else difference_text(each["gain"], unit),
                "noise": difference_text(each["noise"], unit).removeprefix("+"),
                "ratio": _plain(each["signal_to_noise"]),
                "seeds": _plain(each["seeds_agree"]),
                "sizes": _plain(each["sizes_agree"]),
                "fails": ", ".join(each["fails"]),
                "greyed": bool(each["fails"]),
            }
        )
    return rows


def _signal(found: FoundAblation) -> dict[str, dict[str, Any]]:
    return dict(found.report.extra.get("signal", {}))


def is_lower_better(metric: Metric) -> bool:
    """Whether lower is better, as the verdicts took it."""
    return measure_of(metric.family).fewer


def _by_scale(found: FoundAblation) -> dict[tuple[str, bool, str], Comparisons]:
    """Unit, direction, and where the unit is not known the family, as nothing else has its scale →
    the comparisons that one scale can hold."""
    alike: dict[tuple[str, bool, str], list[dict[str, Any]]] = {}
    for each in found.report.comparisons:
        metric = found.metric(each["metric"])
        unit = found.unit(metric)
        key = (unit, is_lower_better(metric), "" if unit else metric.family)
        alike.setdefault(key, []).append(each)
    return dict(alike)


def _bounds(those: Comparisons, scale: float) -> tuple[float, float]:
    """The ends of an axis: all intervals and zero, but for those that would leave no room to the
    others, as a model that diverged does."""
    reach = {id(each): max(abs(each["low"]), abs(each["high"])) for each in those}
    known = sorted(filter(None, reach.values())) or [0.0]
    limit = MOST_TIMES * known[(len(known) - 1) // 3]
    ends = [
        scale * each[end] for each in those if reach[id(each)] <= limit for end in ("low", "high")
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = (high - low) * ROOM or 1.0  # where nothing differs
    return low - room, high + room


def _beyond(drawn: Sequence[plots.Difference], bounds: tuple[float, float]) -> str:
    low, high = bounds
    if all(low <= each.low and each.high <= high for each in drawn):
        return ""
    return "An arrow, or a line to the edge, goes beyond the scale; the table has the figures."


def _drawn(
    each: dict[str, Any], metric: Metric, found: FoundAblation, scale: float
) -> plots.Difference:
    title = title_of(metric)
    label = title.partition(": ")[2] if metric.domain else title
    if len(found.arms) > 2:
        label = f"{label}  {found.letter(each['arm'])}"
    shown = each["verdict"] if each["verdict"] in SHOWN else "none"
    tone = "greyed" if metric.plain in found.greyed else shown
    value, low, high = (scale * each[name] for name in ("difference", "low", "high"))
    return plots.Difference(label, value, low, high, tone)


def _plain(value: float | None) -> str:
    return "" if value is None else signed(value, 2).removeprefix("+")
