"""One turn of the wheel: what people said becomes data, data a version, and a gate decides.

    released → users → ratings → findings → requested → conversations-2 → sft-2
                                                └ requested-preferences → preferences-2 → aligned-2
    findings, both versions, both reports → gate-2 → released-2, and @production moves

The stages are those of any run: reused by content, resumed after a kill. Only the alias is moved
here, and only by a verdict.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from volano.align.section import SAFETY
from volano.align.step import ALIGN, PREFERENCES
from volano.core.artifact import Artifact
from volano.core.errors import RecipeError, StoreError, VolanoError
from volano.core.feedback import default_database
from volano.core.release import Promotion, current, promote, release_history
from volano.core.store import Store
from volano.diagnose.step import DIAGNOSE, REQUESTED, REQUESTED_PREFERENCES
from volano.evaluate.section import EvaluateSection, task_of
from volano.evaluate.step import EVALUATE, GATE
from volano.evaluate.verdict import Verdict, verdict_of
from volano.feedback.connection import NoFeedback
from volano.feedback.step import FEEDBACK, scan_feedback
from volano.finetune.step import FINETUNE, MIXTURE
from volano.study.recipe import Recipe
from volano.study.release import RELEASE, ReleaseSection
from volano.study.run import Outcome, order_of, run_stages
from volano.study.section import TurnSection
from volano.study.users import USERS
from volano.study.wheel import Stage, evaluation_inputs, stages_of

FIRST = 1


@dataclass(frozen=True)
class Turned:
    """What a turn came to. `moved` is the promotion; where it is None, `notes` say why."""

    outcomes: list[Outcome]
    version: int
    verdict: Verdict | None = None
    released: Artifact | None = None
    moved: Promotion | None = None
    notes: list[str] = field(default_factory=list)


def turn(
    recipe: Recipe,
    store: Store,
    *,
    version: int | None = None,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Turned:
    """Make the first version if it is not there, then turn the wheel up to `version`.

    Without a number: the one after what the alias stands for. Raises RecipeError where the recipe
    has no aligned, evaluated model, StoreError where the alias stands for another recipe's.
    """
    settings = recipe.turn or TurnSection()
    first = first_version(recipe, store, silent=silent, report=report)
    outcomes, notes = first.outcomes, first.notes
    present = {each.stage.name: each.artifact for each in outcomes}
    last = version or _version_of(current(store, settings.release), recipe, settings) + 1
    verdict, moved, released = None, None, None
    for number in range(FIRST + 1, last + 1):
        stages = turn_stages(recipe, number)
        try:
            done = run_stages(stages, recipe, store, given=present, silent=silent, report=report)
        except NoFeedback as problem:
            raise _gone(problem, recipe, store, number) from None
        outcomes += done
        present |= {each.stage.name: each.artifact for each in done}
        verdict = verdict_of(present[_named("gate", number)].report().extra)
        if not verdict.promote:
            break
        stage = release_stage(number)
        made = store.make(order_of(stage, recipe, store, present), silent=silent)
        released = present[stage.name] = made.artifact
        outcomes.append(Outcome(stage, made.artifact, made.reused, 0.0))
        report(outcomes[-1])
        moved = _move(recipe, store, settings, number, present, verdict, notes)
    return Turned(outcomes, last, verdict, released, moved, notes)


def first_version(
    recipe: Recipe,
    store: Store,
    *,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Turned:
    """Version 1, for which the alias stands where it has stood for nothing so far."""
    settings = recipe.turn or TurnSection()
    _require_aligned(recipe)
    outcomes = run_stages(first_stages(recipe), recipe, store, silent=silent, report=report)
    if current(store, settings.release) is not None:
        return Turned(outcomes, FIRST)
    released = outcomes[-1].artifact
    reason = "the first version: nothing to compare"
    moved = promote(store, settings.release, released, reason=reason)
    notes = [f"Promoted: version {FIRST}, as @{settings.release} stood for nothing before."]
    return Turned(outcomes, FIRST, released=released, moved=moved, notes=notes)


def is_heard(recipe: Recipe, store: Store) -> bool:
    """Whether somebody has said something that a turn may learn from."""
    url = recipe.feedback.database_url or default_database(store.folder)
    try:
        listing = scan_feedback(recipe.feedback.model_copy(update={"database_url": url}))
    except NoFeedback:
        return False
    return bool(listing.ratings)


def _gone(problem: NoFeedback, recipe: Recipe, store: Store, version: int) -> VolanoError:
    if recipe.users is None:
        return problem
    users = store.find(f"{recipe.name}/{_named('users', version)}")
    return StoreError(
        "what the scripted users said is no longer there",
        problem.where,
        f"Delete {users.folder}, and they are asked again.",
    )


def first_stages(recipe: Recipe) -> list[Stage]:
    """The stages of version 1, its released form among them."""
    return [*stages_of(recipe, turns=True), release_stage(FIRST)]


def turn_stages(recipe: Recipe, version: int) -> list[Stage]:
    """What makes and judges a version from the one before it; the release itself comes after."""
    assert version > FIRST, version
    assert recipe.finetune is not None
    assert recipe.align is not None
    settings = recipe.turn or TurnSection()
    own: Callable[[str], str] = partial(_named, version=version)
    former: Callable[[str], str] = partial(_named, version=version - 1)
    corpora = {"documents": "curated", "held_out": "held_out", "safety": "safety"}
    stages = []
    model = former("released")
    heard = {"model": model, "aligned": former("aligned")}
    if recipe.users is not None:
        asking = {"documents": "curated", "safety": "safety", "model": model}
        stages.append(Stage(own("users"), "serve", USERS, recipe.users, asking))
        heard["users"] = own("users")
    stages.append(Stage(own("ratings"), "feedback", FEEDBACK, recipe.feedback, heard))
    learnt = _learnt(version)
    stages.append(
        Stage(
            own("findings"),
            "diagnose",
            DIAGNOSE,
            recipe.diagnose,
            {**corpora, **learnt, "ratings": own("ratings"), "report": former("report")},
        )
    )
    wanted = settings.requested()
    if not wanted.safety_sets:
        wanted = wanted.model_copy(update={"safety_sets": recipe.align.safety_sets})
    asked = {**corpora, "findings": own("findings")}
    checkpoints = {name: stage for name, stage in learnt.items() if "conversations" not in name}
    stages += [
        Stage(own("requested"), "diagnose", REQUESTED, wanted, {**asked, **checkpoints}),
        Stage(
            own("requested-preferences"),
            "diagnose",
            REQUESTED_PREFERENCES,
            wanted,
            {**asked, "requested": own("requested"), "former": former("conversations")},
        ),
        Stage(
            own("conversations"),
            "finetune",
            MIXTURE,
            settings.mixture(),
            {
                "requested": own("requested"),
                "former": former("conversations"),
                "findings": own("findings"),
            },
        ),
        Stage(
            own("sft"),
            "finetune",
            FINETUNE,
            recipe.finetune.model_copy(update={"epochs": settings.epochs}),
            {
                "conversations": own("conversations"),
                "base": "base" if settings.start == "base" else former("sft"),
            },
        ),
    ]
    stages += _aligned(recipe, own, former("aligned") if settings.safe_reminders else None)
    compared = recipe.model_copy(update={"evaluate": _compared(recipe)})
    evaluated = evaluation_inputs(compared, own("conversations")) | {"aligned": own("aligned")}
    stages.append(Stage(own("report"), "evaluate", EVALUATE, _compared(recipe), evaluated))
    judged = {
        "findings": own("findings"),
        "former": former("aligned"),
        "candidate": own("aligned"),
        "former_report": former("report"),
        "candidate_report": own("report"),
    }
    stages.append(Stage(own("gate"), "gate", GATE, recipe.gate, judged))
    return stages


def next_stages(recipe: Recipe, store: Store) -> list[Stage]:
    """Every stage that `turn` may make without a number; the last one only if the gate lets it."""
    _require_aligned(recipe)
    settings = recipe.turn or TurnSection()
    standing = current(store, settings.release)
    last = (_version_of(standing, recipe, settings) if standing else FIRST) + 1
    stages = first_stages(recipe)
    for version in range(FIRST + 1, last + 1):
        stages += [*turn_stages(recipe, version), release_stage(version)]
    return stages


def release_stage(version: int) -> Stage:
    """The version with its model card."""
    inputs = {
        "checkpoint": _named("aligned", version),
        "report": _named("report", version),
        "documents": "curated",
        "conversations": _named("conversations", version),
        "preferences": _named("preferences", version),
    }
    if version > FIRST:
        inputs["gate"] = _named("gate", version)
    return Stage(_named("released", version), "release", RELEASE, ReleaseSection(), inputs)


def _aligned(recipe: Recipe, own: Callable[[str], str], reminding: str | None) -> list[Stage]:
    # As the first version was aligned and on what was asked for besides; also on its answers. A
    # version that has just learnt to answer in names answers harmless requests with names, which
    # are no examples: without them it came to refuse every one (docs/log.md).
    first = {each.name: each for each in stages_of(recipe)}["preferences"]
    inputs = {
        **first.inputs,
        "requested": own("requested-preferences"),
        "findings": own("findings"),
    }
    if "learnt" in inputs:
        inputs["learnt"] = own("conversations")
    assert recipe.align is not None
    if reminding is not None and SAFETY in recipe.align.names:
        inputs["former"] = reminding
    return [
        Stage(own("preferences"), "align", PREFERENCES, first.section, inputs),
        Stage(
            own("aligned"),
            "align",
            ALIGN,
            recipe.align,
            {"preferences": own("preferences"), "sft": own("sft")},
        ),
    ]


def _learnt(version: int) -> dict[str, str]:
    """Every checkpoint and conversation set that the version before this one came from."""
    names = ["base"]
    for number in range(FIRST, version):
        names += [_named(name, number) for name in ("sft", "aligned", "conversations")]
    return {name: name for name in names}


def _compared(recipe: Recipe) -> EvaluateSection:
    # The same items as the former version's; speed and sampled answers are no matter of the gate.
    settings = recipe.evaluate or EvaluateSection()
    tasks = [task for task in settings.tasks if task != "efficiency"]
    return settings.model_copy(update={"tasks": tasks, "seeds": 0})


def _move(
    recipe: Recipe,
    store: Store,
    settings: TurnSection,
    version: int,
    present: dict[str, Artifact],
    verdict: Verdict,
    notes: list[str],
) -> Promotion | None:
    alias = f"@{settings.release}"
    standing = current(store, settings.release)
    assert standing is not None
    released = present[_named("released", version)]
    if standing.digest == released.digest:
        notes.append(f"{alias} is version {version} already")
        return None
    remedy = f"To move it all the same: volano promote {store.path_of(released)}"
    history = release_history(store, settings.release)
    if any(each.action == "promote" and each.digest == released.digest for each in history):
        notes.append(f"{alias} was version {version} once and was taken back: it stays. {remedy}")
        return None
    if standing.digest != present[_named("released", version - 1)].digest:
        notes.append(
            f"{alias} stands for {standing.checkpoint}, which this version was not judged against, "
            f"and stays. {remedy}"
        )
        return None
    gate = present[_named("gate", version)]
    return promote(store, settings.release, released, reason=verdict.reason, gates=gate)


def _version_of(standing: Promotion | None, recipe: Recipe, settings: TurnSection) -> int:
    assert standing is not None
    prefix = f"{recipe.name}/released"
    rest = standing.name.removeprefix(prefix)
    if standing.name.startswith(prefix) and (rest == "" or rest[1:].isdigit()):
        return int(rest[1:] or FIRST)
    raise StoreError(
        f"stands for {standing.name}, which this recipe did not make",
        f"@{settings.release}",
        f"Name another alias (turn.release=…), or promote {prefix} first.",
    )


def _require_aligned(recipe: Recipe) -> None:
    for name in ("finetune", "align", "evaluate"):
        if getattr(recipe, name) is None:
            raise RecipeError(
                "a turn needs an aligned and evaluated model",
                name,
                f"Take `{name}: off` out, or set `turn: off`.",
            )
    measured = (recipe.evaluate or EvaluateSection()).tasks
    for protected in recipe.gate.protects:
        if task_of(protected) not in measured:
            raise RecipeError(
                f"{protected} is measured by {task_of(protected)}, which is not evaluated",
                "gate.protects",
                f"Add {task_of(protected)} to evaluate.tasks, or leave {protected} out.",
            )


def _named(stage: str, version: int) -> str:
    return stage if version == FIRST else f"{stage}-{version}"
