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
        self.weights: dict[str, float] = {}  # of figures that count less than the loss does

    def add(self, output: LossOutput, *, idle: bool = False) -> float:
        """Count a micro-batch; its weight."""
        weight = 0.0 if idle else float(output.weight)
        self.weight += weight
        own = {} if idle else {name: float(each) for name, each in output.weights.items()}
        for name in output.weights:
            self.weights[name] = self.weights.get(name, 0.0) + own.get(name, 0.0)
        for name, value in {"loss": output.loss, **output.metrics}.items():
            counts = 0.0 if idle else own.get(name, weight)
            # Not 0 · value: of a row without labels a figure may be no number.
            more = float(value.detach()) * counts if counts else 0.0
            self.totals[name] = self.totals.get(name, 0.0) + more
        return weight

    def means(self) -> Row:
        """The mean of each figure, by weight; without those that nothing was counted of."""
        weights = {name: self.weights.get(name, self.weight) for name in self.totals}
        return {
            name: total / max(weights[name], SMALLEST)
            for name, total in self.totals.items()
            if weights[name] or name not in self.weights
        }

    @classmethod
    def of(cls, parts: list["Sums"]) -> "Sums":
        """The sum of several, in their order."""
        whole = cls()
        for part in parts:
            whole.weight += part.weight
            for name, total in part.totals.items():
                whole.totals[name] = whole.totals.get(name, 0.0) + total
            for name, weight in part.weights.items():
                whole.weights[name] = whole.weights.get(name, 0.0) + weight
        return whole
