"""Plots as inline SVG in the house style: the same bytes for the same figures.

A plot is no wider than a phone, so that its letters are never scaled down; a page sets several side
by side. Text stays text in the page's font, and colours are the page's own (`var(--accent)` …), so
that one plot is read in light, dark and print. Where colour tells lines apart, dashes do too.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from typing import Any, NamedTuple, ParamSpec

WIDTH_INCHES = 4.4
POINT_PIXELS = 4 / 3  # CSS: 72 points and 96 pixels are an inch
FONT_POINTS = 9
ROW_INCHES = 0.24
MOST_POINTS = 160  # of a curve; more show no more
SMOOTHED = 25  # a point is the mean over one such part of its curve
FEW_POINTS = 12  # of a curve: each is marked
FEWEST_SHOWN = 0.08  # a narrower part of a bar has no room for its number
# What matplotlib draws with → what the page paints with; the first stands in a file of its own.
INK, QUIET, LINE = "#22211e", "#66625a", "#dcd8cd"
ACCENT, SECOND, WRONG = "#1f5c8b", "#a86a00", "#a32a1d"
PAPER = "#ffffff"
PAINT = {
    INK: "--ink",
    QUIET: "--quiet",
    LINE: "--line",
    ACCENT: "--accent",
    SECOND: "--star",
    WRONG: "--wrong",
}
LINES = ((ACCENT, "-"), (SECOND, "--"), (QUIET, ":"), (WRONG, "-."))
TONES = {"better": ACCENT, "worse": WRONG, "none": INK, "greyed": QUIET}
SHADES = (0.12, 0.3, 0.5, 0.74, 1.0)  # of the accent, from the first part of a bar to the last


P = ParamSpec("P")


class Figure(NamedTuple):
    """One value with its interval."""

    label: str
    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference with its interval. `tone`: better, worse, none (not shown) or greyed."""

    label: str
    value: float
    low: float
    high: float
    tone: str


class Band(NamedTuple):
    """Several curves over the same xs: one list of ys for each."""

    xs: Sequence[float]
    curves: Sequence[Sequence[float]]


class Kept(NamedTuple):
    """What is left after one filter, and what that filter took."""

    label: str
    left: int
    dropped: int
    note: str = ""  # behind the number


def _in_house_style(draw: Callable[P, str]) -> Callable[P, str]:
    @wraps(draw)
    def drawn(*values: P.args, **named: P.kwargs) -> str:
        import matplotlib as mpl

        # Of the settings that others made in this process, nothing shows.
        with mpl.rc_context({**mpl.rcParamsDefault, **_style(str(named["title"]))}):
            return draw(*values, **named)

    return drawn


@_in_house_style
def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str, x: str, y: str
) -> str:
    """Lines of (x, y), each the mean of its neighbours where there are many."""
    figure, axes = _axes(2.3)
    for place, (name, (xs, ys)) in enumerate(series.items()):
        colour, dashes = _line_of(place)
        axes.plot(*_thinned(xs, ys), color=colour, linestyle=dashes, linewidth=1.5, label=name)
    _name_curves(figure, axes, x, y, len(series))
    return _svg(figure, title)


@_in_house_style
def bands(series: Mapping[str, Band], *, title: str, x: str, y: str) -> str:
    """A line for the mean of each band's curves, and around it what lies between the least and the
    greatest of them; the curves are smoothed first, as `curves` does."""
    figure, axes = _axes(2.3)
    for place, (name, band) in enumerate(series.items()):
        colour, dashes = _line_of(place)
        smooth = [_thinned(band.xs, each) for each in band.curves]
        xs, columns = smooth[0][0], list(zip(*(ys for _, ys in smooth), strict=True))
        if len(smooth) > 1:
            ends = [min(each) for each in columns], [max(each) for each in columns]
            axes.fill_between(xs, *ends, color=colour, alpha=0.16, linewidth=0)
        means = [sum(each) / len(each) for each in columns]
        marker = "o" if len(xs) < FEW_POINTS else None
        axes.plot(
            xs, means, color=colour, linestyle=dashes, linewidth=1.5, marker=marker, markersize=3,
            label=name,
        )  # fmt: skip
    _name_curves(figure, axes, x, y, len(series))
    return _svg(figure, title)


@_in_house_style
def differences(
    rows: Sequence[Difference], *, title: str, unit: str, bounds: tuple[float, float]
) -> str:
    """A forest plot: a row per difference with its interval, and a line where nothing differs.

    A full dot is a difference that is shown, a hollow one luck may explain; what is greyed is
    dotted. `bounds` are the ends of the axis, so that several plots can share them; a difference
    beyond them is an arrow at the edge, and so is the end of an interval.
    """
    figure, axes = _axes(0.5 + ROW_INCHES * len(rows))
    axes.axvline(0, color=INK, linewidth=0.9)
    for place, row in enumerate(rows):
        colour, shown = TONES[row.tone], row.tone in {"better", "worse"}
        dashes = ":" if row.tone == "greyed" else "-"
        axes.plot(
            [row.low, row.high], [place, place], color=colour, linestyle=dashes, linewidth=1.6
        )
        for end, bound, head in ((row.low, bounds[0], "<"), (row.high, bounds[1], ">")):
            if abs(end) > abs(bound) and end * bound > 0:  # it goes on
                axes.plot([bound], [place], head, color=colour, markersize=4, clip_on=False)
        filling = colour if shown else PAPER
        at = min(max(row.value, bounds[0]), bounds[1])
        marker = "o" if at == row.value else "<" if at > row.value else ">"
        axes.plot(
            [at], [place], marker, color=colour, markerfacecolor=filling, markersize=5.5,
            clip_on=False,
        )  # fmt: skip
    axes.set_xlim(*bounds)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_xlabel(unit)
    _rows(axes, [row.label for row in rows])
    for written, row in zip(axes.get_yticklabels(), rows, strict=True):
        written.set_color(TONES["greyed"] if row.tone == "greyed" else INK)
    return _svg(figure, title)


@_in_house_style
def funnel(rows: Sequence[Kept], *, title: str, whole: int = 0) -> str:
    """A bar per filter: what is left, and behind it, in red, what the filter took. The width stands
    for `whole`, where that is more than any bar, so that several plots can share it."""
    figure, axes = _axes(0.15 + ROW_INCHES * 1.25 * len(rows))
    places = range(len(rows))
    left, dropped = [row.left for row in rows], [row.dropped for row in rows]
    axes.barh(places, left, color=ACCENT, height=0.6)
    axes.barh(places, dropped, left=left, color=WRONG, height=0.6)
    whole = max([whole, *(row.left + row.dropped for row in rows)]) or 1
    axes.set_xlim(0, whole * 1.22)
    for place, row in enumerate(rows):
        said = f"{row.left:,}{row.note}"
        axes.text(row.left + row.dropped + whole * 0.015, place, said, va="center")
    _rows(axes, [row.label for row in rows])
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return _svg(figure, title)


@_in_house_style
def histogram(
    edges: Sequence[float],
    kept: Sequence[int],
    dropped: Sequence[int],
    bounds: Sequence[float],
    *,
    title: str,
) -> str:
    """Documents by a number: those that stay, on them in red those that went; a line per bound."""
    figure, axes = _axes(1.7)
    widths = [high - low for low, high in pairwise(edges)]
    axes.bar(edges[:-1], kept, widths, align="edge", color=ACCENT)
    axes.bar(edges[:-1], dropped, widths, bottom=kept, align="edge", color=WRONG)
    for bound in bounds:
        axes.axvline(bound, color=INK, linestyle="--", linewidth=1.2)
    axes.set_xlim(min([edges[0], *bounds]), max([edges[-1], *bounds]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    return _svg(figure, title)


@_in_house_style
def intervals(
    rows: Sequence[Figure], *, title: str, unit: str = "", beside: Sequence[float] = ()
) -> str:
    """A dot with its whiskers per row, the last row in colour; dotted lines where others stand."""
    figure, axes = _axes(0.42 + ROW_INCHES * len(rows), width_inches=3.2)
    for place, row in enumerate(rows):
        colour = ACCENT if place == len(rows) - 1 else QUIET
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.6)
        axes.plot([row.value], [place], "o", color=colour, markersize=5)
    for value in beside:
        axes.axvline(value, color=QUIET, linestyle=":", linewidth=1.1)
    ends = [*beside, *(end for row in rows for end in (row.low, row.high))]
    room = max((max(ends) - min(ends)) * 0.08, 1e-6 + abs(max(ends)) * 0.01)
    axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_xlabel(unit)
    _rows(axes, [row.label for row in rows])
    return _svg(figure, title)


@_in_house_style
def stacked(rows: Mapping[str, Sequence[int]], parts: Sequence[str], *, title: str) -> str:
    """A bar per row, cut by the share of each part; light for the first part, dark for the last."""
    figure, axes = _axes(0.55 + ROW_INCHES * 1.35 * len(rows))
    begun = [0.0] * len(rows)
    for number, part in enumerate(parts):
        shade = SHADES[number * (len(SHADES) - 1) // max(len(parts) - 1, 1)]
        shares = [counts[number] / max(sum(counts), 1) for counts in rows.values()]
        axes.barh(
            range(len(rows)), shares, left=begun, color=ACCENT, alpha=shade, height=0.62, label=part
        )
        for place, share in enumerate(shares):
            if share >= FEWEST_SHOWN:
                # On a light part in ink, on a dark one in the colour of the paper.
                colour = INK if shade < 0.55 else PAPER
                middle = begun[place] + share / 2
                axes.text(
                    middle, place, f"{100 * share:.0f} %", ha="center", va="center", color=colour
                )
            begun[place] += share
    axes.set_xlim(0, 1)
    _rows(axes, list(rows))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    figure.legend(
        frameon=False, loc="outside upper center", ncols=len(parts), handlelength=0.9,
        handletextpad=0.4, columnspacing=0.9,
    )  # fmt: skip
    return _svg(figure, title)


def _axes(height_inches: float, width_inches: float = WIDTH_INCHES) -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width_inches, height_inches), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=5)
    return figure, axes


def _line_of(place: int) -> tuple[str, str]:
    """Colour and dashes of a line; the first sixteen differ."""
    colour, _ = LINES[place % len(LINES)]
    _, dashes = LINES[(place + place // len(LINES)) % len(LINES)]
    return colour, dashes


def _name_curves(figure: Any, axes: Any, x: str, y: str, lines: int) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if lines > 1:
        figure.legend(frameon=False, loc="outside upper left", ncols=4, handlelength=2.2)


def _rows(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines["left"].set_visible(False)


def _style(salt: str) -> Any:  # matplotlib types every key of it
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,  # of the ids: two plots of a page must not share them
        "font.family": "sans-serif",
        "font.size": FONT_POINTS,
        "text.color": INK,
        "axes.labelcolor": QUIET,
        "axes.edgecolor": LINE,
        "axes.axisbelow": True,
        "xtick.color": QUIET,
        "ytick.color": INK,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }


def _svg(figure: Any, title: str) -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    # The page gives the font; names such as axes_1 would stand once per plot.
    text = re.sub(r'font: ([^;"]*?)px [^;"]*', r"font-size: \1px", text)
    text = re.sub(r'font-family: [^;"]*;? ?', "", text)
    text = re.sub(r' id="[a-zA-Z]+[a-z.0-9]*_\d+"', "", text)
    for drawn, name in PAINT.items():
        text = text.replace(drawn, f"var({name}, {drawn})")
    text = text.replace(PAPER, f"var(--paper, {PAPER})")
    width, height = (72 * POINT_PIXELS * inches for inches in figure.get_size_inches())
    opening = (
        r'<svg viewBox="\1" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{html.escape(title)}">'
    )
    return re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', lambda m: m.expand(opening), text, count=1)


def _thinned(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """Every so many points, each the mean of what lies up to half a part of the curve away."""
    half = max(len(xs) // SMOOTHED // 2, int(len(xs) >= SMOOTHED))
    places = range(0, len(xs), max(1, len(xs) // MOST_POINTS))
    parts = [ys[max(0, place - half) : place + half + 1] for place in places]
    return [xs[place] for place in places], [sum(part) / len(part) for part in parts]
