"""The arms of an ablation: one recipe with every combination of what is asked about.

    curate.dedup.minhash=on,off  pretrain.model.parameters=0.5M,1M  pretrain.tokens=1M

A key with several values is an axis, one with a single value holds for all. `off` removes a section
and `on` keeps it as the recipe has it. Sizes of the model and of its training are no arms of their
own: arms are compared at each size. The first value of every axis makes the arm that the others are
compared with.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from volano.core.errors import RecipeError
from volano.core.recipe import Path_, load_yaml, override
from volano.model.config import DecoderConfig
from volano.pretrain.section import PretrainSection
from volano.study.recipe import Recipe, read_recipe, recipe_path
from volano.study.section import AblateSection
from volano.study.training_cost import flops_per_token, size_of
from volano.study.unused_bounds import leave_out_unused_bounds

# Of the model or of its training, and how one is called: arms are compared at each.
SIZES = {
    "pretrain.model.parameters": "{} parameters",
    "pretrain.model.depth": "depth {}",
    "pretrain.tokens": "{} tokens",
}
DIALS = (  # each takes the place of the other
    ("pretrain.model.depth", "pretrain.model.parameters"),
    ("pretrain.model.parameters", "pretrain.model.depth"),
)
OWN = {"ablate.axes", "ablate.arms"}
LEAST_ARMS = 2
NOT_READ = ("evaluate", "ablate", "users", "feedback", "diagnose", "turn", "gate")
NOT_TURNED = ("turn=off", "users=off")  # the data of one turn are asked about
OPENING, CLOSING = "[{(", "]})"
QUOTES = "'\""


class Axis(NamedTuple):
    """A key of the recipe and the values that are tried."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Arm:
    """One combination. `name` tells it from the others, `size` stands apart; both may be ""."""

    name: str
    size: str
    recipe: Recipe
    chosen: tuple[tuple[str, str], ...] = ()  # key and value of each axis

    @property
    def label(self) -> str:
        """Name and size, which no two arms share."""
        return ", ".join(filter(None, [self.name, self.size]))

    @property
    def asked(self) -> str:
        """All that its recipe sets of what comes out, with the paths of what is read."""
        return self.recipe.model_dump_json(exclude={"about", "workers", "device", "engine"})

    @property
    def trains_base(self) -> bool:
        """Whether its base model is trained; else it is a finished one, and is tuned."""
        return self.recipe.base is None

    @property
    def section(self) -> PretrainSection:
        """How its base model is trained, if it is."""
        assert self.recipe.pretrain is not None
        return self.recipe.pretrain

    @property
    def shape(self) -> DecoderConfig:
        """Of its base model."""
        return self.section.model.shape(self.recipe.tokenizer.vocabulary)

    @property
    def steps(self) -> int:
        """Of its training."""
        return self.section.steps

    @property
    def tokens(self) -> int:
        """That its base model is trained on, in whole steps."""
        return (
            0 if not self.trains_base else self.steps * self.section.batch_rows * self.shape.context
        )

    @property
    def flops_a_token(self) -> float:
        """Of training its base model."""
        return flops_per_token(size_of(self.shape))


def with_tokens(arm: Arm, tokens: int) -> Arm:
    """The arm, trained on another number of tokens."""
    section = arm.section.model_copy(update={"tokens": max(1, tokens)})
    return replace(arm, recipe=arm.recipe.model_copy(update={"pretrain": section}))


def with_equal_compute(arms: Sequence[Arm]) -> list[Arm]:
    """The arms with as many FLOPs of training as the first would take for their tokens."""
    first = arms[0].flops_a_token
    return [
        each
        if each.flops_a_token == first
        else with_tokens(each, round(each.tokens * first / each.flops_a_token))
        for each in arms
    ]


def read_axes(asked: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """The axes, and the assignments that hold for every arm. Raises RecipeError."""
    axes: list[Axis] = []
    fixed: list[str] = []
    for assignment in asked:
        key, equals, written = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError("no axis", f"'{assignment}'", "Write it as section.key=first,second.")
        values = split_values(written, f"'{assignment}'")
        if len(values) == 1:
            axes = [each for each in axes if each.key != key]  # of one key the last counts
            fixed.append(assignment)
            continue
        if key in {each.key for each in axes}:
            raise RecipeError("two axes of one key", key, "Join them: key=first,second,third.")
        fixed = [each for each in fixed if _key(each) != key]
        twice = next((each for place, each in enumerate(values) if each in values[:place]), None)
        if twice is not None:
            raise RecipeError(f"'{twice}' stands there twice", key, "Name each value once.")
        _require_read([assignment])
        axes.append(Axis(key, tuple(values)))
    return axes, fixed


def _require_read(assignments: Sequence[str]) -> None:
    for key in map(_key, assignments):
        if key.partition(".")[0] in NOT_READ:
            raise RecipeError(
                "the models that are compared do not read it",
                key,
                "Ask about collect, plant, curate, tokenizer, pretrain, finetune or align.",
            )


def split_values(written: str, where: str) -> list[str]:
    """The values between commas; those inside brackets, braces or quotes part nothing."""
    values, inside, quote = [""], 0, ""
    for character in written:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character in OPENING:
            inside += 1
        elif character in CLOSING:
            inside -= 1
        elif character == "," and not inside:
            values.append("")
            continue
        values[-1] += character
    found = [each.strip() for each in values]
    if inside or quote:
        what = "a bracket or quote is not closed"
        raise RecipeError(what, where, "Close it, and quote the whole for the shell.")
    if len(found) > 1 and not all(found):
        raise RecipeError("a value is missing beside a comma", where, "Write '' for an empty one.")
    return found


def arms_of(reference: str, asked: Sequence[str]) -> list[Arm]:
    """Every arm of the recipe (a shipped name or a file), the first one first. Where none of
    what is asked has several values, the recipe's own axes and arms count.

    Raises RecipeError with the key: where it is none of the recipe's, or a value is not one of it.
    """
    axes, fixed = read_axes(asked)
    path = recipe_path(reference)
    values, lines = load_yaml(path)
    named: dict[str, list[str]] = {}
    own = _own_question(values, lines, fixed, path.name)
    typed = {_key(each) for each in fixed}
    if all(each.key in SIZES for each in axes):
        with _told_at(f"{path.name}: ablate.axes"):
            more, others = read_axes(own.axes)
        asked_for = {each.key for each in axes} | typed
        asked_for |= {other for one, other in DIALS if one in asked_for}
        axes = [*(each for each in more if each.key not in asked_for), *axes]
        answered = {each.key for each in more} & typed - SIZES.keys()
        fixed = [*(each for each in others if _key(each) not in typed), *fixed]
        named = own.arms
        _require_said_once(named, [each for each in asked if _key(each) in typed])
        if (answered or typed & OWN) and "ablate.question" not in typed:
            fixed.append("ablate.question=''")
    else:
        for each in sorted(typed & OWN):
            what = "an axis is asked about, which takes their place"
            raise RecipeError(what, each, "Leave one of the two out.")
        if (own.axes or own.arms) and "ablate.question" not in typed:
            fixed = [*fixed, "ablate.question=''"]  # the recipe's is about its own arms
    if not axes and len(named) < LEAST_ARMS:
        raise RecipeError(
            "one arm only",
            "volano ablate",
            "Give a key more than one value, such as curate.dedup.minhash=on,off, or name two arms "
            "or more in the recipe's ablate.arms.",
        )
    arms = []
    for title, settings in (named or {"": []}).items():
        for values_chosen in product(*(each.values for each in axes)):
            chosen = list(zip(axes, values_chosen, strict=True))
            of_arm = [*settings, *(f"{axis.key}={value}" for axis, value in chosen)]
            own_values, places = deepcopy(values), dict(lines)
            with _told_at(f"{path.name}: ablate.arms.{title}" if title else ""):
                _require_read(settings)
                assignments = _in_effect(values, [*NOT_TURNED, *fixed], of_arm)
                _leave_other_size(own_values, assignments)
                leave_out_unused_bounds(own_values, assignments)
                recipe = read_recipe(own_values, places, assignments, where=path.name)
            arms.append(_arm(title, settings, chosen, recipe, several=len(named) > 1))
    return arms


def _own_question(
    values: dict[str, Any], lines: dict[Path_, str], fixed: Sequence[str], where: str
) -> AblateSection:
    """What the recipe asks itself, read apart: its other sections are whole in the arms alone."""
    section = {key: deepcopy(each) for key, each in values.items() if key in ("name", "ablate")}
    asked = [each for each in fixed if _key(each).partition(".")[0] == "ablate"]
    return read_recipe(section, dict(lines), asked, where=where).ablate


def _require_said_once(named: Mapping[str, Sequence[str]], typed: Sequence[str]) -> None:
    """What is given with one value holds for every arm, so no arm may set it, or something inside a
    section that is turned off."""
    for title, settings in named.items():
        for key, _, value in (each.partition("=") for each in settings):
            mine = key.strip()
            for each in typed:
                other = _key(each)
                whole = value.strip() not in ("on", "off") and other.startswith(f"{mine}.")
                if other == mine or whole or _turns_off(each, mine):
                    raise RecipeError(
                        f"the recipe's arm '{title}' sets {mine}, so it would not hold for all",
                        other,
                        "Leave it out, or name arms of your own in a copy of the recipe.",
                    )


def _turns_off(assignment: str, key: str) -> bool:
    """Whether an assignment leaves no section for what `key` sets inside it."""
    own = _key(assignment)
    if not key.startswith(f"{own}."):
        return False
    given: dict[str, Any] = {}
    override(given, {}, [assignment])
    place: Any = given
    for part in key.split("."):
        if not isinstance(place, dict):
            return place in (None, False, "off")
        if part not in place:
            return False
        place = place[part]
    return False


def _in_effect(values: dict[str, Any], fixed: Sequence[str], of_arm: Sequence[str]) -> list[str]:
    """The assignments of an arm: a section before what is set inside it, `on` only where it is not
    there, and none inside one that the arm does without."""
    given = deepcopy(values)
    override(given, {}, fixed)
    off = [_key(each) for each in of_arm if each.partition("=")[2].strip() == "off"]
    kept = [
        *(each for each in fixed if not (_is_kept(values, each) or _is_below(off, each))),
        *(each for each in of_arm if not (_is_kept(given, each) or _is_below(off, each))),
    ]
    return sorted(kept, key=lambda each: _key(each).count("."))


def _leave_other_size(values: dict[str, Any], assignments: Sequence[str]) -> None:
    """Where an arm is of a depth, the recipe's number of parameters falls away, and the reverse."""
    typed = {_key(each) for each in assignments}
    pretrain = values.get("pretrain")
    model = pretrain.get("model") if isinstance(pretrain, dict) else None
    for one, other in DIALS:
        if one in typed and isinstance(model, dict):
            model.pop(other.rpartition(".")[2], None)


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


@contextmanager
def _told_at(where: str) -> Iterator[None]:
    """What a recipe brings along is wrong in its file, and not on the command line."""
    try:
        yield
    except RecipeError as problem:
        if not where:
            raise
        inside = problem.where.removeprefix("command line: ")
        raise RecipeError(problem.what, f"{where}: {inside}", problem.remedy) from None


def _arm(
    title: str,
    settings: Sequence[str],
    chosen: Sequence[tuple[Axis, str]],
    recipe: Recipe,
    *,
    several: bool,
) -> Arm:
    axes = [axis for axis, _ in chosen]
    sizes = [axis.key for axis in axes if is_size(axis, axes, several)]
    size = ", ".join(SIZES[axis.key].format(v) for axis, v in chosen if axis.key in sizes)
    parts = [f"{_short(axis.key, axes)}={v}" for axis, v in chosen if axis.key not in sizes]
    pairs = [(key, value) for key, _, value in (each.partition("=") for each in settings)]
    pairs += [(axis.key, value) for axis, value in chosen]
    return Arm(", ".join([title, *parts] if title else parts), size, recipe, tuple(pairs))


def is_size(axis: Axis, axes: Sequence[Axis], several: bool = False) -> bool:
    """Whether the axis makes sizes, at each of which arms are compared; where nothing else makes
    arms (`several` of them are named), it does."""
    return axis.key in SIZES and (several or any(each.key not in SIZES for each in axes))


def _is_kept(values: dict[str, Any], assignment: str) -> bool:
    # `on` of what the recipe sets keeps its settings; an override would give it the defaults.
    key, _, value = (each.strip() for each in assignment.partition("="))
    if value != "on":
        return False
    place: Any = values
    for part in key.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place not in (None, False, "off")


def _is_below(sections: Sequence[str], assignment: str) -> bool:
    # What an arm does without has no settings in it; in the other arms they count.
    return assignment.strip().startswith(tuple(f"{each}." for each in sections))


def _short(key: str, axes: Sequence[Axis]) -> str:
    last = key.rpartition(".")[2]
    alike = [each for each in axes if each.key.rpartition(".")[2] == last]
    return last if len(alike) == 1 else key
