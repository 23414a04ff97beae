"""Deduplication of millions of documents by simulation: time, memory and disk of the real code.

    python benchmarks/simulate_dedup.py --like CORPUS [--documents 1M 4M 10M] [--folder DIR]
        [--near-fraction F] [--limit 1GiB] [--json]

CORPUS is the folder of a curated corpus with near-duplicates measured. How many documents are exact
copies, how large the clusters of near copies are and how alike their members is drawn from what
was measured there, the signatures are drawn to fit, and `volano.curate.compare` compares them as
`volano curate` does: banding, similarities, union-find, one process per size. Copies are spread
over the whole corpus. --near-fraction has more clusters of the sizes measured, until that part of
the documents are near copies, as in a crawl. No text is made, since neither time nor memory depend
on it. Exit code 1 where the peak is above the limit.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, shard_path, write_shard
from volano.curate.compare import DECISION, HASH, SIGNATURE, SPLIT, compare
from volano.curate.dedup_section import DedupSection, MinHashSection
from volano.text import kernels

SHARD_DOCUMENTS = 50_000
UNITS = {"": 1, "k": 10**3, "M": 10**6, "MiB": 2**20, "GiB": 2**30}
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # splitmix64


class Structure(NamedTuple):
    """What was measured of a sample."""

    documents: int
    exact_fraction: float  # documents that are exact copies
    sizes: list[int]  # of the clusters of near copies, one for each document that stays
    similarities: list[float]  # of near copies with the document that stays


def main() -> None:
    """Print a row per size, or be the process of one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--like", type=Path, required=True, metavar="CORPUS")
    parser.add_argument("--documents", nargs="+", type=_count, default=[10**6, 4 * 10**6, 10**7])
    parser.add_argument("--folder", type=Path, help="where the signatures lie meanwhile")
    parser.add_argument("--near-fraction", type=float, help="default: as in the sample")
    parser.add_argument("--limit", type=_count, default=2**30, help="bytes of memory at the peak")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=["make", "compare"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "make":
        structure = structure_of(Corpus.open(options.like))
        _make(options.folder, options.documents[0], structure, options.near_fraction)
        return
    if options.side == "compare":
        print(json.dumps(_compare(options.folder)))
        return
    structure = structure_of(Corpus.open(options.like))
    rows = []
    for size in sorted(options.documents):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            common = ["--like", options.like, "--folder", name, "--documents", size]
            if options.near_fraction is not None:
                common += ["--near-fraction", options.near_fraction]
            _process("make", common)
            rows.append({"documents": size, **json.loads(_process("compare", common))})
            print(rows[-1], file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"structure": _summary(structure), "rows": rows}, indent=2))
    else:
        print(_told(structure, rows))
    sys.exit(int(max(row["peak_bytes"] for row in rows) > options.limit))


def _count(text: str) -> int:
    found = re.fullmatch(r"([\d.]+)\s*([kM]?|[MG]iB)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"no count: {text}")
    return round(float(found[1]) * UNITS[found[2]])


def structure_of(corpus: Corpus) -> Structure:
    """Exact copies, clusters and similarities of a curated corpus."""
    decisions = corpus.attributes("decision")["dropped_by"].to_pylist()
    table = corpus.attributes("dedup").select(["id", "copy_of", "similarity"]).to_pylist()
    seen = [by in (None, "exact", "near", "cut") for by in decisions]
    copies = [row for row, there in zip(table, seen, strict=True) if there]
    near = [row for row in copies if row["similarity"] is not None]
    exact = sum(row["copy_of"] is not None for row in copies) - len(near)
    stays = len(copies) - exact - len(near)
    members: dict[str, int] = {}
    for row in near:
        members[row["copy_of"]] = members.get(row["copy_of"], 1) + 1
    sizes = [*members.values(), *[1] * (stays - len(members))]
    return Structure(len(copies), exact / len(copies), sizes, [row["similarity"] for row in near])


def _process(side: str, common: list[Any]) -> str:
    command = [sys.executable, __file__, "--side", side, *map(str, common)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _mixed(values: Any) -> Any:
    values = (values ^ (values >> np.uint64(30))) * MIX_1
    values = (values ^ (values >> np.uint64(27))) * MIX_2
    return values ^ (values >> np.uint64(31))


def _chances(sizes: Any, near_fraction: float | None) -> Any:
    # How likely a cluster is of each of these sizes: those of two or more as often as is asked.
    if near_fraction is None:
        return np.full(len(sizes), 1 / len(sizes))
    several = sizes > 1
    share = near_fraction / (1 - near_fraction) / (sizes[several].mean() - 1)
    if not 0 <= share <= 1:
        sys.exit(f"clusters of these sizes cannot make {near_fraction} of the documents copies")
    return np.where(several, share / several.sum(), (1 - share) / (~several).sum())


def _make(folder: Path, size: int, structure: Structure, near_fraction: float | None) -> None:
    draw = np.random.default_rng(1)
    places = MinHashSection().permutations
    exact = draw.random(size) < structure.exact_fraction
    exact[0] = False
    # Clusters of the sizes that were measured until all documents are in one, in any order.
    measured = np.array(structure.sizes)
    sizes = draw.choice(measured, size, p=_chances(measured, near_fraction))
    clusters = np.repeat(np.arange(size, dtype=np.int32), sizes)[:size]
    is_first = np.ones(size, bool)
    is_first[1:] = clusters[1:] != clusters[:-1]
    order = draw.permutation(size)
    clusters, is_first = clusters[order], is_first[order]
    originals = np.flatnonzero(~exact)
    of = originals[draw.integers(0, len(originals), size)]  # of exact copies
    alike = np.array(structure.similarities or [1.0])
    columns = np.arange(places, dtype=np.uint64)
    for shard, start in enumerate(range(0, size, SHARD_DOCUMENTS)):
        rows = np.arange(start, min(start + SHARD_DOCUMENTS, size))
        own = _mixed(rows[:, None].astype(np.uint64) * np.uint64(places) + columns)
        common = _mixed(
            clusters[rows, None].astype(np.uint64) * np.uint64(places) + columns + MIX_1
        )
        similarity = np.where(is_first[rows], 1, alike[draw.integers(0, len(alike), len(rows))])
        kept = draw.random((len(rows), places), np.float32) < similarity[:, None]
        signatures = np.where(kept, common, own).astype(np.uint32)
        names = np.where(exact[rows], of[rows], rows)
        data, kind = pa.py_buffer(signatures.tobytes()), pa.binary(4 * places)
        table = {
            "id": pc.cast(pa.array(rows), pa.string()),
            SPLIT: pa.array(["train"] * len(rows)),
            DECISION + "dropped_by": pa.nulls(len(rows), pa.string()),
            HASH: pa.array(_mixed(names.astype(np.uint64) + MIX_2)),
            SIGNATURE: pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, data]),
        }
        write_shard(shard_path(folder, "measured", shard), pa.table(table))


def _compare(folder: Path) -> dict[str, Any]:
    kernels.warm_up(groups=["text"])
    measured = sorted((folder / "measured").iterdir())
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    found = compare(measured, DedupSection(), folder / "scratch").found
    after = resource.getrusage(resource.RUSAGE_SELF)
    settings = MinHashSection()
    return {
        "exact": int((found.exact_of >= 0).sum()),
        "near": int((found.near_of >= 0).sum()),
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "bytes_before": before.ru_maxrss * 1024,
        "peak_bytes": after.ru_maxrss * 1024,
        # The files of the comparison are gone again: signatures, and a hash per band.
        "disk_bytes": len(found.near_of) * (4 * settings.permutations + 8 * settings.bands),
    }


def _summary(structure: Structure) -> dict[str, Any]:
    sizes = np.array(structure.sizes)
    near = len(structure.similarities) / structure.documents
    return {
        "documents": structure.documents,
        "exact_fraction": round(structure.exact_fraction, 4),
        "near_fraction": round(near, 4),
        "largest_cluster": int(sizes.max()),
        "mean_similarity": round(float(np.mean(structure.similarities or [1])), 3),
    }


def _told(structure: Structure, rows: list[dict[str, Any]]) -> str:
    about = ", ".join(f"{name} {value:,}" for name, value in _summary(structure).items())
    lines = [f"like a sample: {about}"]
    lines.append(f"{'documents':>12} {'exact':>10} {'near':>10} {'seconds':>8} {'peak':>9}  disk")
    lines += [
        f"{row['documents']:>12,} {row['exact']:>10,} {row['near']:>10,} {row['seconds']:>8.1f} "
        f"{row['peak_bytes'] / 2**20:>5.0f} MiB  {row['disk_bytes'] / 1e9:.2f} GB"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
