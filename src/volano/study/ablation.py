"""An ablation: every arm is trained with every seed, and a verdict tells whether arms differ.

What arms have in common is made once, a trial that is there is not trained again, and one that was
stopped goes on (study/trial.py). A trial that fails is kept in the table, with its reason, and
takes no other with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from volano.core.artifact import Artifact
from volano.core.errors import DataError, RecipeError, VolanoError
from volano.core.store import Store
from volano.evaluate.step import LEAST_DOCUMENTS, nothing_held_out
from volano.study.ablation_run import try_all
from volano.study.ablation_step import JUDGE, AblationSection, TrialSection
from volano.study.axes import SIZES, Arm, with_equal_compute, with_tokens
from volano.study.common_held_out import COMMON, HELD_OUT, with_common
from volano.study.held_out_overlap import (
    Overlaps,
    counted_for,
    is_cleared,
    overlap_of,
    said_of_overlap,
)
from volano.study.section import AblateSection
from volano.study.spread import candidates
from volano.study.trial import (
    REFERENCE,
    WITHOUT_ITEMS,
    Trial,
    Tried,
    content_of,
    data_of,
    trial_of,
)
from volano.text.stream import TokenShards
from volano.train.interruption import Stopped

Shown = Callable[[Arm, Mapping[str, Artifact]], None]
LEAST_SEEDS = 2
HALF, HALF_SEEDS = 0.5, 2  # of the tokens, and how many seeds see whether training moves a metric


@dataclass(frozen=True)
class Ablation:
    """The trials of a recipe's arms, in the order of making."""

    name: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    asked: AblateSection
    given_up: tuple[str, ...] = ()  # in words, to fit into minutes

    @property
    def later(self) -> bool:
        """Whether all that is asked about lies behind the base models."""
        return _keys_behind(self.arms) == _keys(self.arms)

    def trials(self, arms: Sequence[Arm] | None = None) -> list[Trial]:
        """Seed by seed, so that one that is stopped has compared all arms with the seeds done."""
        chosen = self.arms if arms is None else arms
        return [trial_of(arm, seed, self.name, self.asked) for seed in self.seeds for arm in chosen]

    def signal_trials(self, arms: Sequence[Arm] | None = None) -> list[Trial]:
        """The first arm of the last size on half of its tokens: does training move a metric?"""
        if not self.asked.signal:
            return []
        chosen = self.arms if arms is None else arms
        # At the last size, which is the largest as a rule: what training does not move there, it
        # does not move before.
        last = next(each for each in chosen if each.size == chosen[-1].size)
        half = with_tokens(last, round(last.tokens * HALF))
        return [
            trial_of(half, seed, self.name, self.asked, HALF) for seed in self.seeds[:HALF_SEEDS]
        ]


class Ablated(NamedTuple):
    """A finished ablation: the report, and what was tried."""

    report: Artifact
    tried: list[Tried]
    alike: list[tuple[Arm, Arm]]  # an arm, and the former one whose content it has


def plan_ablation(arms: Sequence[Arm], asked: AblateSection | None = None) -> Ablation:
    """The trials of those arms. Nothing is made. Raises RecipeError."""
    recipe = arms[0].recipe
    asked = recipe.ablate if asked is None else asked
    if asked.seeds < LEAST_SEEDS:
        raise RecipeError(
            f"fewer than {LEAST_SEEDS} seeds show no spread, and no difference could be told from "
            "luck",
            "ablate.seeds (--seeds)",
            f"Give {LEAST_SEEDS} or more.",
        )
    _require_training(arms)
    _require_difference(arms)
    asked = _with_what_can_differ(arms, asked)
    _require_what_is_measured(arms, asked)
    if asked.match == "compute":
        arms = with_equal_compute(arms)
    numbers = tuple(range(recipe.seed, recipe.seed + asked.seeds))
    return Ablation(f"{recipe.name}-ablation", tuple(arms), numbers, asked)


def _require_training(arms: Sequence[Arm]) -> None:
    if len({each.trains_base for each in arms}) > 1:
        raise RecipeError(
            "some arms train their base model and others have a finished one",
            "base",
            "Compare those with those: `volano compare` tells of two models.",
        )
    for each in arms:
        needed = "pretrain" if each.trains_base else "finetune"
        if getattr(each.recipe, needed) is None:
            raise RecipeError(
                "an ablation trains models, and this recipe trains none",
                needed,
                f"Name a recipe that has a section {needed}.",
            )


def _require_difference(arms: Sequence[Arm]) -> None:
    """Arms of other settings may still turn out to have the same content (`_prepare`)."""
    for size in dict.fromkeys(each.size for each in arms):
        if len({each.asked for each in arms if each.size == size}) > 1:
            return
    names = list(dict.fromkeys(each.name for each in arms))
    what = f"{', '.join(names)} have the same settings, so there is nothing to compare"
    raise RecipeError(what, "volano ablate", "Give each arm a setting of its own.")


def _require_what_is_measured(arms: Sequence[Arm], asked: AblateSection) -> None:
    """What the recipe alone tells: that no canary will be there, or a context too short."""
    whole = asked.memorisation.prompt_tokens + asked.memorisation.continued_tokens
    planted = set()
    for each in arms if arms[0].trains_base else ():
        plant = each.recipe.plant
        if "memorisation" in asked.metrics and each.shape.context <= whole:
            raise RecipeError(
                f"{each.label} reads {each.shape.context} tokens at a time, and {whole + 1} are "
                "needed to see what is said by heart",
                "pretrain.model.context",
                "Raise it, or lower ablate.memorisation.prompt_tokens.",
            )
        planted.add(plant is not None and bool(plant.documents))
        if "memorisation" in asked.metrics and len(planted) > 1:
            raise RecipeError(
                f"{each.label} would be asked about other documents than {arms[0].label}: planted "
                "ones, if there are any, and else those of the text",
                "ablate.metrics: memorisation",
                "Plant documents in every arm (plant.documents), or leave it out.",
            )
        if "leaks" in asked.metrics and (plant is None or not plant.canaries):
            raise RecipeError(
                f"no canaries are planted in {each.label}, and leaks are asked for",
                "ablate.metrics: leaks",
                "Set plant.canaries in every arm, or leave leaks out.",
            )


def _require_held_out(present: Mapping[str, Artifact], asked: AblateSection) -> None:
    """Raise DataError where bits per byte are asked for and no document is there to measure."""
    corpora = [present[each].corpus() for each in (HELD_OUT, REFERENCE) if each in present]
    if "bits_per_byte" in asked.metrics and sum(map(len, corpora)) < LEAST_DOCUMENTS:
        raise nothing_held_out(present[HELD_OUT].name)
    if "toxicity" in asked.metrics and not len(present[HELD_OUT].corpus()):
        raise nothing_held_out(present[HELD_OUT].name)


def _keys(arms: Sequence[Arm]) -> set[str]:
    """Of what arms differ in, without their sizes, at each of which they are compared."""
    return {key for arm in arms for key, _ in arm.chosen if not (arm.size and key in SIZES)}


def _keys_behind(arms: Sequence[Arm]) -> set[str]:
    """Those that base models do not read: behind a finished one all are."""
    keys = _keys(arms)
    if not arms[0].trains_base:
        return {each for each in keys if each.partition(".")[0] != "base"}
    return {each for each in keys if each.startswith(("finetune", "align"))}


def _with_what_can_differ(arms: Sequence[Arm], asked: AblateSection) -> AblateSection:
    """Tasks where an axis lies behind the base model, and no metric of it where all do."""
    behind, finished = _keys_behind(arms), not arms[0].trains_base
    changed: dict[str, object] = {}
    if (behind or finished) and not asked.tasks:
        evaluate = arms[0].recipe.evaluate
        tasks = [each for each in evaluate.tasks if each != WITHOUT_ITEMS] if evaluate else []
        if not tasks:
            raise RecipeError(
                "base models do not read it, and no task of the evaluation is asked for",
                min(behind, default="base"),
                "Set ablate.tasks, such as [held_out_functions].",
            )
        changed["tasks"] = tasks
    if not asked.metrics and not (asked.tasks or changed):
        raise RecipeError("nothing is measured", "ablate.metrics", "Name a metric or ablate.tasks.")
    if WITHOUT_ITEMS in asked.tasks:
        raise RecipeError(
            "speed and memory are of the machine, and no metric of an arm",
            "ablate.tasks: efficiency",
            "Leave it out.",
        )
    if finished or behind == _keys(arms):
        if asked.metrics and "metrics" in asked.model_fields_set:
            raise RecipeError(
                "these are of base models, which are the same in all arms",
                "ablate.metrics",
                "Leave it out, and set ablate.tasks.",
            )
        changed |= {"metrics": [], "signal": False}
    if finished and asked.match != "tokens":
        raise RecipeError(
            "a finished base reads no more or less of anything",
            f"ablate.match={asked.match} (--match)",
            "Leave it out.",
        )
    return asked.model_copy(update=changed)


def ablate(
    ablation: Ablation,
    store: Store,
    *,
    silent: bool = False,
    told: Callable[[str], None] = lambda line: None,
    shown: Shown = lambda arm, data: None,
) -> Ablated:
    """Make the data of each arm, train and measure every trial, and judge. `shown` sees the data of
    an arm when they are made.

    Raises DataError where fewer than two arms are left that differ, RecipeError where more are to
    be trained at once than can be.
    """
    candidates(ablation.arms, len(ablation.trials()), ablation.asked)  # before data are made
    prepared = _prepare(ablation, store, silent, told, shown)
    arms, data = prepared.arms, prepared.data
    trials = [*ablation.trials(arms), *ablation.signal_trials(arms)]
    overlap = {
        arm.name: overlap_of(arm, data[arm.label], store, ablation.name, silent=silent)
        for arm in arms
        if counted_for(arm, ablation.asked)
    }
    cleared = [arm.name for arm in arms if is_cleared(arm)]
    for line in said_of_overlap({"overlap": overlap, "cleared": cleared}):
        told(line)
    tried = try_all(trials, store, ablation.asked, data, silent=silent, told=told)
    known = _Known(overlap, cleared, _common(data))
    report = _judged(ablation, [*tried, *prepared.failed], prepared.alike, known, store, silent)
    return Ablated(report, [*tried, *prepared.failed], prepared.alike)


class _Known(NamedTuple):
    """Of the documents that arms are measured on: which lie in what an arm trains on, which arms
    are decontaminated, and how many all have in common where arms hold out different ones."""

    overlap: Mapping[str, Overlaps]
    cleared: list[str]
    common: int | None


def _common(data: Mapping[str, Mapping[str, Artifact]]) -> int | None:
    found = next(iter(data.values())).get(COMMON)
    return None if found is None else len(found.corpus())


class _Prepared(NamedTuple):
    """Arms that differ, with their data; trials of those without; arms of another's content."""

    arms: list[Arm]
    data: Mapping[str, Mapping[str, Artifact]]  # by the label of the arm
    failed: list[Tried]
    alike: list[tuple[Arm, Arm]]


def _prepare(
    ablation: Ablation, store: Store, silent: bool, told: Callable[[str], None], shown: Shown
) -> _Prepared:
    reasons: dict[str, Arm] = {}  # why an arm has no data → the first of which that was told
    failed: list[Tried] = []
    made: dict[str, Arm] = {}  # by content
    arms: list[Arm] = []
    alike: list[tuple[Arm, Arm]] = []
    data: dict[str, dict[str, Artifact]] = {}  # by arm
    first = ablation.arms[0]
    epochs: dict[str, float] = {}  # how often the first arm of a size reads its text
    for wanted in ablation.arms:
        arm = wanted
        try:
            trial, asked = ablation.trials([arm])[0], ablation.asked
            if arm.trains_base:  # before all else, as little is needed for it
                of_held_out = data_of(trial, store, asked, silent, (HELD_OUT, REFERENCE))
                _require_held_out(of_held_out, asked)
            present = data_of(trial, store, asked, silent)
            shown(arm, present)
            _require_held_out(present, asked)
            if ablation.asked.match == "documents":
                arm = read_so_often(arm, TokenShards(present["tokens"].folder).rows, epochs)
            content = content_of(ablation.trials([arm])[0], store, ablation.asked, present)
        except Stopped:
            raise
        except VolanoError as problem:
            if arm.name == first.name:
                raise of_first(problem, arm) from None
            known = reasons.setdefault(str(problem), arm)
            told(f"{arm.label}: {problem if known is arm else f'as {known.label}.'}")
            failed += [Tried(each, None, {}, str(problem)) for each in ablation.trials([arm])]
            continue
        same = made.get(content)
        if same is not None:
            told(f"{arm.label} has the same content as {same.label}: it is not trained again.")
            alike.append((arm, same))
            continue
        made[content] = arm
        arms.append(arm)
        data[arm.label] = present
    if len({each.name for each in arms}) < LEAST_SEEDS:
        of_each = [f"{arm.label}: {reason.rstrip('.')}" for reason, arm in reasons.items()]
        of_each += [f"{arm.label} has the content of {same.label}" for arm, same in alike]
        raise DataError(
            f"fewer than two arms could be made and differ. {'; '.join(of_each)}",
            ablation.name,
            "Ask about something else.",
        )
    common = with_common(data, store, ablation.name, ablation.asked, silent=silent, told=told)
    return _Prepared(arms, common, failed, alike)


def of_first(problem: VolanoError, arm: Arm) -> VolanoError:
    """The others are compared with it, so nothing is trained without it."""
    what = f"the arm that others are compared with, {arm.label}: {problem.what}"
    return type(problem)(what, problem.where, problem.remedy)


def read_so_often(arm: Arm, rows: int, epochs: dict[str, float]) -> Arm:
    """The arm, reading its packed rows as often as the first arm of its size its own; that one
    enters how often into `epochs`."""
    often = epochs.setdefault(arm.size, arm.steps * arm.section.batch_rows / rows)
    steps = max(1, round(often * rows / arm.section.batch_rows))
    if steps == arm.steps:
        return arm
    return with_tokens(arm, steps * arm.section.batch_rows * arm.shape.context)


def _judged(
    ablation: Ablation,
    tried: Sequence[Tried],
    alike: Sequence[tuple[Arm, Arm]],
    known: _Known,
    store: Store,
    silent: bool,
) -> Artifact:
    inputs: dict[str, Artifact] = {}
    described = {}
    for place, each in enumerate(tried):
        key = f"trial-{place:04}"
        described[key] = TrialSection(
            arm=each.trial.arm.name,
            size=each.trial.arm.size,
            seed=each.trial.seed,
            share=each.trial.share,
            failure=each.failure.replace(str(store.folder), store.folder.name),
        )
        inputs |= {f"{key}.{name}": artifact for name, artifact in each.measured.items()}
    section = AblationSection(
        question=ablation.asked.question,
        match=ablation.asked.match,
        later=ablation.later,
        arms=[each.name for each in ablation.arms],
        alike={arm.label: same.label for arm, same in alike},
        given_up=list(ablation.given_up),
        overlap={arm: dict(each) for arm, each in known.overlap.items()},
        cleared=known.cleared,
        common=known.common,
        trials=described,
    )
    order = store.order(JUDGE, section, inputs, name=f"{ablation.name}/verdicts")
    return store.make(order, silent=silent).artifact
