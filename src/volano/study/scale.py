"""What a corpus of another size would take: core-hours, memory, bytes moved, time and money.

Every rate is that of a real run: the bills of a curated artifact and of the collection it was made
of, and the funnel of what they kept. The plan is those rates times a size, no more: copies are
rarer in a sample than in the whole, and a busy or slow disk is in no bill. Each figure carries the
formula that gave it, numbers included.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from volano.core.artifact import Artifact
from volano.core.errors import DataError, StoreError
from volano.core.store import Store
from volano.curate.dedup_section import MinHashSection
from volano.curate.step import STEP

HOUR = 3600
HASH_BYTES, PLACE_BYTES = 8, 4  # of a band's hash and of a place of a signature, on disk
COLLECT, COMPARE = "collect", "compare"
# Each maps over shards, every worker alone; but `compare` is one process per part.
STAGES = ("boilerplate", "measure", COMPARE, "semantic", "cut", "write")


class CompareCost(NamedTuple):
    """What comparing documents takes in one process, as benchmarks/simulate_dedup.py measures."""

    fixed_bytes: float
    bytes_per_document: float
    seconds_per_document: float | None = None  # None: as in the sample, which is too few to tell
    documents: int = 0  # most that were measured


# The arrays of curate.compare and text.near at their peak, and the interpreter with buffers that
# do not grow beyond a million documents (docs/log.md: 1M to 10M documents).
COMPARE_COST = CompareCost(fixed_bytes=462 * 2**20, bytes_per_document=53)


@dataclass(frozen=True)
class Sample:
    """What one run has shown. Bytes are of text as collected; of files where the name says so."""

    name: str
    documents: int
    text_bytes: int
    kept_documents: int
    kept_bytes: int
    shards: int
    core_seconds: Mapping[str, float]
    peak_bytes: int
    workers: int
    input_files_bytes: int
    output_files_bytes: int
    scratch_files_bytes: int
    minhash: MinHashSection | None
    machine: str


@dataclass(frozen=True)
class Figure:
    """One line of a plan. `unit` is core-hours, hours, bytes, documents, parts or money."""

    name: str
    value: float
    unit: str
    formula: str


@dataclass(frozen=True)
class Target:
    """What is asked for."""

    text_bytes: int
    workers: int = 1
    memory_bytes: int = 2**30
    price_per_core_hour: float | None = None
    keep_bytes: int | None = None


def sample_of(store: Store, corpus: Artifact) -> Sample:
    """The sample in a curated artifact. Raises StoreError where it cannot tell what work costs."""
    identity, bill = corpus.meta["identity"], corpus.bill()
    if identity["step"] != STEP.name:
        raise StoreError(
            f"this is no curated corpus but made by '{identity['step']}'",
            corpus.name,
            "Name one that `volano curate` or a recipe has made.",
        )
    _check(corpus, bill)
    manifest = corpus.corpus().manifest
    first, last = manifest["funnel"][0], manifest["funnel"][-1]
    by_digest = {each.digest: each for each in store.artifacts()}
    parent = by_digest.get(corpus.parents["documents"]["digest"])
    core_seconds = {name: _core_seconds(bill, name) for name in STAGES if f"{name}_seconds" in bill}
    if parent is not None and "sittings" not in parent.bill():
        core_seconds = {COLLECT: float(parent.bill()["processor_seconds"]), **core_seconds}
    minhash = (identity["settings"].get("dedup") or {}).get("minhash")
    return Sample(
        name=corpus.name,
        documents=first["documents"],
        text_bytes=first["bytes"],
        kept_documents=last["documents"],
        kept_bytes=manifest["text_bytes"],
        shards=len(manifest["shards"]),
        core_seconds=core_seconds,
        peak_bytes=int(bill["peak_memory_bytes"]),
        workers=int(bill["workers"]),
        input_files_bytes=0 if parent is None else parent.bytes,
        output_files_bytes=corpus.bytes,
        scratch_files_bytes=int(bill["scratch_bytes"]),
        minhash=None if minhash is None else MinHashSection.model_validate(minhash),
        machine=f"{bill['machine']}, {str(bill['finished'])[:10]}",
    )


def _check(corpus: Artifact, bill: Mapping[str, Any]) -> None:
    again = "Curate the sample anew: `volano curate FILES --store FOLDER` with another folder."
    if "scratch_bytes" not in bill:
        raise StoreError("its bill does not tell what each stage took", corpus.name, again)
    if bill["groups_reused"]:
        raise StoreError("it took over what another run had measured", corpus.name, again)
    if "sittings" in bill:
        raise StoreError("it was made in several sittings, some of them lost", corpus.name, again)


def _core_seconds(bill: Mapping[str, Any], name: str) -> float:
    # On a cluster the processors of others are not known: what was held counts as spent.
    held = float(bill[f"{name}_seconds"]) * float(bill["workers"])
    return float(bill.get(f"{name}_processor_seconds", held))


def read_simulation(path: Path) -> CompareCost:
    """The line through the two largest sizes of `benchmarks/simulate_dedup.py --json`."""
    try:
        rows = sorted(json.loads(path.read_text("utf-8"))["rows"], key=lambda row: row["documents"])
        one, other = rows[-2:]
        step = other["documents"] - one["documents"]
        slope = (other["peak_bytes"] - one["peak_bytes"]) / step
        fixed = other["peak_bytes"] - slope * other["documents"]
        if slope <= 0 or fixed < 0:
            raise ValueError("no line of memory over documents")
        seconds = other["processor_seconds"] / other["documents"]
        return CompareCost(fixed, slope, seconds, int(other["documents"]))
    except OSError as failure:
        raise DataError(f"not readable ({failure.strerror})", str(path), "Check it.") from None
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        raise DataError(
            "no simulation of two sizes or more, of which the larger took more memory",
            str(path),
            "Write it with benchmarks/simulate_dedup.py --json.",
        ) from None


def scale_plan(sample: Sample, target: Target, compare: CompareCost = COMPARE_COST) -> list[Figure]:
    """The figures for a target. Raises DataError where the memory of a worker is too small."""
    factor = target.text_bytes / sample.text_bytes
    times = f"× {target.text_bytes:,} / {sample.text_bytes:,} bytes of text"
    documents = sample.documents * factor
    figures = [
        Figure("documents", documents, "documents", f"{sample.documents:,} {times}"),
        Figure("documents kept", sample.kept_documents * factor, "documents",
               f"{sample.kept_documents:,} {times}"),
        Figure("text kept", sample.kept_bytes * factor, "bytes", f"{sample.kept_bytes:,} {times}"),
    ]  # fmt: skip
    if target.keep_bytes is not None:
        needed = target.keep_bytes * sample.text_bytes / max(sample.kept_bytes, 1)
        figures.append(
            Figure("text needed to keep that much", needed, "bytes",
                   f"{target.keep_bytes:,} × {sample.text_bytes:,} / {sample.kept_bytes:,}")
        )  # fmt: skip
    parts, part_figures = _parts(documents, target, compare)
    work, wall = _work(sample, factor, documents, parts, target, compare)
    figures += work + _memory(sample, documents, target, compare) + part_figures
    figures += _moved(sample, factor, documents, times) + wall
    return figures


def _parts(documents: float, target: Target, cost: CompareCost) -> tuple[int, list[Figure]]:
    room = target.memory_bytes - cost.fixed_bytes
    if room < cost.bytes_per_document:
        raise DataError(
            f"a comparison takes {cost.fixed_bytes / 2**20:,.0f} MiB before the first document",
            "--memory",
            "Give each worker more.",
        )
    each = math.floor(room / cost.bytes_per_document)
    parts = max(1, math.ceil(documents / each))
    line = f"({target.memory_bytes:,} - {cost.fixed_bytes:,.0f}) / {cost.bytes_per_document:.1f}"
    return parts, [
        Figure("documents that a worker compares", each, "documents", f"{line} bytes a document"),
        Figure("parts deduplicated by themselves", parts, "parts", f"{documents:,.0f} / {each:,}"),
    ]


def _work(
    sample: Sample,
    factor: float,
    documents: float,
    parts: int,
    target: Target,
    cost: CompareCost,
) -> tuple[list[Figure], list[Figure]]:
    hours = {name: each * factor / HOUR for name, each in sample.core_seconds.items()}
    formulas = {
        name: f"{each:.3f} core-seconds × {factor:,.1f} / {HOUR}"
        for name, each in sample.core_seconds.items()
    }
    if cost.seconds_per_document is not None and COMPARE in hours:
        hours[COMPARE] = cost.seconds_per_document * documents / HOUR
        formulas[COMPARE] = (
            f"{1e6 * cost.seconds_per_document:.1f} s a million (at {cost.documents:,} documents) "
            f"× {documents / 1e6:,.1f} million / {HOUR}"
        )
    total = sum(hours.values())
    work = [Figure(f"{name}", hours[name], "core-hours", formulas[name]) for name in hours]
    work.append(Figure("all stages", total, "core-hours", " + ".join(hours)))
    mapped = sum(each for name, each in hours.items() if name != COMPARE)
    shards = max(1, math.ceil(sample.shards * factor))
    at_once = min(target.workers, shards)
    comparing = hours.get(COMPARE, 0.0)
    rounds = math.ceil(parts / target.workers)
    elapsed = mapped / at_once + comparing / parts * rounds
    wall = [
        Figure("time", elapsed, "hours",
               f"{mapped:,.1f} / min({target.workers:,} workers, {shards:,} shards) + "
               f"{comparing:,.1f} / {parts:,} parts × {rounds:,} rounds")
    ]  # fmt: skip
    if target.price_per_core_hour is not None:
        price = target.price_per_core_hour
        wall.append(Figure("price", total * price, "money", f"{total:,.1f} core-hours × {price:g}"))
    return work, wall


def _memory(sample: Sample, documents: float, target: Target, cost: CompareCost) -> list[Figure]:
    whole = cost.fixed_bytes + cost.bytes_per_document * documents
    return [
        Figure(f"memory of {sample.workers} workers that map", sample.peak_bytes, "bytes",
               f"{sample.peak_bytes:,} at the peak of one process, shards as large"),
        Figure("memory to compare all in one process", whole, "bytes",
               f"{cost.fixed_bytes:,.0f} + {cost.bytes_per_document:.1f} × {documents:,.0f}"),
    ]  # fmt: skip


def _moved(sample: Sample, factor: float, documents: float, times: str) -> list[Figure]:
    figures, compared = [], 0.0
    if sample.minhash is not None:
        places, bands = sample.minhash.permutations, sample.minhash.bands
        signatures, tables = PLACE_BYTES * places * documents, HASH_BYTES * bands * documents
        compared = signatures + tables
        figures = [
            Figure("signatures", signatures, "bytes",
                   f"{PLACE_BYTES} × {places} places × {documents:,.0f}"),
            Figure("band tables", tables, "bytes",
                   f"{HASH_BYTES} × {bands} bands × {documents:,.0f}"),
        ]  # fmt: skip
    scratch = sample.scratch_files_bytes * factor
    shuffled = scratch + compared
    files = sample.input_files_bytes + sample.output_files_bytes
    return [
        *figures,
        Figure("written between stages and read again", shuffled, "bytes",
               f"{sample.scratch_files_bytes:,} {times} + signatures + band tables"),
        Figure("disk", files * factor + shuffled, "bytes",
               f"({sample.input_files_bytes:,} in + {sample.output_files_bytes:,} out) {times} "
               "+ what is written between"),
    ]  # fmt: skip
