"""How much faster several trainings with few threads are than one with all.

    python benchmarks/ablation_spread.py [--rounds 5] [RECIPE [KEY=VALUE …]]

What an ablation measures when it begins (volano/study/spread.py), for longer: every way of sharing
the cores in turns, and the median of its rounds with the least and greatest.
"""

import argparse
from collections import defaultdict
from statistics import median

from volano.core.engine import available_cores
from volano.study.axes import Arm
from volano.study.recipe import load_recipe
from volano.study.section import AblateSection
from volano.study.spread import candidates, measured_rate_of, rate_together
from volano.study.trial_workers import Workers


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="laptop/python-docs")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, asked.settings)
    arm = Arm("", "", recipe)
    spreads = candidates([arm], available_cores(), AblateSection())
    rates = defaultdict(list)
    with Workers(spreads[-1].at_once, spreads[-1].threads) as workers:
        for _ in range(asked.rounds):
            rates[spreads[0]].append(
                measured_rate_of(arm.shape, arm.section, spreads[0].threads, recipe.device)
            )
            for spread in spreads[1:]:
                rates[spread].append(rate_together(arm, spread, workers))
    print(f"{asked.recipe} {' '.join(asked.settings)}: {arm.shape.parameters:,} parameters")
    alone = median(rates[spreads[0]])
    for spread, found in rates.items():
        print(
            f"{spread.said():36} {median(found):9,.0f} tokens/s "
            f"({min(found):,.0f} to {max(found):,.0f})  {median(found) / alone:.2f}×"
        )


if __name__ == "__main__":
    main()
