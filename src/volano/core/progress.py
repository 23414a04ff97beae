"""The one progress bar: what is done, at what rate, how long still.

On a terminal it is drawn, with the course of a figure such as the loss; elsewhere (a log, CI) one
line is written when a task ends, and one every half minute while it runs. It goes to stderr, so
that stdout stays for results.

A task that is part of a larger one is silent, and may be heard by it (`heard_by`), so that one bar
shows the work of many.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite
from types import TracebackType
from typing import Any, Protocol

from volano.core.progress_line import CURVE_CELLS, Steady, fitted, sparkline

LOG_SECONDS = 30.0
RATE_SECONDS = 30.0  # over which the rate of a drawn bar is taken
MOST_VALUES = 4096  # of a curve that are kept


class Bar(Protocol):
    """One running task."""

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more units as done."""
        ...

    def resume(self, amount: float) -> None:
        """Count `amount` units of an earlier attempt, and say so; the rate is without them."""
        ...

    def skip(self, amount: float) -> None:
        """Count `amount` units as done without a word; the rate is without them."""
        ...

    def note(self, *figures: str) -> None:
        """Show short figures behind the bar, such as the loss: the most important first, since a
        narrow terminal drops the others."""
        ...

    def curve(self, value: float) -> None:
        """Go on with the curve behind the bar; shown on a terminal alone."""
        ...

    def tell(self, text: str) -> None:
        """Say a line that stays, beside the bar."""
        ...


class SilentBar:
    """Counts nothing; for `--json` and tests."""

    def advance(self, amount: float = 1) -> None: ...

    def resume(self, amount: float) -> None: ...

    def skip(self, amount: float) -> None: ...

    def note(self, *figures: str) -> None: ...

    def curve(self, value: float) -> None: ...

    def tell(self, text: str) -> None: ...


class LogBar:
    """Lines instead of a drawing."""

    def __init__(self, title: str, total: float, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.text = ""
        self.done = self.begun = 0.0
        self.start = self.logged = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self._log()

    def _log(self) -> None:
        if time.monotonic() - self.logged > LOG_SECONDS:
            self.logged = time.monotonic()
            rate = (self.done - self.begun) / (self.logged - self.start)
            left = (self.total - self.done) / rate if rate else 0.0
            share = self.done / self.total if self.total else 1.0
            speed = f", {spoken(rate)} {self.unit}/s, {left:.0f} s left" if rate else ""
            self._write(f"{share:.0%}{speed}")

    def resume(self, amount: float) -> None:
        self.skip(amount)
        self._write(_goes_on(self.done, self.total))

    def skip(self, amount: float) -> None:
        self.done += amount
        self.begun += amount

    def note(self, *figures: str) -> None:
        self.text = " · ".join(figures)
        self._log()

    def curve(self, value: float) -> None: ...

    def tell(self, text: str) -> None:
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> "LogBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            seconds = time.monotonic() - self.start
            self._write(f"{self.done - self.begun:,.0f} {self.unit} in {seconds:.1f} s")

    def _write(self, text: str) -> None:
        note = f" · {self.text}" if self.text else ""
        print(f"{self.title}: {text}{note}", file=sys.stderr, flush=True)


def spoken(rate: float) -> str:
    """A rate for people: 12,345 or 0.52, so that slow work never reads as standing still."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _goes_on(done: float, total: float) -> str:
    return f"goes on at {done / total:.0%}" if total else "goes on"


BarOf = Callable[[str, float, str], Bar]
_heard: ContextVar[BarOf | None] = ContextVar("heard", default=None)


@contextmanager
def heard_by(bar_of: BarOf) -> Iterator[None]:
    """Silent tasks inside are given the bars of `bar_of(title, total, unit)`."""
    before = _heard.set(bar_of)
    try:
        yield
    finally:
        _heard.reset(before)


@contextmanager
def progress(
    title: str,
    total: float,
    unit: str,
    *,
    silent: bool = False,
    rate_seconds: float = RATE_SECONDS,
) -> Iterator[Bar]:
    """A bar for `total` units. The time left is by the rate of the last `rate_seconds`: more than
    30 where the work comes in turns of longer."""
    if silent:
        bar_of = _heard.get()
        yield SilentBar() if bar_of is None else bar_of(title, total, unit)
    elif not sys.stderr.isatty():
        with LogBar(title, total, unit) as bar:
            yield bar
    else:
        with _drawn(title, total, unit, rate_seconds) as drawn:
            yield drawn


@contextmanager
def _drawn(title: str, total: float, unit: str, rate_seconds: float) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TimeRemainingColumn
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    values: list[float] = []
    shown: list[str] = []
    rate_field, left_field = Steady(right=True), Steady(right=True)
    figure_fields: list[Steady] = []
    time_left = TimeRemainingColumn(compact=True)
    console = Console(stderr=True)

    class LineColumn(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            rate = rate_field(f"{spoken(speed)} {unit}/s" if speed else "")
            left = left_field(str(time_left(task)))
            line = fitted(
                console.width,
                title,
                f"{task.percentage:>3.0f}% {rate} {left}",
                curve=sparkline(values).ljust(CURVE_CELLS) if values else "",
                figures=shown,
            )
            drawn_line = Text(line.title, no_wrap=True, overflow="crop")
            if line.bar:
                bar = ProgressBar(total=task.total, completed=task.completed, width=line.bar)
                drawn_line.append(" ")
                for segment in console.render(bar, console.options):
                    drawn_line.append(segment.text.rstrip("\n"), segment.style)
            return drawn_line.append(f" {line.rest}")

    drawn = Progress(LineColumn(), console=console, speed_estimate_period=rate_seconds)
    task = drawn.add_task(title, total=total)

    class DrawnBar:
        def advance(self, amount: float = 1) -> None:
            drawn.advance(task, amount)

        def resume(self, amount: float) -> None:
            done = drawn.tasks[0].completed + amount
            drawn.reset(task)  # begins to measure the rate anew
            drawn.tasks[0].completed = done
            drawn.console.print(f"{title}: {_goes_on(done, total)}", highlight=False)

        def skip(self, amount: float) -> None:
            drawn.tasks[0].completed += amount  # and no sample of the rate

        def note(self, *figures: str) -> None:
            figure_fields.extend(Steady() for _ in figures[len(figure_fields) :])
            padded = [pad(each) for pad, each in zip(figure_fields, figures, strict=False)]
            shown[:] = padded

        def curve(self, value: float) -> None:
            if isfinite(value):
                values.append(value)
            if len(values) > MOST_VALUES:  # two become one: the line is as long as before
                values[:] = [sum(pair) / 2 for pair in zip(values[::2], values[1::2], strict=False)]

        def tell(self, text: str) -> None:
            drawn.console.print(f"{title}: {text}", highlight=False, markup=False)

    with drawn:
        yield DrawnBar()
