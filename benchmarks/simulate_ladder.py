"""How often the intervals of `volano plan --ladder` hold the truth, in ladders whose law is known.

    python benchmarks/simulate_ladder.py [--ladders 200] [--json]

Each ladder has four sizes and three budgets of tokens, losses of the law below times normal noise,
and a next size of twice the largest of both. A row tells in how many of a hundred ladders the 95 %
interval holds: the next run, and each of the law's numbers; and how far law and straight line are
off the next run, as medians. The last row's losses have an interaction that the law has no word
for; there `next` is by the law and `with interaction` beside it.
"""

import argparse
import json
from collections import Counter
from statistics import median

import numpy as np

from volano.stats.scaling_law import Law, Run, fit_law, line_through_two

# Of the size of what small models of documentation give: 1.6 to 2.7 bits per byte.
TRUTH = Law(e=1.0, a=0.8 * 2e5**0.35, alpha=0.35, b=0.6 * 5e5**0.45, beta=0.45)
SIZES, BUDGETS, NEXT = (134e3, 289e3, 684e3, 1.9e6), (312e3, 625e3, 1.25e6), (3.5e6, 2.5e6)
ROWS = ((0.001, 0.0), (0.005, 0.0), (0.01, 0.0), (0.02, 0.0), (0.005, -0.02))  # noise, interaction
RESAMPLES = 400


def main() -> None:
    """Simulate each row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ladders", type=int, default=200, help="in each row")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    options = parser.parse_args()
    rows = [_row(noise, interaction, options.ladders) for noise, interaction in ROWS]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print("  ".join(f"{name} {value:.3g}" for name, value in row.items()))


def _row(noise: float, interaction: float, ladders: int) -> dict[str, float]:
    held: Counter[str] = Counter()
    off_law, off_line = [], []
    for seed in range(ladders):
        draw = np.random.default_rng(seed)
        runs = [_run(n, d, noise, interaction, draw) for n in SIZES for d in BUDGETS]
        got = _run(*NEXT, noise, interaction, draw).loss
        fit = fit_law(runs, seed=1, resamples=RESAMPLES)
        said = {
            "next": (fit.predict(*NEXT, seed=1), got),
            "with interaction": (fit.predict_with_interaction(*NEXT), got),
            **{name: (each, getattr(TRUTH, name)) for name, each in fit.numbers.items()},
        }
        held.update(name for name, (each, true) in said.items() if each.low <= true <= each.high)
        off_law.append(abs(fit.law.loss(*NEXT) / got - 1))
        off_line.append(abs(line_through_two(runs, *NEXT) / got - 1))
    return {
        "noise": noise,
        "interaction": interaction,
        **{name: 100 * held[name] / ladders for name in said},
        "law off %": 100 * median(off_law),
        "line off %": 100 * median(off_line),
    }


def _run(
    size: float, budget: float, noise: float, interaction: float, draw: np.random.Generator
) -> Run:
    twist = np.log(size / np.exp(np.log(SIZES).mean()))
    twist *= np.log(budget / np.exp(np.log(BUDGETS).mean()))
    wrong = interaction * twist + noise * draw.normal()
    return Run(size, budget, TRUTH.loss(size, budget) * float(np.exp(wrong)))


if __name__ == "__main__":
    main()
