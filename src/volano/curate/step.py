"""The steps of this room: `curate`, and `wanted` that learns a classifier for it.

No kernels here: a plan, which has every step at hand, would wait for them.
"""

from pathlib import Path

from volano.core.files import file_digest
from volano.core.step import Context, Entry, Inputs, Listing, Step
from volano.curate.learned_section import LearnSection
from volano.curate.section import CurateSection
from volano.curate.semantic_section import LATENT

LEARNT = "classifier"  # the input that has weights learnt from the documents


def run(section: CurateSection, inputs: Inputs, context: Context) -> None:
    """Write the curated corpus into `context.folder`."""
    from volano.curate.run import curate

    if LEARNT in inputs and section.classifier is not None:
        from volano.curate.wanted import WEIGHTS_FILE

        weights = str(inputs[LEARNT].folder / WEIGHTS_FILE)
        classifier = section.classifier.model_copy(update={"model": weights})
        section = section.model_copy(update={"classifier": classifier})
    curate(section, inputs, context)


def scan(section: CurateSection) -> Listing:
    """The weights and models that documents are told by: part of what comes out, wherever they
    lie."""
    found = {}
    if section.toxicity is not None:
        from volano.curate.toxicity import weights_of

        found["toxicity"] = weights_of(section.toxicity)
    for name in ("perplexity", "classifier"):
        settings = getattr(section, name)
        if settings is not None and settings.model is not None:
            from volano.curate.learned import file_of

            found[name] = file_of(settings)
    semantic = section.dedup.semantic if section.dedup else None
    if semantic is not None and semantic.model != LATENT:
        from volano.curate.embeddings import model_files

        folder = Path(semantic.model).expanduser()
        for path in model_files(folder):
            found[f"semantic.{path.relative_to(folder).as_posix()}"] = path
    return Listing(
        tuple(
            Entry(f"{name}.model", path, path.stat().st_size, file_digest(path))
            for name, path in found.items()
        )
    )


def run_wanted(section: LearnSection, inputs: Inputs, context: Context) -> None:
    """Write a classifier of wanted documents into `context.folder`."""
    from volano.curate.wanted import learn_wanted

    learn_wanted(section, inputs, context)


LEARN = Step(name="wanted", kind="classifier", version=1, section=LearnSection, run=run_wanted)
STEP = Step(
    name="curate",
    kind="corpus",
    version=6,  # 6: decontaminated by the text that was collected, whatever is cut out of it
    section=CurateSection,
    run=run,
    scan=scan,
)
