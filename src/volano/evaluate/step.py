"""The steps of this room: `held_out_functions` for curation to keep clear of, and `evaluate`.

No torch here: the data side of the product loads this file without it.
"""

from typing import Any

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.mixture import TRAIN
from volano.core.records import Document, table_of
from volano.core.step import Context, Inputs, Step
from volano.evaluate.held_out import select_held_out
from volano.evaluate.section import (
    DomainsSection,
    EvaluateSection,
    GateSection,
    HeldOutSection,
    LeaksSection,
    MemorisationSection,
)
from volano.text.planted import CANARY, DOCUMENT, planted_in

STAGES = ("base", "sft", "aligned")
LEAST_DOCUMENTS = 2  # of which a ratio has an interval


def run_held_out(section: HeldOutSection, inputs: Inputs, context: Context) -> None:
    """Write the test documents; there may be none, and then curation has nothing to avoid."""
    held_out = select_held_out(inputs["documents"].corpus().records())
    write_shard(shard_path(context.folder, "data", 0), table_of(held_out, Document))
    finish_corpus(context.folder, "document")
    context.bill["documents"] = len(held_out)


def run_evaluate(section: EvaluateSection, inputs: Inputs, context: Context) -> None:
    """Measure the stages that exist on everything held out."""
    from volano.evaluate.run import evaluate

    evaluate(
        section,
        held_out=_records(inputs, "held_out_functions"),
        safety=_records(inputs, "safety"),
        conversations=_records(inputs, "conversations"),
        checkpoints={name: inputs[name].folder for name in STAGES if name in inputs},
        context=context,
    )


def _records(inputs: Inputs, name: str) -> list[Any]:
    # A task that nobody asked for needs no corpus.
    return list(inputs[name].corpus().records()) if name in inputs else []


def nothing_held_out(where: str) -> DataError:
    """What is wrong where too few documents are there to measure a base model on."""
    return DataError(
        "nothing is held out of these documents, so no model can be measured",
        where,
        "Set collect.held_out_fraction, such as 0.1, and more of few documents, or "
        "collect.held_out_functions.",
    )


def run_domains(section: DomainsSection, inputs: Inputs, context: Context) -> None:
    """Measure a base model on held-out documents by domain. Raises DataError where there are too
    few."""
    from volano.evaluate.domains import measure_domains

    corpora = {
        name: list(each.corpus().records()) for name, each in inputs.items() if name != "base"
    }
    if sum(map(len, corpora.values())) < LEAST_DOCUMENTS:
        raise nothing_held_out(inputs["held_out"].name)
    measure_domains(section, *_base(inputs, context), corpora, context)


def run_memorisation(section: MemorisationSection, inputs: Inputs, context: Context) -> None:
    """Measure what a base model says by heart of the documents before curation; `curated` are those
    that are left to train on."""
    from volano.evaluate.memorisation import groups_of, measure_memorisation

    corpus = inputs["documents"].corpus()
    texts = [(each.id, each.text) for each in corpus.records() if each.split == TRAIN]
    planted = {each["id"]: each["copies"] for each in planted_in(corpus, DOCUMENT)}
    groups = groups_of(texts, section, planted or None)
    curated = inputs["curated"].corpus()
    asked = {each.text for those in groups.values() for each in those}
    settings = inputs["base"].meta.get("identity", {}).get("settings", {})
    mixture = {} if settings.get("curriculum") else settings.get("mixture") or {}
    kinds, by = {kind for kind, share in mixture.items() if share > 0}, settings.get("mixture_by")
    trained = {
        each.text
        for each in curated.records()
        if each.text in asked and (not kinds or getattr(each, by or "kind") in kinds)
    }
    measure_memorisation(section, *_base(inputs, context), groups, context, trained)


def run_leaks(section: LeaksSection, inputs: Inputs, context: Context) -> None:
    """Ask a base model for the secrets that were planted. Raises DataError where none was."""
    from volano.evaluate.leaks import measure_leaks
    from volano.text.canaries import Canary

    found = planted_in(inputs["documents"].corpus(), CANARY)
    if not found:
        raise DataError(
            "no canaries are planted, so none can come back",
            inputs["documents"].name,
            "Set plant.canaries, such as 20.",
        )
    canaries = [(Canary(row["prompt"], row["secret"], row["kind"]), row["copies"]) for row in found]
    measure_leaks(section, *_base(inputs, context), canaries, context)


def _base(inputs: Inputs, context: Context) -> tuple[Any, Any]:
    """The base model, on its device, and its tokenizer."""
    from volano.model.device import device_for
    from volano.model.huggingface import load_checkpoint
    from volano.text.tokenizer import Tokenizer

    folder = inputs["base"].folder
    return load_checkpoint(folder).to(device_for(context)), Tokenizer.load(folder)


def run_gate(section: GateSection, inputs: Inputs, context: Context) -> None:
    """Judge the candidate against the former version."""
    from volano.evaluate.gate_run import gate

    gate(
        section,
        findings=inputs["findings"].folder,
        versions={name: inputs[name].folder for name in ("former", "candidate")},
        reports={name: inputs[f"{name}_report"].folder for name in ("former", "candidate")},
        context=context,
    )


HELD_OUT_FUNCTIONS = Step(
    name="held_out_functions",
    kind="corpus",
    version=2,
    section=HeldOutSection,
    run=run_held_out,
)
EVALUATE = Step(
    name="evaluate",
    kind="report",
    version=4,
    section=EvaluateSection,
    run=run_evaluate,
    seeded=True,
    on_device=True,
)
DOMAINS = Step(
    name="domains",
    kind="report",
    version=4,  # 4: a kind called `all` has a domain of its own
    section=DomainsSection,
    run=run_domains,
    on_device=True,
)
MEMORISATION = Step(
    name="memorisation",
    kind="report",
    version=2,  # 2: tells how many of the documents are trained on
    section=MemorisationSection,
    run=run_memorisation,
    on_device=True,
)
LEAKS = Step(
    name="leaks",
    kind="report",
    version=1,
    section=LeaksSection,
    run=run_leaks,
    on_device=True,
)
GATE = Step(
    name="gate",
    kind="report",
    version=8,
    section=GateSection,
    run=run_gate,
    seeded=True,
    on_device=True,
)
