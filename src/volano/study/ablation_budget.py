"""What is held equal between the arms of an ablation, and what of it fits into some minutes.

Equal tokens is the plain form: an arm with less text reads it more often. Equal compute gives a
larger model fewer tokens. Equal documents lets each arm read its own text as often as the first
reads its own, so that one with more text trains for longer.
"""

from dataclasses import replace

from volano.core.errors import RecipeError
from volano.study.ablation import LEAST_SEEDS, Ablation
from volano.study.ablation_behind import base_key
from volano.study.ablation_plan import Reckoned
from volano.study.axes import with_tokens
from volano.study.ladder import ENOUGH_STEPS

TOLERANCE = 1e-4  # of a share of the tokens


def fit(ablation: Ablation, reckoned: Reckoned, minutes: float) -> tuple[Ablation, list[str]]:
    """The ablation made smaller until all of it takes no more minutes, and what was given up.

    Tokens go first, down to 100 steps of each arm, below which a loss says little; then seeds.
    Trials that are in the store count nothing, and with fewer tokens they are others. Raises
    RecipeError where two seeds do not fit.
    """
    budget = 60 * minutes
    if reckoned.unknown and not ablation.arms[0].trains_base:
        raise RecipeError(
            "how long a trial takes is not known",
            f"--minutes {minutes:g}",
            "--pilot trains two, which the ablation takes over; then it is.",
        )
    if reckoned.seconds <= budget:
        return ablation, []
    arms, seeds = ablation.arms, len(ablation.seeds)
    # What is behind a base model reads all of its data.
    least = max(min(1.0, ENOUGH_STEPS / each.steps) if each.trains_base else 1.0 for each in arms)
    share = _most_share(ablation, reckoned, budget, least)
    given_up = []
    if share < 1:
        arms = tuple(with_tokens(each, round(each.tokens * share)) for each in arms)
        now, before = arms[0].tokens, ablation.arms[0].tokens
        given_up.append(f"{now:,} tokens in the place of {before:,}")
    fitting = seeds
    while fitting >= LEAST_SEEDS and _seconds(ablation, reckoned, share, fitting) > budget:
        fitting -= 1
    if fitting < LEAST_SEEDS:
        taken = _seconds(ablation, reckoned, share, LEAST_SEEDS)
        raise RecipeError(
            f"{LEAST_SEEDS} seeds of {len(arms)} arms take {taken / 60:.2g} minutes at least",
            f"--minutes {minutes:g}",
            "Give more, or compare fewer arms, or smaller models.",
        )
    if fitting < seeds:
        given_up.append(f"{fitting} seeds in the place of {seeds}")
    return replace(ablation, arms=arms, seeds=ablation.seeds[:fitting]), given_up


def _most_share(ablation: Ablation, reckoned: Reckoned, budget: float, least: float) -> float:
    """The largest share of the tokens with which all seeds fit, or the least."""
    low, high = least, 1.0
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        fits = _seconds(ablation, reckoned, middle, len(ablation.seeds)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return low


def _seconds(ablation: Ablation, reckoned: Reckoned, share: float, seeds: int) -> float:
    """Of an ablation of so many seeds with that share of its tokens, none of it there yet."""
    of_arm = {each.arm.label: each for each in reckoned.arms}
    fewer = replace(ablation, seeds=ablation.seeds[:seeds])
    trials = [*fewer.trials(), *fewer.signal_trials()]
    training, trained = [], set()
    for each in trials:
        plan, base = of_arm[each.arm.label], base_key(each)
        own = 0.0 if base in trained else plan.base_seconds * share * each.share
        training.append(own + sum(plan.behind.values()))
        trained.add(base)
    return replace(reckoned, trials=tuple(training)).seconds
