"""The one line of a running task on a terminal: what stands in it at which width.

How far, how fast, how long still and the first figure are what people look for, so they stay where
the terminal is narrow, and the rest gives way in its order. No field moves its neighbours: the
curve has a fixed width, and the others keep the greatest that they have had.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

CELLS = "▁▂▃▄▅▆▇█"
CURVE_CELLS = 16
TITLE_CELLS = 14
LEAST_BAR, WANTED_BAR, MOST_BAR = 10, 16, 28


class Line(NamedTuple):
    """What is drawn, in cells: `bar` is the width of the bar between `title` and `rest`, 0 where
    there is no room for one."""

    title: str
    bar: int
    rest: str


def fitted(
    width: int, title: str, numbers: str, *, curve: str = "", figures: Sequence[str] = ()
) -> Line:
    """The line of a task in at most `width` cells.

    `numbers` are share, rate and time left; `figures` stand behind them, the most important first.
    Given up, in this order: the title's padding, the curve, all figures but the first from the last
    on, what the bar has beyond the least, the bar, the first figure, the end of the title.
    """
    padded, whole, first = title.ljust(TITLE_CELLS), list(figures), list(figures[:1])
    tries = [(padded, WANTED_BAR, curve, whole), (title, WANTED_BAR, curve, whole)]
    tries += [(title, WANTED_BAR, "", whole[:count]) for count in range(len(whole), 1, -1)]
    tries += [(title, LEAST_BAR, "", first), (title, 0, "", first), (title, 0, "", [])]
    for named, bar, drawn, shown in tries:
        rest = " ".join(each for each in (numbers, drawn, " · ".join(shown)) if each)
        room = width - len(named) - len(rest) - (2 if bar else 1)
        if room >= bar:
            return Line(named, min(MOST_BAR, room) if bar else 0, rest)
    return Line(title[: max(0, width - len(numbers) - 1)], 0, numbers)


class Steady:
    """Texts of one field, each padded to the longest so far."""

    def __init__(self, *, right: bool = False) -> None:
        self._right, self._cells = right, 0

    def __call__(self, text: str) -> str:
        self._cells = max(self._cells, len(text))
        return text.rjust(self._cells) if self._right else text.ljust(self._cells)


def sparkline(values: Sequence[float], cells: int = CURVE_CELLS) -> str:
    """The course of finite values as one line of characters, each the mean of an equal share of
    them, from their least to their greatest."""
    if not values:
        return ""
    cells = min(cells, len(values))
    bounds = [place * len(values) // cells for place in range(cells + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    scale = (len(CELLS) - 1) / (high - low) if high > low else 0.0
    return "".join(CELLS[round((mean - low) * scale)] for mean in means)
