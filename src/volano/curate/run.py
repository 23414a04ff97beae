"""Curation: from all that was collected to what a model shall learn from, with every reason kept.

Three stages, each resumed per shard after a kill; where a recipe says so, lines that a site repeats
are found before them and cut out of what they read:

1. measure (a map over shards): all attributes of every document in one pass, and the decisions
   that need no other document.
2. compare (the whole corpus): which of the documents left are the best by perplexity or by a
   classifier, and which of those are copies of one another, from values, hashes and signatures
   alone. Then, where a recipe says so, which passages of what is left stand in it before.
3. write (a map over shards): attributes/, dropped/ (as collected) and data/ (copied passages cut
   out, personal data replaced). It is replaced last, so that a tag never makes two documents alike.

Then, where a recipe says so, how often training shall read each document that was kept (see mix).
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.bill import part_of
from volano.core.corpus import (
    Corpus,
    finish_corpus,
    read_shard,
    shard_path,
    shard_rows,
    write_shard,
)
from volano.core.engine import LocalEngine
from volano.core.errors import DataError
from volano.core.records import Document
from volano.core.step import Context, Inputs
from volano.curate.boilerplate import find_boilerplate, write_cut_lines
from volano.curate.card import card_of, header_of, markdown
from volano.curate.compare import (
    DECISION,
    DEDUP,
    SHINGLES,
    SIGNATURE,
    Compared,
    compare,
    judge_copies,
    measure_earlier_corpora,
)
from volano.curate.cuts import Cuts, Part, find_cuts, judge_cuts
from volano.curate.decision import BOILERPLATE, SEMANTIC, Decisions, filters_in_use
from volano.curate.decontaminate import HeldOut, held_out_of
from volano.curate.earlier import earlier_measures, take_over
from volano.curate.funnel import CUT_BYTES, funnel, main_bound, main_earlier
from volano.curate.learned import Learned, judge_learned, learned_bounds
from volano.curate.measure import EDITED, measure
from volano.curate.mix import check_mix, mix
from volano.curate.section import CurateSection, PiiSection
from volano.curate.semantic import Candidates, candidates_of, find_alike, judge_alike
from volano.curate.toxicity import TOXIC, check_toxicity
from volano.text import kernels
from volano.text.kernels.forms import FORM_STATISTICS
from volano.text.personal.model_names import check_pipeline
from volano.text.pii import redact_all


def curate(section: CurateSection, inputs: Inputs, context: Context) -> None:
    """Write the curated corpus into `context.folder`."""
    documents = inputs["documents"].corpus()
    if documents.record is not Document:
        raise DataError(
            f"a corpus of {documents.manifest['record']} records",
            str(documents.folder),
            "Curation reads documents.",
        )
    if section.mix is not None:
        check_mix(section.mix, documents)
    if not take_over(section, context):
        _filter(documents, section, inputs, context)
    _finish(documents, section, context)


def _filter(documents: Corpus, section: CurateSection, inputs: Inputs, context: Context) -> None:
    kernels.warm_up(groups=_kernels_of(section))
    if section.pii is not None and section.pii.name_model is not None:
        check_pipeline(section.pii.name_model)
    if section.toxicity is not None:
        check_toxicity(section.toxicity)  # where nothing is measured anew, nobody else would
    held_out = _held_out(section, inputs)
    earlier = earlier_measures(context.siblings(), section)
    shards = documents.shards()
    measured = [shard_path(context.scratch, "measured", place) for place in range(len(shards))]
    size = sum(path.stat().st_size for path in shards)
    elsewhere = not isinstance(context.engine, LocalEngine)
    context.bill["workers"] = context.engine.width
    context.bill["groups_reused"] = len(earlier.groups) if earlier else 0
    boilerplate = None
    if section.boilerplate is not None:
        with part_of(context.bill, "boilerplate", elsewhere=elsewhere):
            boilerplate = find_boilerplate(shards, section.boilerplate, context)
    with (
        part_of(context.bill, "measure", elsewhere=elsewhere),
        context.progress("curate: measure", size / 1e6, "MB on disk") as bar,
    ):
        context.engine.map(
            partial(
                measure,
                section=section,
                held_out=held_out,
                earlier=earlier,
                boilerplate=boilerplate,
            ),
            shards,
            measured,
            bar=bar,
            unit_of=lambda path: path.stat().st_size / 1e6,
        )
    compared = cuts = None
    with part_of(context.bill, "compare"):
        learned = learned_bounds(measured, section.perplexity, section.classifier)
        if section.dedup is not None:
            before = measure_earlier_corpora(section.dedup, inputs, context)
            stands = None if learned is None else learned.stands
            compared = compare(measured, section.dedup, context.scratch, before, stands)
    to_write = _shards_to_write(shards, measured)
    judged = _Judged(section, learned, compared)
    if section.dedup is not None and section.dedup.semantic is not None:
        with part_of(context.bill, "semantic", elsewhere=elsewhere):
            read = partial(_candidates, judged=judged)
            judged = replace(judged, alike=find_alike(to_write, read, section.dedup, context))
    if section.dedup is not None and section.dedup.cuts:
        with part_of(context.bill, "cut", elsewhere=elsewhere):
            cuts = find_cuts(to_write, partial(_part, judged=judged), section.dedup, context)
    with (
        part_of(context.bill, "write", elsewhere=elsewhere),
        context.progress("curate: write", size / 1e6, "MB on disk") as bar,
    ):
        context.engine.map(
            partial(_write, folder=context.folder, judged=judged, cuts=cuts),
            to_write,
            [shard_path(context.folder, "data", place) for place in range(len(shards))],
            bar=bar,
            unit_of=lambda shard: shard.path.stat().st_size / 1e6,
        )
    context.bill["scratch_bytes"] = sum(
        path.stat().st_size for path in context.scratch.rglob("*") if path.is_file()
    )


def _kernels_of(section: CurateSection) -> list[str]:
    # Which kernels the settings call beyond the usual ones; compiling others would be in vain.
    rules = section.quality.rules if section.quality else []
    cuts = section.dedup is not None and section.dedup.cuts
    paragraphs = section.language is not None and section.language.paragraphs is not None
    edits_lines = cuts or paragraphs or section.boilerplate is not None
    forms = edits_lines or any(rule in FORM_STATISTICS for rule in rules)
    return [*kernels.USUAL, *(["forms"] if forms else [])]


def _held_out(section: CurateSection, inputs: Inputs) -> HeldOut | None:
    if section.decontaminate is None:
        return None
    corpora = {}
    for name in section.decontaminate.against or []:
        if name not in inputs:
            raise DataError(
                f"no held-out corpus '{name}'",
                "curate.decontaminate.against",
                "Name the step that makes it, or give its folder.",
            )
        corpora[name] = inputs[name].corpus()
    return held_out_of(corpora, section.decontaminate)


@dataclass(frozen=True)
class _Shard:
    path: Path
    measured: Path
    begin: int  # which row of the corpus its first one is


@dataclass(frozen=True)
class _Judged:
    # What was found by looking at the whole corpus.
    section: CurateSection
    learned: Learned | None
    compared: Compared | None
    alike: Path | None = None


def _shards_to_write(shards: list[Path], measured: list[Path]) -> list[_Shard]:
    begin, items = 0, []
    for path, numbers in zip(shards, measured, strict=True):
        items.append(_Shard(path, numbers, begin))
        begin += shard_rows(numbers)
    return items


def _part(shard: _Shard, *, judged: _Judged) -> Part:
    measured, decisions = _with_copies(shard, judged)
    return Part(shard.path, _edited(read_shard(shard.path, ["text"]), measured), decisions.standing)


def _candidates(shard: _Shard, *, judged: _Judged) -> Candidates:
    dedup = judged.section.dedup
    assert dedup is not None
    assert dedup.semantic is not None
    measured, decisions = _with_copies(shard, judged)
    table = read_shard(shard.path, ["text", "kind"])
    texts, kinds = _edited(table, measured), table["kind"].to_pylist()
    return candidates_of(texts, kinds, measured, decisions, dedup.semantic)


def _with_copies(shard: _Shard, judged: _Judged) -> tuple[pa.Table, Decisions]:
    section = judged.section
    # Signatures were for the comparison: they are as large as a short text.
    measured = read_shard(shard.measured, without=(SIGNATURE, SHINGLES))
    decisions = Decisions.from_table(measured, DECISION)
    if judged.learned is not None:
        measured = judge_learned(
            measured, judged.learned.bounds, section.perplexity, section.classifier, decisions
        )
    if judged.compared is not None and section.dedup is not None:
        duplicates = judged.compared.of_rows(shard.begin, measured.num_rows)
        measured = judge_copies(duplicates, measured, section.dedup, decisions)
    semantic = section.dedup.semantic if section.dedup else None
    if judged.alike is not None and semantic is not None:
        measured = judge_alike(judged.alike, shard.measured.name, measured, semantic, decisions)
    return measured, decisions


def _edited(table: pa.Table, measured: pa.Table) -> pa.LargeStringArray:
    column = measured[EDITED] if EDITED in measured.column_names else table["text"]
    return column.combine_chunks()


def _write(
    shard: _Shard,
    output: Path,
    *,
    folder: Path,
    judged: _Judged,
    cuts: Cuts | None,
) -> None:
    section = judged.section
    table = read_shard(shard.path)
    measured, decisions = _with_copies(shard, judged)
    texts = _edited(table, measured)
    if cuts is not None and section.dedup is not None:
        part = Part(shard.path, texts, decisions.standing)
        texts, found = cuts.applied(part, output.stem)
        judge_cuts(texts, found, section.dedup, decisions)
        for name, column in found.items():
            measured = measured.append_column(DEDUP + name, column)
        measured = measured.append_column(DECISION + CUT_BYTES, found[CUT_BYTES])
    for name, column in decisions.columns(DECISION).items():
        measured = measured.set_column(measured.schema.get_field_index(name), name, column)
    _write_attributes(folder, output.name, measured)
    write_cut_lines(folder, output.name, measured)
    standing = pa.array(decisions.standing)
    gone = table.filter(pc.invert(standing))
    if gone.num_rows:
        reasons = pc.drop_null(measured[DECISION + "dropped_by"])
        write_shard(folder / "dropped" / output.name, gone.append_column("dropped_by", reasons))
    kept = _with_texts(table, texts).filter(standing)
    if section.pii is not None and section.pii.action != "off":
        kept = _redacted(kept, section.pii)
    write_shard(output, kept)  # last: its presence says that the shard is done


def _write_attributes(folder: Path, name: str, measured: pa.Table) -> None:
    groups = {column.partition(".")[0] for column in measured.column_names} - {"id", "scratch"}
    for group in sorted(groups):
        names = [column for column in measured.column_names if column.startswith(group + ".")]
        plain = [column.partition(".")[2] for column in names]
        table = measured.select(["id", *names]).rename_columns(["id", *plain])
        write_shard(folder / "attributes" / group / name, table)


def _redacted(table: pa.Table, section: PiiSection) -> pa.Table:
    texts = table["text"].to_pylist()
    found = redact_all(
        [text or "" for text in texts],
        section.kinds,
        section.action,
        section.secret(),
        name_model=section.name_model,
    )
    if not found:
        return table
    for row, text in found.items():
        texts[row] = text
    return _with_texts(table, pa.array(texts, pa.large_string()))


def _with_texts(table: pa.Table, texts: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.schema.get_field_index("text")
    return table.set_column(place, table.schema.field("text"), texts)


# Filter → the setting that loosens it; of a rule it is the bound that most documents are beyond.
SETTING_OF = {
    BOILERPLATE: "curate.boilerplate.max_document_fraction",
    "language": "curate.language.keep or curate.language.min_score",
    "toxicity": "curate.toxicity.min_probability or curate.toxicity.max_word_fraction",
    "decontaminate": "curate.decontaminate",
    "held_out": "collect.held_out_fraction or collect.held_out_functions",
    "perplexity": "curate.perplexity.keep or its bounds",
    "classifier": "curate.classifier.min_probability or curate.classifier.keep_fraction",
    "exact": "curate.dedup.exact",
    "near": "curate.dedup.minhash",
    SEMANTIC: "curate.dedup.semantic.min_similarity",
    "cut": "curate.dedup.min_words_left",
}


def _finish(documents: Corpus, section: CurateSection, context: Context) -> None:
    folder = context.folder
    corpus = Corpus(folder, {"record": "document"})
    rows = funnel(corpus, filters_in_use(section))
    if not rows[-1].documents:
        worst = max(rows[1:], key=lambda row: row.documents_dropped)
        bound, beyond = main_bound(corpus, worst.filter)
        setting = f"curate.quality.{worst.filter}.{bound}" if bound else SETTING_OF[worst.filter]
        why = f", {beyond:,} for {bound}" if bound else ""
        remedy = f"Loosen {setting}, or give more documents."
        earlier, copies = main_earlier(corpus, worst.filter)
        if copies:
            why = f", {copies:,} as copies of what is in '{earlier}'"
            remedy = f"Leave {earlier} out of curate.dedup.against, or give what it does not hold."
        raise DataError(
            f"all {rows[0].documents:,} documents were dropped, "
            f"{worst.documents_dropped:,} of them by '{worst.filter}'{why}",
            str(documents.folder),
            remedy,
        )
    passed = [row._asdict() for row in rows]
    bounds = section.toxicity.min_probability if section.toxicity else {}
    card = card_of(corpus, passed, bounds.get(TOXIC))
    if section.mix is not None:
        card.mixture = mix(section.mix, context)
    finish_corpus(
        folder, "document", {"funnel": passed}, card=markdown(card), header=header_of(card)
    )
