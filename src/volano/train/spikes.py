"""What is said and recorded of steps that stand out: spikes, losses that are no number, divergence.

A batch is named by its documents, so that someone can look at them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volano.core.errors import RunFailed
from volano.core.progress import Bar
from volano.train.checkpoint import fall_back
from volano.train.dynamics import finite_or_none
from volano.train.guard import Divergence, Spike
from volano.train.objective import Stream

NAMED_DOCUMENTS = 5  # of a batch; the rest are counted
MOST_WRITTEN = 1e4  # of a loss that is written out
TOLD_SPIKES = 5  # more are recorded and counted
MOST_RETURNS = 3  # to the same weights: what comes after them is no passing spike
RECORDED, LEFT_OUT, WENT_BACK = "recorded", "left out", "went back"
LOWER = "Lower learning_rate or matrix_learning_rate, or look at these documents"
RAISE = ", or raise spike_deviations if nothing is wrong with them"


def undone_by(spikes: Sequence[Mapping[str, Any]]) -> set[int]:
    """After which steps a model was that no longer counts, as its weights were taken back later."""
    returns = [each for each in spikes if each["back_to"] is not None]
    return {step for each in returns for step in range(each["back_to"] + 1, each["step"])}


class Spikes:
    """The spikes of a run, and the errors that it ends with."""

    def __init__(self, stream: Stream, scratch: Path, bar: Bar) -> None:
        self._stream, self._scratch, self._bar = stream, scratch, bar
        self.found: list[dict[str, Any]] = []  # rows of spikes.parquet

    def in_a_row(self, step: int) -> int:
        """How many batches right before that step were left out."""
        count = 0
        for each in reversed(self.found):
            if each["action"] != LEFT_OUT or each["step"] != step - 1 - count:
                break
            count += 1
        return count

    def record(self, spike: Spike, action: str, back_to: int | None = None) -> None:
        """Record a spike, what was done, and the step whose weights were taken again. Raises
        RunFailed where going back has not helped."""
        self.found.append(
            {
                "step": spike.step,
                "loss": finite_or_none(spike.loss),
                "median": finite_or_none(spike.median),
                "deviations": finite_or_none(spike.deviations),
                "action": action,
                "back_to": back_to,
                "documents": self._stream.documents_at(spike.step - 1),
            }
        )
        if len(self.found) <= TOLD_SPIKES:
            last = len(self.found) == TOLD_SPIKES
            more = "; what comes of later ones is recorded and not told" if last else ""
            self._bar.tell(f"{self._said_of(spike, action, back_to)}{more}")
        same = [each for each in self.found if back_to is not None and each["back_to"] == back_to]
        if len(same) > MOST_RETURNS:
            raise RunFailed(
                f"the loss spikes again and again at step {spike.step:,} after {MOST_RETURNS} "
                f"returns to the weights of step {back_to:,}; its batch holds "
                f"{self._named(spike.step)}",
                "training",
                f"{LOWER}{'' if spike.not_finite else RAISE}.",
            )

    def not_finite(self, spike: Spike) -> RunFailed:
        """The error of a loss or gradient that is no finite number."""
        return RunFailed(
            f"the {spike.not_finite} is not finite at step {spike.step:,}; its batch holds "
            f"{self._named(spike.step)}",
            "training",
            f"{LOWER}, or set on_spike: rewind to leave such batches out.",
        )

    def diverged(self, divergence: Divergence, step: int) -> RunFailed:
        """The error of a run that has diverged; its last good state is put where the next try
        looks for it."""
        good = fall_back(self._scratch)
        kept = (
            f"The last good state, after step {good:,}, is kept in {self._scratch}"
            if good is not None
            else "No good state was kept; smaller checkpoint_steps keep one earlier"
        )
        instead = (
            f"was {divergence.best:.3f} at step {divergence.best_step:,}"
            if divergence.guessing is None
            else f"guessing has {divergence.guessing:.3f}"
        )
        return RunFailed(
            f"the loss has diverged at step {step:,}: its median is "
            f"{_figure(divergence.median)}, and "
            f"{instead}. It left its course at step {divergence.left_at:,}, whose batch holds "
            f"{self._named(divergence.left_at)}",
            "training",
            f"{LOWER}. {kept}.",
        )

    def _said_of(self, spike: Spike, action: str, back_to: int | None) -> str:
        if spike.not_finite:
            said = f"the {spike.not_finite} is not finite at step {spike.step:,}"
        else:
            said = (
                f"spike at step {spike.step:,}: loss {_figure(spike.loss)}, "
                f"median {spike.median:.3f}, "
                f"{spike.deviations:.0f} deviations above it"
            )
        done = {
            RECORDED: "",
            LEFT_OUT: " and is left out",
            WENT_BACK: f" and is left out; back to the weights of step {back_to or 0:,}",
        }
        return f"{said}; its batch holds {self._named(spike.step)}{done[action]}"

    def _named(self, step: int) -> str:
        documents = self._stream.documents_at(step - 1)
        named = ", ".join(documents[:NAMED_DOCUMENTS]) or "no documents"
        rest = len(documents) - NAMED_DOCUMENTS
        return f"{named} and {rest} more" if rest > 0 else named


def _figure(loss: float) -> str:
    """A loss to three places, and one out of all bounds as a power of ten."""
    return f"{loss:.3f}" if abs(loss) < MOST_WRITTEN else f"{loss:.3g}"
