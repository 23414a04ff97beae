"""Plots as inline SVG, in one house style: the same bytes for the same figures.

Text stays text, in the page's own font and in `currentColor`, so that a plot is read in light, dark
and print alike. The colours are told apart by colour-blind readers (Okabe & Ito 2008).
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK = "#808080"  # replaced by currentColor in the SVG
WIDTH_INCHES = 7.0
MOST_POINTS = 200  # of a curve; more show no more


class Figure(NamedTuple):
    """One value with its interval."""

    label: str
    value: float
    low: float
    high: float


def curves(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> str:
    """Lines of (x, y), each smoothed over its neighbours and named at its end."""
    figure, axes = _axes(2.6)
    for colour, (name, (xs, ys)) in zip(COLOURS * 3, series.items(), strict=False):
        shown_x, shown_y = _thinned(xs, ys)
        axes.plot(shown_x, shown_y, color=colour, linewidth=1.6, label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(series) > 1:
        axes.legend(frameon=False)
    return _svg(figure)


def bars(values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars, the first on top, each with its value behind it."""
    figure, axes = _axes(0.5 + 0.32 * len(values))
    names, amounts = list(values), list(values.values())
    axes.barh(range(len(names)), amounts, color=COLOURS[0], height=0.62)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.14)
    for place, amount in enumerate(amounts):
        axes.annotate(
            f"{amount:,.0f}",
            (amount, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    return _svg(figure)


def intervals(groups: Mapping[str, Sequence[Figure]], unit: str) -> str:
    """Dots with whiskers: a row per label, a colour per group."""
    labels = list(dict.fromkeys(each.label for figures in groups.values() for each in figures))
    figure, axes = _axes(0.7 + 0.34 * len(labels) * max(1, len(groups) / 2))
    step = 0.7 / max(len(groups), 1)
    for number, (name, figures) in enumerate(groups.items()):
        offset = (number - (len(groups) - 1) / 2) * step
        rows = [labels.index(each.label) + offset for each in figures]
        values = [each.value for each in figures]
        below = [max(each.value - each.low, 0) for each in figures]
        above = [max(each.high - each.value, 0) for each in figures]
        axes.errorbar(
            values, rows, xerr=[below, above], fmt="o", color=COLOURS[number], markersize=4,
            linewidth=1.4, label=name,
        )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.6)
    if len(groups) > 1:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=4)
    return _svg(figure)


def _axes(height_inches: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_style()):
        figure = Canvas(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _style() -> Any:  # matplotlib types every key of it
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "volano",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context(_style()):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # The page gives size and font; nothing points outside.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'font: ([^;"]*?)px [^;"]*', r"font-size: \1px", text)
    text = re.sub(r'xmlns:xlink="[^"]*"|xmlns="[^"]*"', "", text)
    return re.sub(
        r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1
    )


def _thinned(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    step = max(1, len(xs) // MOST_POINTS)
    places = range(0, len(xs) - step + 1, step)
    means = [sum(ys[place : place + step]) / step for place in places]
    return [xs[place + step - 1] for place in places], means
