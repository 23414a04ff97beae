"""One phase on plain files or on an artifact, without a recipe file.

`volano curate crawl/*.jsonl --out clean/` is the recipe with `collect.paths` set and everything
beyond curation left undone. What it makes lies in the store like anything else, so a second call
reuses it; `out` gets a plain copy.
"""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from volano.align.section import PreferencesSection
from volano.collect.sources import is_elsewhere
from volano.core.artifact import COMMIT, Artifact, describe_files
from volano.core.errors import RecipeError, RunFailed, StoreError, VolanoError, did_you_mean
from volano.core.files import explained, file_digest
from volano.core.forgotten import refuse_forgotten
from volano.core.recipe import Section
from volano.core.store import Store
from volano.finetune.section import ConversationsSection
from volano.study.recipe import Recipe, read_recipe
from volano.study.run import Outcome, check_device, check_parallel, needed, run
from volano.study.wheel import Stage, stages_of

TOKENIZER_FILE = "tokenizer.json"
OF_ALL_PHASES = ("device",)  # settings of the recipe that a phase takes beside its own

# Which stage a phase ends in, and in the place of which stages its data may be given.
TARGETS = {
    "collect": ("collected", ()),
    "curate": ("curated", ("collected",)),
    "tokenizer": ("tokenizer", ("collected", "curated")),
    "pretrain": ("base", ("collected", "curated")),
    "finetune": ("sft", ("collected", "curated")),
    "align": ("aligned", ("collected", "curated")),
    "evaluate": ("report", ("collected",)),
    "import": ("base", ()),
}
# What a phase learns from: the stage that makes it, its records, and the settings of making it.
LEARNT: dict[str, tuple[str, str, type[Section]]] = {
    "finetune": ("conversations", "conversation", ConversationsSection),
    "align": ("preferences", "preference", PreferencesSection),
}
# Sections of stages that may be given, while others of their phase are made.
MADE_BY = {"collect": "collected", "plant": "planted", "curate": "curated"}
OF_THE_RUN = ("engine", "about")  # sections that no stage has


def run_phase(
    phase: str,
    store: Store,
    *,
    data: Sequence[str],
    settings: Sequence[str] | Mapping[str, Any] = (),
    checkpoint: str | None = None,
    name: str = "mine",
    out: Path | str | None = None,
    silent: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Make the artifact of one phase, and what it rests on.

    `data` holds files, folders and globs, or the name of one corpus artifact: of documents, or of
    the conversations or preferences that the phase learns from. `checkpoint` names an artifact, a
    checkpoint folder, `hf:FOLDER` or `gguf:FILE`. `settings` are keys of the phase's section, as
    `key=value` or as a mapping.
    """
    target, places = TARGETS[phase]
    if out is not None:
        out = Path(out).absolute()
        check_out(out, store, target, [*data, *([checkpoint] if checkpoint else [])])
    values: dict[str, Any] = {"name": name}
    given: dict[str, Artifact] = {}
    corpus = _corpus(store, data)
    if corpus is not None:
        refuse_forgotten(store, corpus)
        given.update(dict.fromkeys(_places_of(corpus, phase, places), corpus))
    elif data and phase in {"finetune", "align"}:
        values[phase] = {"data": list(data)}
    elif data:
        values["collect"] = {"source": "files", "paths": list(data)}
    if phase == "import":
        values["base"], checkpoint = checkpoint, None
    if phase == "evaluate":  # of one finished model: nothing is trained, nothing curated
        values |= {"finetune": False, "align": False}
    recipe = _recipe(phase, values, settings)
    if phase == "curate" and not recipe.collect.held_out_fraction:  # then files are all that counts
        curate = recipe.curate.decontaminated_against([])
        recipe = recipe.model_copy(update={"curate": curate})
    _refuse_settings_of_what_is_made(phase, recipe, given)
    if phase == "align" and recipe.align is not None and recipe.align.reminders:
        what = "what the model was fine-tuned on is known to a recipe's run alone"
        raise RecipeError(what, "align.reminders", "Leave it out, or use volano run.")
    if checkpoint is not None:
        given.update(_checkpoint(phase, store, checkpoint, recipe, report))
    # A phase on plain files takes them as they are: what filters them is `volano curate`.
    as_they_are = "curated" in places and "curated" not in given and "collect" in values
    wanted = needed(stages_of(recipe), given, [target], None)
    _refuse_idle_settings(phase, settings, wanted, as_they_are)
    if as_they_are:
        check_parallel(wanted, recipe)
        check_device(wanted, recipe)
        collected = run(recipe, store, targets=["collected"], silent=silent, report=report)
        given["curated"] = given["collected"] = collected[-1].artifact
    outcomes = run(recipe, store, given=given, targets=[target], silent=silent, report=report)
    if not outcomes:
        raise StoreError("nothing to do", name, "The artifact given is already of this phase.")
    if out is not None:
        copy_out(outcomes[-1].artifact, out)
    return outcomes


def check_out(out: Path, store: Store, stage: str, inputs: Sequence[str] = ()) -> None:
    """Raise StoreError where `out` is not a place that a copy of this stage may go to.

    An earlier copy of the same stage is replaced, but only as it was written: what a user has
    added or changed in it is never deleted, and no input is replaced by what is made of it.
    """
    where, remedy = f"--out {out}", "Name a new folder."
    if out == store.folder or out.is_relative_to(store.folder):
        raise StoreError("lies inside the store", where, "Name a folder outside.")
    if out.is_file():
        raise StoreError("is a file", where, remedy)
    nearest = next(each for each in (out, *out.parents) if each.exists())
    try:  # root passes every check of permissions, so write
        os.rmdir(tempfile.mkdtemp(prefix=".volano-", dir=nearest))
    except OSError as problem:
        reason = problem.strerror or "not writable"
        raise StoreError(
            f"cannot be written ({reason})", where, "Name a writable folder."
        ) from None
    if not out.exists():
        return
    if not any(out.iterdir()):
        return
    if not (out / COMMIT).is_file():
        raise StoreError("exists and is not empty", where, remedy)
    if any(Path(each).absolute() == out for each in inputs):
        raise StoreError("is what this command reads", where, remedy)
    earlier = Artifact.open(out)
    made_by = earlier.name.rpartition("/")[2]
    if made_by != stage:
        raise StoreError(f"holds another kind of result ({earlier.name})", where, remedy)
    recorded = earlier.meta["files"]
    found = describe_files(out)
    for name in sorted(found.keys() | recorded.keys()):
        if found.get(name) != recorded.get(name):
            what = f"{name} was added, changed or deleted since it was written"
            raise StoreError(what, where, f"Move what you need out of it, or: {remedy}")


def copy_out(artifact: Artifact, out: Path) -> None:
    """A plain copy of an artifact, whole or absent."""
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(artifact.folder, unfinished)
        if out.exists():
            shutil.rmtree(out)
        unfinished.rename(out)
    except OSError as problem:
        # shutil's own error is one, too: a line per file, whose texts alone say what went wrong.
        several = isinstance(problem, shutil.Error)
        texts = [str(each[2]) for each in problem.args[0]] if several else []
        full = os.strerror(errno.ENOSPC)
        if problem.errno == errno.ENOSPC or any(full in each for each in texts):
            needed = sum(each["bytes"] for each in artifact.meta["files"].values())
            raise RunFailed(
                f"disk full: the copy takes {needed / 1e6:,.1f} MB",
                f"--out {out}",
                "Free some space, or name another disk, and run again: all is kept in the store.",
            ) from None
        if texts:
            raise RunFailed(texts[0], f"--out {out}", "Mend the cause and run again.") from None
        raise explained(problem, out) from problem
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _recipe(
    phase: str, values: dict[str, Any], settings: Sequence[str] | Mapping[str, Any]
) -> Recipe:
    if isinstance(settings, Mapping):
        own = {key: _plain(value) for key, value in settings.items()}
        values |= {key: own.pop(key) for key in OF_ALL_PHASES if key in own}
        values[phase] = {**values.get(phase, {}), **own}
        return read_recipe(values, {}, (), where=f"volano.{phase}")
    if phase == "import":  # no section of its own
        return read_recipe(values, {}, tuple(settings), where="volano import")
    sections = set(Recipe.model_fields)
    assignments = [
        each
        if (each.split(".", 1)[0] in sections and "." in each.split("=")[0])
        or each.split("=")[0] in OF_ALL_PHASES
        else f"{phase}.{each}"
        for each in settings
    ]
    return read_recipe(values, {}, assignments, where=f"volano {phase}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _corpus(store: Store, data: Sequence[str]) -> Artifact | None:
    """The one corpus artifact that `data` names, if it names one and no files."""
    if len(data) != 1:
        return None
    reference = data[0]
    if is_elsewhere(reference):
        return None
    if Path(reference).exists() and not (Path(reference) / "artifact.json").is_file():
        return None
    try:
        artifact = store.find(reference)
    except StoreError:
        if (
            "/" in reference
            and not Path(reference).suffix
            and not any(c in reference for c in "*?[")
        ):
            known = store.labels()
            if known:
                raise StoreError(
                    "neither a file nor an artifact", reference, did_you_mean(reference, known)
                ) from None
        return None
    if artifact.kind != "corpus":
        raise StoreError(f"this is a {artifact.kind}, not a corpus", reference, "Name a corpus.")
    return artifact


def _places_of(corpus: Artifact, phase: str, places: tuple[str, ...]) -> tuple[str, ...]:
    """The stages in whose place the corpus is given: documents, or what the phase learns from."""
    record = corpus.corpus().manifest["record"]
    wanted = "documents"
    if phase in LEARNT:
        stage, learnt, _ = LEARNT[phase]
        if record == learnt:
            return (stage,)
        wanted = f"documents or {learnt}s"
    if record != "document":
        what = f"this holds {record}s, and {phase} reads {wanted}"
        raise StoreError(what, corpus.name, "Name a corpus of those.")
    return places


def _refuse_settings_of_what_is_made(
    phase: str, recipe: Recipe, given: Mapping[str, Artifact]
) -> None:
    section = getattr(recipe, phase, None)
    if phase not in LEARNT or section is None:
        return
    stage, _, making = LEARNT[phase]
    if stage not in given:
        return
    idle = sorted(section.model_fields_set & making.model_fields.keys())
    if idle:
        what = f"has no effect: the {stage} are made already ({given[stage].name})"
        raise RecipeError(what, f"{phase}.{idle[0]}", "Leave it out, or give JSONL files.")


def _refuse_idle_settings(
    phase: str,
    settings: Sequence[str] | Mapping[str, Any],
    wanted: Sequence[Stage],
    as_they_are: bool,
) -> None:
    """Raise RecipeError for a setting of a section that no stage of this command obeys."""
    if isinstance(settings, Mapping):  # of the phase's own section
        return
    names = {each.name for each in wanted}
    obeyed = {phase, *(each.phase for each in wanted)} - MADE_BY.keys()
    obeyed |= {section for section, stage in MADE_BY.items() if stage in names}
    if as_they_are:
        obeyed -= {"plant", "curate"}
    obeyed.update(OF_THE_RUN)
    for key in (each.partition("=")[0].strip() for each in settings):
        section, dot, _ = key.partition(".")
        if not dot or section in obeyed or section not in Recipe.model_fields:
            continue
        if section == "curate" and as_they_are:
            what, remedy = "has no effect: texts are taken as they are", "Run volano curate first."
        else:
            what = f"has no effect on volano {phase} of what is given"
            remedy = f"Leave it out, or set it where {section} is done."
        raise RecipeError(what, f"command line: {key}", remedy)


def _checkpoint(
    phase: str,
    store: Store,
    reference: str,
    recipe: Recipe,
    report: Callable[[Outcome], None],
) -> dict[str, Artifact]:
    """The checkpoint as the stage that the phase starts from, with its tokenizer."""
    place = {"finetune": "base", "align": "sft", "evaluate": "base"}[phase]
    try:
        artifact = store.find(reference.removeprefix("hf:"))
    except StoreError as problem:
        artifact = imported(store, reference, recipe, problem, report)
    if artifact.kind != "checkpoint":
        raise StoreError(
            f"this is a {artifact.kind}, not a checkpoint", reference, "Name a checkpoint."
        )
    _refuse_another_tokenizer(artifact)
    return {place: artifact}


def _refuse_another_tokenizer(checkpoint: Artifact) -> None:
    # Ids would mean other tokens than those learnt, and training would go on all the same.
    recorded = checkpoint.meta["files"].get(TOKENIZER_FILE)
    path = checkpoint.folder / TOKENIZER_FILE
    if recorded is None or (path.is_file() and file_digest(path) == recorded["sha256"]):
        return
    what = "not the tokenizer that the checkpoint was made with" if path.is_file() else "missing"
    remedy = "Copy the checkpoint again; for another tokenizer on purpose, import a plain folder."
    raise StoreError(what, str(path), remedy)


def imported(
    store: Store,
    reference: str,
    recipe: Recipe,
    problem: VolanoError,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Artifact:
    """A folder with a Hugging Face checkpoint, or a GGUF file, taken into the store."""
    from volano.pretrain.section import FORMS, ImportSection
    from volano.pretrain.step import IMPORT

    named = reference.partition(":")[0] in FORMS
    if not named and not Path(reference).is_dir():
        raise problem
    section = ImportSection.of(reference if named else f"hf:{reference}", recipe.base_chat)
    begun = time.monotonic()
    stage = Stage("imported", "pretrain", IMPORT, section, {})
    made = store.make(store.order(IMPORT, section, {}, name=f"{recipe.name}/{stage.name}"))
    report(Outcome(stage, made.artifact, made.reused, time.monotonic() - begun))
    return made.artifact
