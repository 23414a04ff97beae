"""How many held-out documents lie, whole or edited, in what an arm trains on.

A model knows such a document by heart, so its figures tell of memory. A filter that takes copies
out then looks worse than none, and the verdict of a question about duplicates turns round.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from volano.core.artifact import Artifact
from volano.core.corpus import read_shard
from volano.core.report import Report
from volano.core.step import Context, Inputs, Step
from volano.core.store import Store
from volano.curate.section import DecontaminateSection
from volano.pretrain.section import MixedBy
from volano.study.axes import Arm
from volano.study.common_held_out import COMMON, HELD_OUT
from volano.study.lying_in import lying_in
from volano.study.section import AblateSection
from volano.study.wheel import curation_of
from volano.study.words import count_of, joined

CURATED, REFERENCE = "curated", "reference"
OF_ALL = 100  # one measured document of so many may overlap without a word
TASKS = {"bits_per_byte", "held_out_functions"}  # that read what is held out
COUNTS = "counts"
REMEDIES = {
    HELD_OUT: "curate.decontaminate.against=[held_out] takes such documents out of training.",
    REFERENCE: "Give ablate.reference a text that none of them collects.",
}
CALLED = {HELD_OUT: "held-out document", REFERENCE: "reference document"}
CLEARED = (
    "It is decontaminated by its own thresholds, and against what it holds out itself: others may "
    "hold out more."
)
Overlaps = Mapping[str, tuple[int, int]]  # corpus → documents that lie in training, and all of them


class OverlapSection(DecontaminateSection):
    """What counts as lying in training, and what an arm trains on."""

    kinds: list[str] = Field(default=[], description="Kinds that are trained on; empty: all.")
    by: MixedBy = Field(default="kind", description="What sets kinds apart.")


def run_overlap(section: OverlapSection, inputs: Inputs, context: Context) -> None:
    """Count the documents that an arm is measured on and trains on, corpus by corpus."""
    measured = {name: inputs[name].corpus() for name in (HELD_OUT, REFERENCE) if name in inputs}
    shards = inputs["documents"].corpus().shards()
    with context.progress("held out: overlap", len(shards), "shards") as bar:

        def texts() -> Iterator[pa.ChunkedArray]:
            for shard in shards:
                table = read_shard(shard, ["text", section.by])
                if section.kinds:
                    table = table.filter(pc.is_in(table[section.by], pa.array(section.kinds)))
                yield table["text"]
                bar.advance()

        found = lying_in(measured, texts(), section)
    counts = {name: [len(found[name]), len(corpus)] for name, corpus in measured.items()}
    ids = {name: sorted(each) for name, each in found.items()}
    Report((), extra={COUNTS: counts, "ids": ids}).save(context.folder / "report.json")


STEP = Step(
    name="held_out_overlap", kind="report", version=2, section=OverlapSection, run=run_overlap
)


def counted_for(arm: Arm, asked: AblateSection) -> bool:
    """Whether figures of the arm depend on it: a base model is trained here, and measured on what
    is held out of its text."""
    measured = "bits_per_byte" in asked.metrics or not TASKS.isdisjoint(asked.tasks)
    return arm.trains_base and measured


def overlap_of(
    arm: Arm, present: Mapping[str, Artifact], store: Store, name: str, *, silent: bool
) -> Overlaps:
    """Documents that the arm is measured on and that lie in what it trains on, and how many there
    are, of each corpus. `present` has the arm's data, by stage."""
    corpora = {HELD_OUT: present.get(COMMON) or present.get(HELD_OUT)}
    corpora[REFERENCE] = present.get(REFERENCE)
    inputs = {name: each for name, each in corpora.items() if each is not None}
    if not inputs or CURATED not in present:
        return {}
    packing = arm.section.packing()
    section = OverlapSection(kinds=packing.kinds, by=packing.by)
    inputs["documents"] = present[CURATED]
    order = store.order(STEP, section, inputs, name=f"{name}/held_out_overlap")
    counts = store.make(order, silent=silent).artifact.report().extra[COUNTS]
    return {name: (found, whole) for name, (found, whole) in counts.items()}


def is_cleared(arm: Arm) -> bool:
    """Whether the arm takes copies of what is held out out of its text."""
    decontaminate = curation_of(arm.recipe).decontaminate
    return decontaminate is not None and bool(decontaminate.against)


def said_of_overlap(extra: Mapping[str, Any]) -> list[str]:
    """What a reader has to know of arms that trained on what they are measured on."""
    told = []
    for corpus, called in CALLED.items():
        alike: dict[tuple[int, int], list[str]] = {}
        for arm, counts in extra.get("overlap", {}).items():
            # Before version 10 of the verdicts they were of what is held out alone.
            of = counts if isinstance(counts, Mapping) else {HELD_OUT: counts}
            found, whole = of.get(corpus, (0, 0))
            if found and found * OF_ALL >= whole:
                alike.setdefault((found, whole), []).append(arm)
        told += [
            f"Of {count_of(whole, called)} {found:,} lie in what {joined(sorted(arms))} "
            f"train{'s' if len(arms) == 1 else ''} on, whole or edited: figures tell of memory too."
            for (found, whole), arms in alike.items()
        ]
        of_all = {arm for arms in alike.values() for arm in arms}
        if of_all:
            clear = corpus == HELD_OUT and of_all <= set(extra.get("cleared", []))
            told.append(CLEARED if clear else REMEDIES[corpus])
    return told
