"""A ladder: small models of a recipe at several sizes and budgets, and the next size above them.

Each run is the recipe with another size, budget of tokens and seed, its schedule of learning rates
ending with it: a loss taken amid a longer run would be too high (Hoffmann et al. 2022, section
3.1). Peak rates, batch and context stay those of the recipe.

N counts the parameters that a token is multiplied with, the head included, a looked-up embedding
not: what the arithmetic is of, 6 N D. Without the head, as Kaplan et al. 2020 counted, small models
with large vocabularies look better than they are and exponents come out too large (Porian et al.
2024; Pearce & Song 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from volano.collect.stated_split import holds_out
from volano.core.artifact import Artifact
from volano.core.errors import RecipeError
from volano.core.files import json_digest
from volano.core.recipe import read_count
from volano.core.store import Order, Store
from volano.model.config import DecoderConfig
from volano.model.shape import DEEPEST
from volano.pretrain.section import ModelSection, PretrainSection
from volano.pretrain.step import PRETRAIN
from volano.stats.scaling_law import LEAST_KINDS, check_grid
from volano.study.recipe import Recipe
from volano.study.run import check_parallel, needed, order_of
from volano.study.training_cost import size_of
from volano.study.wheel import Stage, stages_of

BASE = "base"
SHARED = ("tokens", "tokenizer", "held_out")  # what every run reads
BUDGETS = (8, 4, 2)  # by which the tokens of the next are divided where none are given
MOST_SIZES = 4  # that are chosen where none are given
BELOW = (1.5, 1.1)  # the next has so many times the parameters of the largest that is chosen
APART = 2.0  # and that of the one below it

ENOUGH_STEPS = (
    100  # before, loss falls by what any model learns first. Source: docs/training-plan.md
)


@dataclass(frozen=True)
class Run:
    """One model to train. `tokens` are those of whole steps; `label` is its name in the store."""

    size: str  # as it was asked for: 0.3M, or d4
    section: PretrainSection
    shape: DecoderConfig
    seed: int
    label: str

    @property
    def parameters(self) -> int:
        """N: those that each token is multiplied with."""
        return counted(self.shape)

    @property
    def tokens(self) -> int:
        """D: positions trained on, over all steps."""
        return self.section.steps * self.section.batch_rows * self.section.model.context


@dataclass(frozen=True)
class Ladder:
    """What is trained, from the smallest run to the largest, and what is predicted from it."""

    recipe: Recipe
    runs: tuple[Run, ...]
    next: Run

    @property
    def name(self) -> str:
        """Under which its runs and reports are labelled: not among the recipe's own stages."""
        return f"{self.recipe.name}-ladder"

    @property
    def fewest_steps(self) -> int:
        """Steps of the shortest run; below `ENOUGH_STEPS` a law of it says little."""
        return min(each.section.steps for each in self.runs)

    def shared(self) -> list[Stage]:
        """The stages that every run reads, in the order of making."""
        return needed(stages_of(self.recipe), {}, SHARED, None)

    def order(self, run: Run, store: Store, present: dict[str, Artifact]) -> Order:
        """The run as an order of the store; with settings and seed of the recipe it is the very
        base model that `volano run` makes."""
        base = next(each for each in stages_of(self.recipe) if each.name == BASE)
        stage = Stage(run.label, base.phase, base.step, run.section, base.inputs)
        named = self.recipe.model_copy(update={"name": self.name, "seed": run.seed})
        return order_of(stage, named, store, present)


def counted(shape: DecoderConfig) -> int:
    """N of a shape: all parameters but an embedding whose rows are only looked up."""
    return size_of(shape).in_matmuls


def plan_ladder(
    recipe: Recipe,
    *,
    sizes: Sequence[str] = (),
    tokens: Sequence[int] = (),
    next_size: str = "",
    seeds: int = 1,
) -> Ladder:
    """The runs of a ladder. Nothing is made.

    `sizes` are parameters as `pretrain.model.parameters` has them (0.3M), or depths (d4); by
    default up to four of the depths below the next, each at most half as large as the one above.
    `tokens` are budgets; by default an eighth, a quarter and half of the next's. `next_size` is by
    default the recipe's own, and is trained on the recipe's tokens. Every run is made with `seeds`
    seeds, each of its own, so that what they have in common is not their luck.

    Raises RecipeError where the recipe pre-trains nothing, holds out or measures nothing or takes
    the weights of its best evaluation, where a size cannot be or is no smaller than the next;
    DataError where the runs are too few.
    """
    section = recipe.pretrain
    if section is None or recipe.base is not None:
        raise RecipeError(
            "a ladder is of models trained from nothing, and this recipe trains none",
            "pretrain",
            "Name a recipe without base that has a section pretrain.",
        )
    if not section.evaluate_documents:
        raise RecipeError(
            "no held-out document is measured, and a law of the training loss says little",
            "pretrain.evaluate_documents",
            "Set 100, the default.",
        )
    if section.weights == "best":
        raise RecipeError(
            "the best weights may be those of fewer tokens, and the law is of all",
            "pretrain.weights",
            "Set pretrain.weights=last.",
        )
    if not holds_out(recipe.collect):
        files = recipe.collect.source == "files"
        raise RecipeError(
            "nothing is held out of these documents, so no run could be measured",
            "collect.held_out_fraction" if files else "collect.held_out_functions",
            f"Set {'0.1' if files else '1500'}.",
        )
    vocabulary = recipe.tokenizer.vocabulary
    largest = _sized(section, next_size, vocabulary, "--next") if next_size else section
    top = largest.model.shape(vocabulary)
    asked = list(sizes) or _default_sizes(section.model, vocabulary, counted(top))
    budgets = list(tokens) or [max(1, round(section.tokens / each)) for each in BUDGETS]
    if len({*budgets}) < len(budgets):
        raise RecipeError("a number of tokens stands there twice", "--tokens", "Use --seeds 2.")
    rungs = [(each, _sized(section, each, vocabulary, "--sizes")) for each in asked]
    _check_sizes(rungs, vocabulary, top)
    runs = [
        _run(size, each, vocabulary, budget, _seed(recipe.seed, each, budget, repeat), repeat)
        for size, each in sorted(rungs, key=lambda rung: counted(rung[1].model.shape(vocabulary)))
        for budget in sorted(budgets)
        for repeat in range(seeds)
    ]
    check_grid([(each.parameters, each.tokens) for each in runs])
    wanted = next_size or _asked(section.model)
    last = _run(wanted, largest, vocabulary, section.tokens, recipe.seed, 0)
    ladder = Ladder(recipe, tuple(runs), last)
    check_parallel(
        [Stage(BASE, "pretrain", PRETRAIN, each.section, {}) for each in (*runs, last)], recipe
    )
    return ladder


def _sized(section: PretrainSection, size: str, vocabulary: int, where: str) -> PretrainSection:
    context, tied = section.model.context, section.model.tied
    depth = size.removeprefix("d")
    if size != depth and depth.isdecimal() and 1 <= int(depth) <= DEEPEST:
        model = ModelSection(depth=int(depth), context=context, tied=tied)
    else:
        count = read_count(size)
        if not isinstance(count, int) or count < 1:
            raise RecipeError(
                f"no size of a model: '{size}'",
                where,
                f"Write parameters, such as 0.3M, or a depth from d1 to d{DEEPEST}.",
            )
        model = ModelSection(parameters=count, context=context, tied=tied)
        try:
            model.shape(vocabulary)
        except RecipeError as none:
            remedy = f"{none.remedy} Or give a depth: d1, d2 …"
            raise RecipeError(none.what, f"{where} {size}", remedy) from None
    return section.model_copy(update={"model": model})


def _asked(model: ModelSection) -> str:
    return f"d{model.depth}" if model.parameters is None else spoken_count(model.parameters)


def _default_sizes(model: ModelSection, vocabulary: int, above: int) -> list[str]:
    found: list[str] = []
    for factor in BELOW:  # a tiny model has few depths below it, and takes one that is near
        found, limit = [], above / factor
        for depth in range(DEEPEST, 0, -1):
            shape = ModelSection(depth=depth, context=model.context, tied=model.tied).shape(
                vocabulary
            )
            if counted(shape) <= limit and len(found) < MOST_SIZES:
                found.insert(0, f"d{depth}")
                limit = counted(shape) / APART
        if len(found) >= LEAST_KINDS:
            return found
    raise RecipeError(
        f"there are {len(found)} depths below a model of {spoken_count(above)}, and {LEAST_KINDS} "
        "sizes are needed",
        "--sizes",
        "Name the sizes, or a larger --next.",
    )


def _check_sizes(
    rungs: Sequence[tuple[str, PretrainSection]], vocabulary: int, top: DecoderConfig
) -> None:
    known: dict[DecoderConfig, str] = {}
    for size, section in rungs:
        shape = section.model.shape(vocabulary)
        if shape in known:
            raise RecipeError(
                f"{known[shape]} and {size} are one shape, of {shape.layers} layers and width "
                f"{shape.width}",
                "--sizes",
                "Leave one of them out.",
            )
        known[shape] = size
        if counted(shape) >= counted(top):
            raise RecipeError(
                f"{spoken_count(counted(top))} is no larger than {size} of the ladder, which has "
                f"{spoken_count(counted(shape))}",
                "--next",
                "Name a larger one, or smaller --sizes.",
            )


def _run(
    size: str, section: PretrainSection, vocabulary: int, tokens: int, seed: int, repeat: int
) -> Run:
    shape = section.model.shape(vocabulary)
    budget = section.model_copy(update={"tokens": tokens})
    label = f"{spoken_count(counted(shape))}-{spoken_count(tokens)}-{repeat + 1}"
    return Run(size, budget, shape, seed, label)


def _seed(seed: int, section: PretrainSection, tokens: int, repeat: int) -> int:
    # Of what the run is, not of its place: with one rung more, the others are found again.
    return int(json_digest([seed, section.model.identity(), tokens, repeat])[:7], 16)


def spoken_count(count: int) -> str:
    return f"{count / 1e6:.3g}M" if count >= 100_000 else f"{count / 1e3:.3g}k"
