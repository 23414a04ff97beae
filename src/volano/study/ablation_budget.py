"""What is held equal between the arms of an ablation, and what of it fits into some minutes.

Equal tokens is the plain form: an arm with less text reads it more often. Equal compute gives a
larger model fewer tokens. Equal documents lets each arm read its own text as often as the first
reads its own, so that one with more text trains for longer.

What was fitted is kept in the store when training begins: rates of another moment would fit other
tokens, of which nothing is there, and nothing would go on where it stopped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from volano.core.errors import RecipeError
from volano.core.files import atomic_path, json_digest
from volano.core.store import Store
from volano.study.ablation import LEAST_SEEDS, Ablation
from volano.study.ablation_behind import base_key
from volano.study.ablation_plan import scaled
from volano.study.ablation_reckoned import Reckoned
from volano.study.axes import SIZES, Arm, with_tokens
from volano.study.ladder import ENOUGH_STEPS

MOST_SAID = 3  # token counts that were given up; the others follow in proportion
TOLERANCE = 1e-4  # of a share of the tokens
TOKENS = "pretrain.tokens"
FITTED = "fitted"  # folder of the store


def fit(
    ablation: Ablation,
    reckoned: Reckoned,
    minutes: float,
    store: Store | None = None,
    *,
    spent: float = 0.0,
) -> Ablation:
    """The ablation made smaller until all of it takes no more minutes, of which some seconds are
    `spent`.

    Tokens go first, down to 100 steps of each arm, below which a loss says little; then seeds.
    Trials that are in the store count nothing, and with fewer tokens they are others. Raises
    RecipeError where two seeds do not fit.
    """
    budget = 60 * minutes - spent
    if reckoned.unknown and not ablation.arms[0].trains_base:
        raise RecipeError(
            "how long a trial takes is not known",
            f"--minutes {minutes:g}",
            "--pilot trains two, which the ablation takes over; then it is.",
        )
    if reckoned.seconds <= budget:
        return ablation
    arms, seeds = ablation.arms, len(ablation.seeds)
    # What is behind a base model reads all of its data.
    least = max(min(1.0, ENOUGH_STEPS / each.steps) if each.trains_base else 1.0 for each in arms)
    share = _most_share(ablation, reckoned, budget, least)
    if share < 1:
        arms = _shorter(arms, [round(each.tokens * share) for each in arms])
    fitting = seeds
    while fitting >= LEAST_SEEDS and _seconds(ablation, reckoned, share, fitting, store) > budget:
        fitting -= 1
    if fitting < LEAST_SEEDS:
        taken = _seconds(ablation, reckoned, share, LEAST_SEEDS, store)
        raise RecipeError(
            f"{LEAST_SEEDS} seeds of {len(arms)} arms take {taken / 60:.2g} minutes at least",
            f"--minutes {minutes:g}",
            "Give more, or compare fewer arms, or smaller models.",
        )
    return replace(ablation, arms=arms, seeds=ablation.seeds[:fitting])


def given_up(asked: Ablation, fitted: Ablation) -> list[str]:
    """What the fitted one has less of than was asked for, in words."""
    pairs = [
        (now.tokens, before.tokens) for now, before in zip(fitted.arms, asked.arms, strict=True)
    ]
    changed = [each for each in dict.fromkeys(pairs) if each[0] != each[1]]
    said = [f"{now:,} tokens in the place of {before:,}" for now, before in changed[:MOST_SAID]]
    if len(changed) > MOST_SAID:
        said.append("and so on in one proportion")
    if len(fitted.seeds) != len(asked.seeds):
        said.append(f"{len(fitted.seeds)} seeds in the place of {len(asked.seeds)}")
    return said


def keep_fitted(asked: Ablation, fitted: Ablation, minutes: float, store: Store) -> None:
    """Remember what those minutes were fitted to, for `fitted_before`."""
    path = _path(asked, minutes, store)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = [each.section.tokens if each.trains_base else 0 for each in fitted.arms]
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps({"tokens": tokens, "seeds": len(fitted.seeds)}))


def fitted_before(asked: Ablation, minutes: float, store: Store) -> Ablation | None:
    """What the same ablation was fitted to when it was begun with so many minutes; else None."""
    path = _path(asked, minutes, store)
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text())
        arms = _shorter(asked.arms, [int(each) for each in kept["tokens"]])
        seeds = asked.seeds[: int(kept["seeds"])]
    except (ValueError, KeyError, TypeError):  # damaged: as good as none, and written again
        return None
    return replace(asked, arms=arms, seeds=seeds)


def _shorter(arms: Sequence[Arm], tokens: Sequence[int]) -> tuple[Arm, ...]:
    """The arms with fewer tokens each, called by them where their names tell of tokens: all of one
    size alike, by those of the first, as they are compared."""
    fewer = [
        with_tokens(arm, count) if arm.trains_base else arm
        for arm, count in zip(arms, tokens, strict=True)
    ]
    called: dict[str, str] = {}
    for before, now in zip(arms, fewer, strict=True):
        asked = dict(before.chosen).get(TOKENS)
        if asked is not None:
            called.setdefault(asked, _short(now.tokens) if now.tokens < before.tokens else asked)
    return tuple(_called(each, called) for each in fewer)


def _called(arm: Arm, called: Mapping[str, str]) -> Arm:
    asked = dict(arm.chosen).get(TOKENS)
    if asked is None or called[asked] == asked:
        return arm
    now, of_size = called[asked], SIZES[TOKENS].format
    parts = [of_size(now) if each == of_size(asked) else each for each in arm.size.split(", ")]
    names = [
        f"{each.partition('=')[0]}={now}" if each.endswith(f"tokens={asked}") else each
        for each in arm.name.split(", ")
    ]
    chosen = tuple((key, now if key == TOKENS else value) for key, value in arm.chosen)
    return replace(arm, size=", ".join(parts), name=", ".join(names), chosen=chosen)


def _short(tokens: int) -> str:
    """To three places, as somebody would write it: 999k, 1.05M."""
    rounded = float(f"{tokens:.3g}")
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:g}{unit}"
    return f"{rounded:g}"


def _path(asked: Ablation, minutes: float, store: Store) -> Path:
    recipes = [each.asked for each in asked.arms]
    key = json_digest([asked.name, minutes, len(asked.seeds), asked.asked.identity(), recipes])
    return store.folder / FITTED / f"{key[:16]}.json"


def _most_share(ablation: Ablation, reckoned: Reckoned, budget: float, least: float) -> float:
    """The largest share of the tokens with which all seeds fit, or the least."""
    low, high = least, 1.0
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        fits = _seconds(ablation, reckoned, middle, len(ablation.seeds)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return low


def _seconds(
    ablation: Ablation, reckoned: Reckoned, share: float, seeds: int, store: Store | None = None
) -> float:
    """Of an ablation of so many seeds with that share of its tokens, of which nothing is there
    yet; of all of them something may be."""
    of_arm = {each.arm.label: each for each in reckoned.arms}
    fewer = replace(ablation, seeds=ablation.seeds[:seeds])
    if share == 1 and store is not None:
        return scaled(reckoned, fewer, store).seconds
    trials = [*fewer.trials(), *fewer.signal_trials()]
    training, trained = [], set()
    for each in trials:
        plan, base = of_arm[each.arm.label], base_key(each)
        own = 0.0 if base in trained else plan.base_seconds * share * each.share
        training.append(own + sum(plan.behind.values()))
        trained.add(base)
    return replace(reckoned, trials=tuple(training)).seconds
