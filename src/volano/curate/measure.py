"""The first stage of curation: a shard's documents measured, and judged each for itself.

All filters that need no other document run here, in their order; each judges only what it has
measured, and the first drop stands. The texts that editing filters leave are passed on as EDITED.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard, write_shard
from volano.curate.boilerplate import CUT_LINES, SITE_COLUMNS, Boilerplate, judge_boilerplate
from volano.curate.compare import DECISION, PREFERENCE, SPLIT, copy_columns
from volano.curate.decision import BOILERPLATE, Decisions
from volano.curate.decontaminate import HeldOut, judge_held_out, judge_overlap, measure_overlap
from volano.curate.earlier import Earlier
from volano.curate.funnel import BOILERPLATE_BYTES, LANGUAGE_BYTES
from volano.curate.language import judge_language, measure_language
from volano.curate.learned import measure_label, measure_perplexity
from volano.curate.preference import columns_read, preferences
from volano.curate.quality import edits, measure_and_judge
from volano.curate.section import CurateSection, PiiSection
from volano.curate.toxicity import judge_toxicity, measure_toxicity
from volano.text.pii import find_spans_in

Columns = dict[str, pa.Array]
EDITED = "scratch.text"  # as boilerplate, languages and quality rules have left it, if they edit


def measure(
    shard: Path,
    output: Path,
    *,
    section: CurateSection,
    held_out: HeldOut | None,
    earlier: Earlier | None,
    boilerplate: Boilerplate | None,
) -> None:
    """Write what the shard's documents measure and the decisions on each alone, one row a document.

    `earlier` is what was measured of them before; columns of `scratch.` are for the next stages.
    """

    def known(group: str) -> Columns | None:
        return earlier.columns(group, output.name) if earlier else None

    read = {"id", "text", "kind", "split", *columns_read(section.dedup)}
    read |= set(SITE_COLUMNS) if boilerplate else set()
    table = read_shard(shard, sorted(read))
    texts = collected = table["text"].combine_chunks().fill_null("")
    kinds, splits = table["kind"].to_pylist(), table["split"].to_pylist()
    decisions = Decisions.of(table.num_rows)
    columns: Columns = {"id": table["id"].combine_chunks(), SPLIT: table["split"].combine_chunks()}
    if boilerplate is not None:
        cleaned = boilerplate.applied(texts, table)
        judge_boilerplate(cleaned.columns, boilerplate.section, decisions)
        texts = columns[EDITED] = cleaned.texts
        columns |= _named(BOILERPLATE, cleaned.columns) | {CUT_LINES: cleaned.lines}
        columns[DECISION + BOILERPLATE_BYTES] = cleaned.columns["cut_bytes"]
    if section.language is not None:
        language = known("language")
        if language is None:
            language, texts = measure_language(texts, kinds, section.language)
        if section.language.paragraphs is not None:
            columns[EDITED] = texts
            columns[DECISION + LANGUAGE_BYTES] = language["cut_bytes"]
        judge_language(language, section.language, decisions)
        columns |= _named("language", language)
    if section.quality is not None:
        judged = measure_and_judge(texts, kinds, section.quality, decisions, known)
        for rule, found in judged.columns.items():
            columns |= _named(rule, found)
        if edits(section.quality):
            texts = columns[EDITED] = judged.texts
    if section.toxicity is not None:
        judges = section.toxicity.action == "drop"  # by passages, which are not kept
        before = None if judges else known("toxicity")
        if before is None:
            toxic = measure_toxicity(texts, kinds, section.toxicity)
            judge_toxicity(toxic, section.toxicity, decisions)
            before = toxic.columns
        columns |= _named("toxicity", before)
    if held_out is not None and section.decontaminate is not None:
        # By the text as it was collected: of a copy from which rules cut lines too little is left
        # to be recognised, and enough to be learnt.
        found = known("decontaminate") or measure_overlap(collected, held_out)
        judge_overlap(found, section.decontaminate, decisions)
        columns |= _named("decontaminate", found)
    judge_held_out(splits, decisions)
    if section.perplexity is not None:
        found = known("perplexity") or measure_perplexity(texts, kinds, section.perplexity)
        columns |= _named("perplexity", {"value": found["value"]})  # the bucket is told anew
    if section.classifier is not None:
        found = known("classifier") or measure_label(texts, kinds, section.classifier)
        columns |= _named("classifier", found)
    if section.dedup is not None:
        columns |= copy_columns(texts, section.dedup, known("dedup"), decisions.standing)
        if section.dedup.keep != "first":
            columns[PREFERENCE] = preferences(table, texts, columns, section.dedup)
    if section.pii is not None:
        columns |= _named("pii", known("pii") or _count_pii(texts, section.pii))
    columns |= decisions.columns(DECISION)
    columns[DECISION + "text_bytes"] = pc.binary_length(
        table["text"].combine_chunks().fill_null("")
    )
    write_shard(output, pa.table(columns))


def _named(group: str, columns: Columns) -> Columns:
    return {f"{group}.{name}": column for name, column in columns.items()}


def _count_pii(texts: pa.LargeStringArray, section: PiiSection) -> Columns:
    counts = {kind: np.zeros(len(texts), np.int64) for kind in section.kinds}
    found = find_spans_in(texts, section.kinds, name_model=section.name_model)
    for row, spans in found.items():
        for span in spans:
            counts[span.kind][row] += 1
    return {kind: pa.array(values) for kind, values in counts.items()}
