"""One bar for all trials of an ablation: how much of the training is done, and what is running.

It counts training tokens, or FLOPs where models differ in size, of every base model once; each
worker's steps move it. Where trials are more than the training of a base model of their own, the
end of each counts too. What was there before counts as done and not into the rate, so that rate and
time left are those of the work at hand. Between trainings their models are measured, which is why
the rate is taken over long.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from volano.core.progress import Bar

TRAINING = "pretrain"  # title of the bar that counts
RATE_SECONDS = 900.0


class Share(NamedTuple):
    """What a trial has to train: the key of its base model, in units of the bar, and what of it is
    done. Trials may share a base. `ending` units are of what is behind the base."""

    base: str
    whole: float
    done: float
    units_a_token: float = 1.0
    ending: float = 0.0
    ended: bool = False


class TrialsBar:
    """The bar of all, and those of each trial, by place."""

    def __init__(self, bar: Bar, labels: Sequence[str], shares: Sequence[Share]) -> None:
        self._bar, self._labels, self._shares = bar, labels, shares
        self._whole = {each.base: each.whole for each in shares}
        self._counted = {each.base: each.done for each in shares}
        self._running: dict[int, str] = {}
        self._ended = 0
        self._told: set[str] = set()
        done = sum(self._counted.values()) + sum(each.ending for each in shares if each.ended)
        if done:
            bar.resume(done)

    def begin(self, place: int) -> None:
        """A trial begins."""
        self._running[place] = ""
        self._note()

    def end(self, place: int) -> None:
        """It has ended. What it has not trained nobody will."""
        self._running.pop(place, None)
        self._ended += 1
        share = self._shares[place]
        self._bar.skip(self._whole[share.base] - self._counted[share.base])
        self._counted[share.base] = self._whole[share.base]
        if share.ending and not share.ended:
            self._bar.advance(share.ending)
        self._note()

    def bar_of(self, place: int, title: str, total: float, unit: str) -> Bar:
        """A bar of one part of a trial."""
        return _TrialBar(self, place, title, total)

    def tell(self, text: str) -> None:
        """Say a line, if no other trial has said it."""
        if text not in self._told:
            self._told.add(text)
            self._bar.tell(text)

    def count(self, place: int, tokens: float, *, now: bool) -> None:
        """So many tokens more are trained, `now` or by an earlier attempt."""
        share = self._shares[place]
        left = self._whole[share.base] - self._counted[share.base]
        amount = min(left, tokens * share.units_a_token)
        self._counted[share.base] += amount
        (self._bar.advance if now else self._bar.skip)(amount)

    def trained(self, place: int) -> float:
        """Tokens of that trial that are counted already."""
        share = self._shares[place]
        return self._counted[share.base] / share.units_a_token

    def show(self, place: int, text: str) -> None:
        """What that trial is at."""
        self._running[place] = text
        self._note()

    def _note(self) -> None:
        running = [f"{self._labels[p]}{at and f': {at}'}" for p, at in self._running.items()]
        self._bar.note(f"{self._ended} of {len(self._labels)} trials", *running)


class _TrialBar:
    """Moves the bar of all by the tokens of a base model, and shows the share of anything else."""

    def __init__(self, of_all: TrialsBar, place: int, title: str, total: float) -> None:
        self._of_all, self._place, self._title, self._total = of_all, place, title, total
        self._done = 0.0
        self._show()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        if self._title == TRAINING:
            self._of_all.count(self._place, amount, now=True)
        self._show()

    def resume(self, amount: float) -> None:
        self._done += amount
        if self._title == TRAINING:
            more = amount - self._of_all.trained(self._place)
            self._of_all.count(self._place, max(0.0, more), now=False)
        self._show()

    skip = resume

    def note(self, *figures: str) -> None: ...

    def curve(self, value: float) -> None: ...

    def tell(self, text: str) -> None:
        self._of_all.tell(text)

    def _show(self) -> None:
        share = f" {self._done / self._total:.0%}" if self._total else ""
        self._of_all.show(self._place, f"{self._title}{share}")


class HeardTrials:
    """Turns what workers send (study/trial_worker.py) into calls of those bars."""

    def __init__(self, bar: TrialsBar, *, silent: bool) -> None:
        self.bar, self._silent = bar, silent
        self._of_place: dict[int, Bar] = {}
        self._lines: set[str] = set()

    def __call__(self, place: int, what: str, about: Sequence[Any]) -> None:
        if what == "open":
            self._of_place[place] = self.bar.bar_of(place, *about)
        elif what == "line":
            self._line(str(about[0]))
        else:
            getattr(self._of_place[place], what)(*about)

    def _line(self, text: str) -> None:
        # What a worker wrote to stderr. Silence is of bars, and not of that.
        if not self._silent:
            self.bar.tell(text)
        elif text not in self._lines:
            self._lines.add(text)
            print(text, file=sys.stderr, flush=True)


def whole_of(shares: Sequence[Share]) -> float:
    """Units of the bar: of each base model once, and of what is behind them."""
    bases = {each.base: each.whole for each in shares}
    return sum(bases.values()) + sum(each.ending for each in shares)
