"""What is held equal between the arms of an ablation, and what of it fits into some minutes.

Equal tokens is the plain form: an arm with less text reads it more often. Equal compute gives a
larger model fewer tokens. Equal documents lets each arm read its own text as often as the first
reads its own, so that one with more text trains for longer.
"""

from dataclasses import replace

from volano.core.errors import RecipeError
from volano.study.ablation import LEAST_SEEDS, Ablation
from volano.study.ablation_plan import Reckoned
from volano.study.axes import with_tokens
from volano.study.ladder import ENOUGH_STEPS


def fit(ablation: Ablation, reckoned: Reckoned, minutes: float) -> tuple[Ablation, list[str]]:
    """The ablation made smaller until its training takes no more minutes, and what was given up.

    Tokens go first, down to 100 steps of each arm, below which a loss says little; then seeds.
    Trials that are in the store count nothing, and with fewer tokens they are others. Raises
    RecipeError where two seeds do not fit.
    """
    budget = 60 * minutes
    if reckoned.seconds <= budget:
        return ablation, []
    arms, seeds = ablation.arms, len(ablation.seeds)
    seconds = {each.arm: each.seconds_a_trial for each in reckoned.arms}
    whole = sum(seconds.values())
    least = max(min(1.0, ENOUGH_STEPS / each.steps) for each in arms)
    share = max(budget / (whole * seeds), least)
    given_up = []
    if share < 1:
        arms = tuple(with_tokens(each, round(each.tokens * share)) for each in arms)
        now, before = arms[0].tokens, ablation.arms[0].tokens
        given_up.append(f"{now:,} tokens in the place of {before:,}")
    fitting = min(seeds, int(budget / (whole * min(share, 1.0)) + 1e-9))
    if fitting < LEAST_SEEDS:
        raise RecipeError(
            f"{LEAST_SEEDS} seeds of {len(arms)} arms take "
            f"{LEAST_SEEDS * whole * min(share, 1.0) / 60:.2g} minutes of training at least",
            f"--minutes {minutes:g}",
            "Give more, or compare fewer arms, or smaller models.",
        )
    if fitting < seeds:
        given_up.append(f"{fitting} seeds in the place of {seeds}")
    return replace(ablation, arms=arms, seeds=ablation.seeds[:fitting]), given_up
