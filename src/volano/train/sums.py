"""Figures of a step, added up over its micro-batches and over processes.

A mean over labels is not the mean of means where rows hold unequal many: each figure is weighted by
what its micro-batch counts.
"""

from volano.train.dynamics import Row
from volano.train.objective import LossOutput

SMALLEST = 1e-12  # of a sum of weights: a batch without labels has none


class Sums:
    """Figures of micro-batches, each times its weight."""

    def __init__(self) -> None:
        self.weight, self.totals = 0.0, {"loss": 0.0}

    def add(self, output: LossOutput, *, idle: bool = False) -> float:
        """Count a micro-batch; its weight."""
        weight = 0.0 if idle else float(output.weight)
        self.weight += weight
        for name, value in {"loss": output.loss, **output.metrics}.items():
            # Not 0 · value: of a row without labels a figure may be no number.
            more = 0.0 if idle else float(value.detach()) * weight
            self.totals[name] = self.totals.get(name, 0.0) + more
        return weight

    def means(self) -> Row:
        """The mean of each figure, by weight."""
        return {name: total / max(self.weight, SMALLEST) for name, total in self.totals.items()}

    @classmethod
    def of(cls, parts: list["Sums"]) -> "Sums":
        """The sum of several, in their order."""
        whole = cls()
        for part in parts:
            whole.weight += part.weight
            for name, total in part.totals.items():
                whole.totals[name] = whole.totals.get(name, 0.0) + total
        return whole
