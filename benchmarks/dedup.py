"""Deduplication: pairs found against pairs known, and the memory that comparing a corpus takes.

    python benchmarks/dedup.py [--articles articles.jsonl truth.jsonl] [--pan s1 s2 labels]
        [--mrpc msr_paraphrase_train.txt] [--texts FILES…] [--documents 100k 400k 1.6M]
        [--folder DIR] [--json]

Files may be compressed (.gz). articles: `id` and `text`, and lines of pairs `a`, `b`; found are all
pairs of one cluster. PAN and MRPC are pairs of sentences with a label, of which many are reworded:
no work for shingles, and measured to say so. For each, the settings as they are; shingles and a
bound chosen on the first half of the pairs; dimensions of latent semantic analysis (fitted on all
sentences, without labels) and a bound of the cosine likewise. Figures are of the second half.

--texts: JSONL with `text`; what is cut out of them, and megabytes a second of finding and cutting
it (one core), the reading of the files not counted.

--documents: corpora of so many made-up documents, of which a fifth are near copies and a twentieth
exact ones, are compared as `volano curate` compares them, each in a process of its own; the
signatures are drawn at random, since time and memory do not depend on the words. The last line is
what 10M documents would take by the slope between the two largest. The speed beside datatrove is in
benchmarks/curate.py.
"""

import argparse
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from volano.core.corpus import shard_path, write_shard
from volano.curate.compare import DECISION, HASH, SIGNATURE, SPLIT, compare
from volano.curate.dedup_section import DedupSection, MinHashSection
from volano.curate.embeddings import Latent, word_counts
from volano.text import kernels
from volano.text.kernels.hashing import word_hashes
from volano.text.kernels.minhash import minhash_signatures
from volano.text.kernels.ngrams import distinct_runs, ngram_hashes, shared_fractions
from volano.text.near import near_duplicate_roots

SHARD_DOCUMENTS = 50_000
PLANNED_DOCUMENTS = 10_000_000
COPY_FRACTION, EXACT_FRACTION, CHANGED_FRACTION = 0.2, 0.05, 0.1
SUFFIXES = {"k": 1_000, "M": 1_000_000}


def main() -> None:
    """Print a table per data set, or be one process of the measurement of memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--articles", nargs=2, type=Path, metavar=("JSONL", "TRUTH"))
    parser.add_argument("--pan", nargs=3, type=Path, metavar=("S1", "S2", "LABELS"))
    parser.add_argument("--mrpc", type=Path)
    parser.add_argument("--texts", nargs="+", type=Path, default=[], metavar="JSONL")
    parser.add_argument("--documents", nargs="+", type=_count, default=[], metavar="N")
    parser.add_argument("--folder", type=Path, help="where the made-up corpora lie meanwhile")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _be(options.side, options.folder, options.documents)
        return
    kernels.warm_up()
    found: dict[str, Any] = {}
    if options.articles:
        found["articles"] = _articles(*options.articles)
    for name, pairs in (("pan", options.pan), ("mrpc", options.mrpc)):
        if pairs:
            found[name] = _pairs(*(_pan(*pairs) if name == "pan" else _mrpc(pairs)))
    if options.texts:
        found["cuts"] = _cuts(options.texts)
    if options.documents:
        found["memory"] = _memory(sorted(options.documents), options.folder)
    print(json.dumps(found, indent=2) if options.json else "\n\n".join(_told(found)))


def _count(text: str) -> int:
    number = re.fullmatch(r"([\d.]+)([kM]?)", text)
    if number is None:
        raise argparse.ArgumentTypeError(f"no count: {text}")
    return round(float(number[1]) * SUFFIXES.get(number[2], 1))


def _lines(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
        return [line.rstrip("\r\n") for line in lines]


# ---- pairs


def _articles(path: Path, truth: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in _lines(path)]
    gold = {frozenset((pair["a"], pair["b"])) for pair in map(json.loads, _lines(truth))}
    settings = MinHashSection()
    signatures = minhash_signatures(
        pa.array([row["text"] for row in rows]),
        permutations=settings.permutations,
        shingle_words=settings.shingle_words,
    )
    roots = near_duplicate_roots(
        signatures, bands=settings.bands, min_similarity=settings.min_similarity
    )
    clusters: dict[int, list[str]] = {}
    for row, root in zip(rows, roots.tolist(), strict=True):
        clusters.setdefault(root, []).append(row["id"])
    found = {frozenset(pair) for each in clusters.values() for pair in combinations(each, 2)}
    return {"documents": len(rows), "pairs": len(gold), **_f1(len(found & gold), found, gold)}


def _pan(ones: Path, others: Path, labels: Path) -> tuple[list[str], list[str], list[int]]:
    return _lines(ones), _lines(others), [int(label) for label in _lines(labels)]


def _mrpc(path: Path) -> tuple[list[str], list[str], list[int]]:
    rows = [line.split("\t") for line in _lines(path)[1:]]
    return [row[3] for row in rows], [row[4] for row in rows], [int(row[0]) for row in rows]


def _pairs(ones: list[str], others: list[str], labels: list[int]) -> dict[str, Any]:
    known = np.array(labels, bool)
    middle = len(known) // 2
    # PAN has all copies in front: by turns, so that both halves have both.
    turns = np.concatenate([np.arange(0, len(known), 2), np.arange(1, len(known), 2)])
    settings = MinHashSection()
    rows = [{"how": "as they are", **_as_they_are(ones, others, known, turns[middle:], settings)}]
    best: tuple[float, int, float, Any] | None = None
    for words in (1, 2, 3, 5):
        similarity = _jaccard(ones, others, words)
        for bound in np.arange(0.02, 1, 0.02):
            chosen = _score(similarity >= bound, known, turns[:middle])["f1"]
            if best is None or chosen > best[0]:
                best = (chosen, words, float(bound), similarity)
    assert best is not None
    how = f"shingles of {best[1]}, similarity from {best[2]:.2f}"
    rows.append({"how": how, **_score(best[3] >= best[2], known, turns[middle:])})
    latent: tuple[float, int, float, Any] | None = None
    for dimensions in (64, 128, 256):
        cosine = _cosines(ones, others, dimensions)
        for bound in np.arange(0.02, 1, 0.02):
            chosen = _score(cosine >= bound, known, turns[:middle])["f1"]
            if latent is None or chosen > latent[0]:
                latent = (chosen, dimensions, float(bound), cosine)
    assert latent is not None
    how = f"latent, {latent[1]} dimensions, cosine from {latent[2]:.2f}"
    rows.append({"how": how, **_score(latent[3] >= latent[2], known, turns[middle:])})
    every = np.ones(len(known), bool)
    rows.append({"how": "every pair", **_score(every, known, turns[middle:])})
    return {"pairs": len(known), "copies": int(known.sum()), "rows": rows}


def _as_they_are(
    ones: list[str], others: list[str], known: Any, test: Any, settings: MinHashSection
) -> dict[str, float]:
    signatures = [
        minhash_signatures(
            pa.array(texts),
            permutations=settings.permutations,
            shingle_words=settings.shingle_words,
        )
        for texts in (ones, others)
    ]
    agree = signatures[0] == signatures[1]
    banded = agree.reshape(len(known), settings.bands, -1).all(axis=2).any(axis=1)
    return _score(banded & (agree.mean(axis=1) >= settings.min_similarity), known, test)


def _jaccard(ones: list[str], others: list[str], words: int) -> Any:
    runs = ngram_hashes(*word_hashes(pa.array(ones + others)), length=words)
    places = np.arange(len(ones))
    return shared_fractions(*distinct_runs(*runs), np.stack([places, places + len(ones)], axis=1))


def _cosines(ones: list[str], others: list[str], dimensions: int) -> Any:
    column = pa.array(ones + others, pa.large_string())
    vectors = Latent.fit(word_counts(column), dimensions=dimensions, seed=1).embed(column)
    return (vectors[: len(ones)] * vectors[len(ones) :]).sum(axis=1)


def _score(found: Any, known: Any, test: Any) -> dict[str, float]:
    found, known = found[test], known[test]
    return _f1(int((found & known).sum()), np.flatnonzero(found), np.flatnonzero(known))


def _f1(right: int, found: Any, known: Any) -> dict[str, float]:
    precision = right / len(found) if len(found) else 0.0
    recall = right / len(known)
    both = precision + recall
    scores = {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both}
    return {name: round(value, 4) for name, value in scores.items()} if both else scores


# ---- cuts


def _cuts(files: Sequence[Path]) -> list[dict[str, Any]]:
    import volano

    rows = []
    others = dict.fromkeys(("language", "quality", "toxicity", "decontaminate", "pii"), "off")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as store:
        for unit in ("off", "paragraphs", "lines", "passages"):
            dedup = {"exact": "off", "minhash": "off"} | ({} if unit == "off" else {unit: "on"})
            made = volano.curate([str(each) for each in files], store=store, **others, dedup=dedup)
            bill = made.bill()
            size = made.corpus().manifest["funnel"][0]["bytes"]
            last = made.corpus().manifest["funnel"][-1]
            seconds = bill["cut_seconds"] + bill["write_seconds"]
            row = {"unit": unit, "bytes": size, "seconds": round(seconds, 2)}
            row |= {"mb_per_second": round(size / 1e6 / seconds, 1), "bytes_cut": last["bytes_cut"]}
            rows.append(row | {"dropped": last["documents_dropped"]})
    return rows


# ---- memory


def _memory(sizes: Sequence[int], folder: Path | None) -> dict[str, Any]:
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            _process("make", name, size)
            rows.append({"documents": size, **json.loads(_process("compare", name, size))})
            print(rows[-1], file=sys.stderr, flush=True)
    plan = {}
    if len(rows) > 1:
        one, other = rows[-2:]
        slopes = {
            name: (other[name] - one[name]) / (other["documents"] - one["documents"])
            for name in ("peak_bytes", "disk_bytes", "seconds")
        }
        ahead = PLANNED_DOCUMENTS - other["documents"]
        plan = {name: other[name] + slope * ahead for name, slope in slopes.items()}
        plan["bytes_per_document"] = slopes["peak_bytes"]
    return {"rows": rows, "plan": plan}


def _process(side: str, folder: str, size: int) -> str:
    command = [sys.executable, __file__, "--side", side, "--folder", folder]
    done = subprocess.run([*command, "--documents", str(size)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def _be(side: str, folder: Path, sizes: Sequence[int]) -> None:
    if side == "make":
        _make(folder, sizes[0])
        return
    kernels.warm_up()
    started = time.monotonic()
    measured = sorted((folder / "measured").iterdir())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = compare(measured, DedupSection(), folder / "scratch").found
    figures = {
        "exact": int((found.exact_of >= 0).sum()),
        "near": int((found.near_of >= 0).sum()),
        "seconds": round(time.monotonic() - started, 2),
        "bytes_before": before,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        # The files of the comparison are gone again: signatures, and a hash per band.
        "disk_bytes": len(found.near_of) * (4 * 112 + 8 * 14),
    }
    print(json.dumps(figures))


def _make(folder: Path, size: int) -> None:
    draw = np.random.default_rng(1)
    places = MinHashSection().permutations
    for shard, start in enumerate(range(0, size, SHARD_DOCUMENTS)):
        count = min(SHARD_DOCUMENTS, size - start)
        signatures = draw.integers(0, 2**32 - 1, (count, places), np.uint32)
        hashes = draw.integers(0, 2**63, count).astype(np.uint64)
        near = draw.random(count) < COPY_FRACTION
        near[0] = False
        of = draw.integers(0, np.maximum(np.arange(count), 1))
        near &= ~near[of]  # a copy is one of an original
        rows = np.flatnonzero(near)
        kept = draw.random((len(rows), places)) >= CHANGED_FRACTION
        signatures[rows] = np.where(kept, signatures[of[rows]], signatures[rows])
        exact = draw.random(count) < EXACT_FRACTION
        exact[0] = False
        hashes[exact] = hashes[of[exact]]
        data = pa.py_buffer(signatures.tobytes())
        kind = pa.binary(4 * places)
        columns = {
            "id": pa.array([f"corpus:{number:012d}" for number in range(start, start + count)]),
            SPLIT: pa.array(["train"] * count),
            DECISION + "dropped_by": pa.nulls(count, pa.string()),
            HASH: pa.array(hashes),
            SIGNATURE: pa.FixedSizeBinaryArray.from_buffers(kind, count, [None, data]),
        }
        write_shard(shard_path(folder, "measured", shard), pa.table(columns))


# ---- what is printed


def _told(found: dict[str, Any]) -> Iterable[str]:
    if "articles" in found:
        row = found["articles"]
        yield f"articles: {row['documents']:,} documents, {row['pairs']} pairs: {_scores(row)}"
    for name in ("pan", "mrpc"):
        if name in found:
            each = found[name]
            lines = [f"{name}: {each['pairs']:,} pairs, {each['copies']:,} of them copies"]
            lines += [f"    {row['how']:<40} {_scores(row)}" for row in each["rows"]]
            yield "\n".join(lines)
    if "cuts" in found:
        yield "\n".join(
            f"{row['unit']:<12} {row['bytes'] / 1e6:8.1f} MB in {row['seconds']:6.2f} s, "
            f"{row['mb_per_second']:6.1f} MB/s: {row['bytes_cut']:,} bytes cut out, "
            f"{row['dropped']:,} documents too short"
            for row in found["cuts"]
        )
    if "memory" in found:
        lines = [f"{'documents':>12} {'exact':>10} {'near':>10} {'seconds':>8} {'peak':>9}  disk"]
        lines += [
            f"{row['documents']:>12,} {row['exact']:>10,} {row['near']:>10,} "
            f"{row['seconds']:>8.1f} {row['peak_bytes'] / 2**20:>5.0f} MiB  "
            f"{row['disk_bytes'] / 1e9:.2f} GB"
            for row in found["memory"]["rows"]
        ]
        plan = found["memory"]["plan"]
        if plan:
            lines.append(
                f"{PLANNED_DOCUMENTS:>12,} by the slope between the last two, "
                f"{plan['bytes_per_document']:.0f} bytes a document: "
                f"{plan['peak_bytes'] / 2**20:.0f} MiB, {plan['disk_bytes'] / 1e9:.1f} GB of disk, "
                f"{plan['seconds']:.0f} seconds"
            )
        yield "\n".join(lines)


def _scores(row: dict[str, float]) -> str:
    return f"precision {row['precision']:.3f}, recall {row['recall']:.3f}, F1 {row['f1']:.3f}"


if __name__ == "__main__":
    main()
