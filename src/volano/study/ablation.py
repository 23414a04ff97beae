"""An ablation: every arm is trained with every seed, and a verdict tells whether arms differ.

A trial is the recipe of its arm with another seed, up to the base model, and the measuring of it;
all goes through the store. So what arms have in common is made once, a trial that is there is not
trained again, and one that was stopped goes on. A trial that fails is kept in the table, with its
reason, and takes no other with it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from volano.core.artifact import Artifact
from volano.core.errors import DataError, RecipeError, RunFailed, VolanoError
from volano.core.progress import progress
from volano.core.store import Store
from volano.evaluate.section import DomainsSection
from volano.evaluate.step import DOMAINS
from volano.study.ablation_step import JUDGE, AblationSection, TrialSection
from volano.study.axes import Arm, with_tokens
from volano.study.recipe import Recipe
from volano.study.run import order_of, run
from volano.study.wheel import stages_of
from volano.text.stream import TokenShards
from volano.train.interruption import Stopped

LEAST_SEEDS = 2
BASE, HELD_OUT = "base", "held_out"
DATA = ("tokens", "tokenizer", HELD_OUT)


class Trial(NamedTuple):
    """One arm with one seed. `recipe` has both."""

    arm: Arm
    seed: int
    recipe: Recipe

    @property
    def label(self) -> str:
        """What messages call it."""
        return ", ".join(filter(None, [self.arm.name, self.arm.size, f"seed {self.seed}"]))


class Tried(NamedTuple):
    """What became of a trial: its base model and measurements, or why there are none."""

    trial: Trial
    base: Artifact | None
    measured: Artifact | None
    failure: str = ""
    reused: bool = False


@dataclass(frozen=True)
class Ablation:
    """The trials of a recipe's arms, in the order of making."""

    name: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    domains: DomainsSection
    # Whether each arm reads its own text as often as the first, whatever tokens that takes.
    equal_documents: bool = False

    def trials(self, arms: Sequence[Arm] | None = None) -> list[Trial]:
        """Seed by seed, so that one that is stopped has compared all arms with the seeds done."""
        chosen = self.arms if arms is None else arms
        return [
            Trial(arm, seed, arm.recipe.model_copy(update={"seed": seed, "name": self.name}))
            for seed in self.seeds
            for arm in chosen
        ]


class Ablated(NamedTuple):
    """A finished ablation: the report, and what was tried."""

    report: Artifact
    tried: list[Tried]
    alike: list[tuple[Arm, Arm]]  # an arm, and the former one whose content it has


def plan_ablation(arms: Sequence[Arm], *, seeds: int, domains: DomainsSection) -> Ablation:
    """The trials of those arms. Nothing is made. Raises RecipeError."""
    recipe = arms[0].recipe
    if seeds < LEAST_SEEDS:
        raise RecipeError(
            f"{seeds} seed shows no spread, and no difference could be told from luck",
            "--seeds",
            f"Give {LEAST_SEEDS} or more.",
        )
    if any(each.recipe.pretrain is None or each.recipe.base is not None for each in arms):
        raise RecipeError(
            "an ablation trains base models from nothing, and this recipe trains none",
            "pretrain",
            "Name a recipe without base that has a section pretrain.",
        )
    numbers = tuple(range(recipe.seed, recipe.seed + seeds))
    return Ablation(f"{recipe.name}-ablation", tuple(arms), numbers, domains)


def ablate(
    ablation: Ablation,
    store: Store,
    *,
    silent: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> Ablated:
    """Make the data of each arm, train and measure every trial, and judge.

    Raises DataError where fewer than two arms are left that differ.
    """
    failed: list[Tried] = []
    made: dict[str, Arm] = {}  # by content
    arms, alike = [], []
    first = 0.0  # how often the first arm reads its text
    for asked in ablation.arms:
        arm = asked
        try:
            present = _data(arm, ablation, store, silent)
            if ablation.equal_documents:
                packed = TokenShards(present["tokens"].folder).rows
                first = first or (arm.steps * arm.section.batch_rows / packed)
                arm = _read_so_often(arm, first * packed)
            content = _content(arm, ablation, store, present)
        except Stopped:
            raise
        except (DataError, RunFailed) as problem:
            told(f"{_name(arm)}: {problem}")
            failed += [Tried(each, None, None, str(problem)) for each in ablation.trials([arm])]
            continue
        same = made.get(content)
        if same is not None:
            told(f"{_name(arm)} has the same content as {_name(same)}: it is not trained again.")
            alike.append((arm, same))
            continue
        made[content] = arm
        arms.append(arm)
    if len({each.name for each in arms}) < LEAST_SEEDS:
        raise DataError(
            "fewer than two arms could be made and differ",
            ablation.name,
            "See what is said of each, or ask about something else.",
        )
    tried = list(_tried(ablation.trials(arms), ablation, store, silent, told))
    report = _judged(ablation, [*tried, *failed], store, silent)
    return Ablated(report, [*tried, *failed], alike)


def _name(arm: Arm) -> str:
    return ", ".join(filter(None, [arm.name, arm.size]))


def _data(arm: Arm, ablation: Ablation, store: Store, silent: bool) -> dict[str, Artifact]:
    """What the trials of an arm read, by stage."""
    outcomes = run(ablation.trials([arm])[0].recipe, store, targets=DATA, silent=silent)
    return {each.stage.name: each.artifact for each in outcomes}


def _read_so_often(arm: Arm, rows: float) -> Arm:
    steps = max(1, round(rows / arm.section.batch_rows))
    return with_tokens(arm, steps * arm.section.batch_rows * arm.shape.context)


def _content(arm: Arm, ablation: Ablation, store: Store, present: dict[str, Artifact]) -> str:
    """What decides the trials of an arm: the fingerprint of its base model, with one seed."""
    trial = ablation.trials([arm])[0]
    stage = next(each for each in stages_of(trial.recipe) if each.name == BASE)
    return order_of(stage, trial.recipe, store, present).fingerprint


def _tried(
    trials: Sequence[Trial],
    ablation: Ablation,
    store: Store,
    silent: bool,
    told: Callable[[str], None],
) -> Iterator[Tried]:
    with progress("ablate", len(trials), "trials", silent=silent) as bar:
        for place, trial in enumerate(trials, 1):
            bar.note(f"{place} of {len(trials)}: {trial.label}")
            try:
                yield try_out(trial, store, ablation.domains)
            except Stopped:  # by a signal: all of it
                raise
            except VolanoError as problem:
                told(f"{trial.label}: {problem}")
                yield Tried(trial, None, None, str(problem))
            bar.advance(1)


def try_out(trial: Trial, store: Store, domains: DomainsSection) -> Tried:
    """Train the base model of a trial and measure it. Raises VolanoError."""
    outcomes = run(trial.recipe, store, targets=(BASE, HELD_OUT), silent=True)
    present = {each.stage.name: each.artifact for each in outcomes}
    reused = next(each.reused for each in outcomes if each.stage.name == BASE)
    inputs = {BASE: present[BASE], HELD_OUT: present[HELD_OUT]}
    name = f"{trial.recipe.name}/{DOMAINS.name}"
    order = store.order(DOMAINS, domains, inputs, name=name, seed=trial.seed)
    made = store.make(order, workers=trial.recipe.workers, silent=True, device=trial.recipe.device)
    return Tried(trial, present[BASE], made.artifact, reused=reused)


def _judged(ablation: Ablation, tried: Sequence[Tried], store: Store, silent: bool) -> Artifact:
    inputs, described = {}, {}
    for place, each in enumerate(tried):
        key = f"trial-{place:04}"
        described[key] = TrialSection(
            arm=each.trial.arm.name,
            size=each.trial.arm.size,
            seed=each.trial.seed,
            failure=each.failure,
        )
        if each.measured is not None:
            inputs[key] = each.measured
    section = AblationSection(arms=[each.name for each in ablation.arms], trials=described)
    order = store.order(JUDGE, section, inputs, name=f"{ablation.name}/verdicts")
    return store.make(order, silent=silent).artifact
