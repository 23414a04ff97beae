"""How many held-out documents lie, whole or edited, in what an arm trains on.

A model knows such a document by heart, so its figures tell of memory. A filter that takes copies
out then looks worse than none, and the verdict of a question about duplicates turns round.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from volano.core.artifact import Artifact
from volano.core.corpus import read_shard
from volano.core.report import Report
from volano.core.step import Context, Inputs, Step
from volano.core.store import Store
from volano.curate.section import DecontaminateSection
from volano.study.common_held_out import COMMON, HELD_OUT
from volano.study.words import count_of, joined

CURATED = "curated"
HELD_OUT_DOCUMENTS, OVERLAPPING = "held_out_documents", "overlapping"
OF_ALL = 100  # one held-out document of so many may overlap without a word
REMEDY = "curate.decontaminate.against=[held_out] takes such documents out of training"


def run_overlap(section: DecontaminateSection, inputs: Inputs, context: Context) -> None:
    """Count the held-out documents that a training document holds, as decontamination finds them
    (curate/decontaminate.py); where one holds several, the one that it holds most of."""
    from volano.curate.decontaminate import held_out_of, measure_overlap

    held_out = inputs[HELD_OUT].corpus()
    index = held_out_of({HELD_OUT: held_out}, section)
    found: set[str] = set()
    shards = inputs["documents"].corpus().shards() if index is not None else []
    with context.progress("held out: overlap", len(shards), "shards") as bar:
        for shard in shards:
            assert index is not None
            texts = read_shard(shard, ["text"])["text"].cast(pa.large_string()).combine_chunks()
            found |= set(measure_overlap(texts, index)["held_out_id"].drop_null().to_pylist())
            bar.advance()
    counts = {HELD_OUT_DOCUMENTS: len(held_out), OVERLAPPING: len(found)}
    Report((), extra={**counts, "ids": sorted(found)}).save(context.folder / "report.json")


STEP = Step(
    name="held_out_overlap",
    kind="report",
    version=1,
    section=DecontaminateSection,
    run=run_overlap,
)


def overlap_of(
    present: Mapping[str, Artifact], store: Store, name: str, *, silent: bool
) -> tuple[int, int]:
    """Held-out documents that overlap with what an arm trains on, and how many there are. `present`
    has the arm's data, by stage."""
    held_out = present.get(COMMON) or present.get(HELD_OUT)
    if held_out is None or CURATED not in present:
        return 0, 0
    inputs = {HELD_OUT: held_out, "documents": present[CURATED]}
    order = store.order(STEP, DecontaminateSection(), inputs, name=f"{name}/held_out_overlap")
    extra = store.make(order, silent=silent).artifact.report().extra
    return extra[OVERLAPPING], extra[HELD_OUT_DOCUMENTS]


def said_of_overlap(extra: Mapping[str, Any]) -> list[str]:
    """What a reader has to know of arms that trained on what they are measured on."""
    alike: dict[tuple[int, int], list[str]] = {}
    for arm, (found, whole) in extra.get("overlap", {}).items():
        if found and found * OF_ALL >= whole:
            alike.setdefault((found, whole), []).append(arm)
    told = [
        f"Of {count_of(whole, 'held-out document')} {found:,} lie in what {joined(sorted(arms))} "
        f"train{'s' if len(arms) == 1 else ''} on, whole or edited: figures tell of memory too."
        for (found, whole), arms in alike.items()
    ]
    return [*told, f"{REMEDY}."] if told else []
