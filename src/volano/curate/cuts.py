"""Lines, paragraphs and passages that stand in the corpus before are cut out of what is left of it.

Each shard writes the hashes of its spans to a file, sorted, so that a range of hashes is one piece
of every file; the ranges are compared one by one, and what they say comes back to each shard. So
memory holds a range and not the corpus, and the result depends on neither workers nor kills. The
first span stays, training documents before others, then in the order of the corpus.

Only documents that all other filters have kept take part. Where one of them then falls as too short
(`min_words_left`), spans that stood there first are lost with it.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard
from volano.core.step import Context
from volano.curate.decision import CUT, Decisions
from volano.curate.dedup_section import CutSection, DedupSection
from volano.curate.ranges import ranges_of, read_range, save_array
from volano.text.kernels.ngrams import ngram_hashes
from volano.text.kernels.passages import covered_words, spaced_words, without_words
from volano.text.kernels.spans import span_hashes, without_spans

T = TypeVar("T")
Unit = Literal["paragraph", "line", "passage"]
Array = npt.NDArray[Any]
SPANS_AT_ONCE = 1 << 22  # of a range of hashes: some 400 MB while they are sorted
SPAN = np.dtype([("hash", "<u8"), ("place", "<u4"), ("later", "u1")])  # later: not of training
COPY = np.dtype([("shard", "<u4"), ("place", "<u4"), ("back", "<u4")])  # words behind the first


class Part(NamedTuple):
    """What a shard brings to the comparison of its spans."""

    path: Path  # the shard of documents
    texts: pa.LargeStringArray  # as the filters before have left them
    standing: Array  # bool


@dataclass(frozen=True)
class Cuts:
    """Which spans of which shard are cut, found by `find_cuts`; one folder per unit."""

    folder: Path
    units: tuple[tuple[Unit, CutSection], ...]

    def applied(self, part: Part, name: str) -> tuple[pa.LargeStringArray, dict[str, pa.Array]]:
        """The texts of a shard without their cuts; columns `cut_UNITs` and `cut_bytes`."""
        texts, columns = part.texts, {}
        for unit, settings in self.units:
            found = self._copies(unit, int(name))
            if unit == "passage":
                texts, counts = _without_passages(texts, found, settings)
            else:
                texts, counts = _without_spans(texts, found, unit)
            columns[f"cut_{unit}s"] = pa.array(counts)
        before, after = (pc.fill_null(pc.binary_length(each), 0) for each in (part.texts, texts))
        return texts, {**columns, "cut_bytes": pc.subtract(before, after)}

    def _copies(self, unit: Unit, shard: int) -> Array:
        parts = [np.zeros(0, COPY)]
        for path in sorted((self.folder / unit / "copies").iterdir()):
            copies = np.load(path, mmap_mode="r")
            # bisect, because numpy's search would first copy the column from the disk.
            first, last = (bisect_left(copies["shard"], shard + each) for each in (0, 1))
            parts.append(np.array(copies[first:last]))
        found = np.concatenate(parts)
        return found[np.argsort(found["place"], kind="stable")]


def _without_spans(
    texts: pa.LargeStringArray, copies: Array, unit: Literal["line", "paragraph"]
) -> tuple[pa.LargeStringArray, Array]:
    spans = span_hashes(texts, unit)
    gone = np.zeros(len(spans.hashes), bool)
    gone[copies["place"]] = True
    counts = _sums(gone, spans.bounds)
    return (without_spans(texts, unit, gone) if gone.any() else texts), counts


def _without_passages(
    texts: pa.LargeStringArray, copies: Array, settings: CutSection
) -> tuple[pa.LargeStringArray, Array]:
    words = spaced_words(texts)
    gone = covered_words(copies["place"], copies["back"], words.bounds, length=settings.min_words)
    begins = gone.copy()  # the first word of each passage
    begins[1:] &= ~gone[:-1]
    of_texts = words.bounds[:-1][np.diff(words.bounds) > 0]
    begins[of_texts] = gone[of_texts]
    counts = _sums(begins, words.bounds)
    return (without_words(texts, words, gone) if gone.any() else texts), counts


def _sums(values: Array, bounds: Array) -> Array:
    return np.diff(np.concatenate(([0], np.cumsum(values)))[bounds])


def find_cuts(
    shards: Sequence[T], read: Callable[[T], Part], section: DedupSection, context: Context
) -> Cuts | None:
    """What is cut out of which shard; None where the section cuts nothing.

    `read` gives the Part of an item of `shards`. Each file that is written is kept after a kill.
    """
    asked: list[tuple[Unit, CutSection | None]] = [
        ("paragraph", section.paragraphs),
        ("line", section.lines),
        ("passage", section.passages),
    ]
    units = tuple((unit, settings) for unit, settings in asked if settings is not None)
    folder = context.scratch / "cuts"
    for place, (unit, settings) in enumerate(units):
        spans = [folder / unit / "spans" / f"{shard:05d}.npy" for shard in range(len(shards))]
        with context.progress(f"curate: {unit}s", len(shards), "shards") as bar:
            context.engine.map(
                partial(
                    _spill, read=read, before=Cuts(folder, units[:place]), how=(unit, settings)
                ),
                shards,
                spans,
                bar=bar,
            )
        ranges = ranges_of(spans, SPANS_AT_ONCE)
        context.engine.map(
            partial(_compare_range, ranges=ranges, spans=spans, fewest=settings.min_copies),
            range(ranges),
            [folder / unit / "copies" / f"{number:05d}.npy" for number in range(ranges)],
        )
    return Cuts(folder, units) if units else None


def _spill(
    shard: T, output: Path, *, read: Callable[[T], Part], before: Cuts, how: tuple[Unit, CutSection]
) -> None:
    unit, settings = how
    part = read(shard)
    texts, _ = before.applied(part, output.stem)
    hashes, counts, asked = _candidates(texts, unit, settings)
    about = read_shard(part.path, ["kind", "split"])
    exempt = np.isin(np.array(about["kind"].to_pylist(), object), settings.exempt_kinds)
    places = np.flatnonzero(np.repeat(part.standing & ~exempt, counts) & asked)
    spans = np.empty(len(places), SPAN)
    spans["hash"], spans["place"] = hashes[places], places
    later = pc.fill_null(pc.not_equal(about["split"], "train"), pa.scalar(value=True)).to_numpy()
    spans["later"] = np.repeat(later, counts)[places]
    save_array(output, spans[np.argsort(spans["hash"], kind="stable")])


def _candidates(
    texts: pa.LargeStringArray, unit: Unit, settings: CutSection
) -> tuple[Array, Array, Array]:
    # Hashes of all spans, how many each text has, and which are long enough. A passage begins at
    # any word, and has its place; it is too long where the text ends before it.
    if unit != "passage":
        spans = span_hashes(texts, unit)
        return spans.hashes, np.diff(spans.bounds), spans.words >= settings.min_words
    words = spaced_words(texts)
    counts = np.diff(words.bounds)
    runs, run_bounds = ngram_hashes(words.hashes, words.bounds, length=settings.min_words)
    run_counts = np.where(counts >= settings.min_words, np.diff(run_bounds), 0)
    within = np.arange(len(words.hashes)) - np.repeat(words.bounds[:-1], counts)
    asked = within < np.repeat(run_counts, counts)
    hashes = np.zeros(len(words.hashes), np.uint64)
    hashes[asked] = runs[np.repeat(run_counts > 0, np.diff(run_bounds))]
    return hashes, counts, asked


def _compare_range(
    number: int, output: Path, *, ranges: int, spans: Sequence[Path], fewest: int
) -> None:
    found, owners = read_range(spans, number, ranges)
    # Stable, and each shard has its places in order.
    order = np.lexsort((found["later"], found["hash"]))
    hashes = found["hash"][order]
    starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))[: len(hashes)]
    sizes = np.diff(np.append(starts, len(hashes)))
    gone = np.repeat(sizes >= fewest, sizes)
    gone[starts] = False
    shard_of, place_of = owners[order], found["place"][order]
    firsts = np.repeat(starts, sizes)[gone]
    copies = np.empty(len(firsts), COPY)
    copies["shard"], copies["place"] = shard_of[gone], place_of[gone]
    ahead = place_of[gone].astype(np.int64) - place_of[firsts]
    same = shard_of[gone] == shard_of[firsts]
    copies["back"] = np.where(same, np.maximum(ahead, 0), 0)
    save_array(output, np.sort(copies, order=["shard", "place"]))


def judge_cuts(
    texts: pa.LargeStringArray,
    columns: dict[str, pa.Array],
    section: DedupSection,
    decisions: Decisions,
) -> None:
    """Drop what was cut down to fewer words than the section asks for."""
    cut_bytes = columns["cut_bytes"].to_numpy()
    rows = np.flatnonzero(cut_bytes > 0)
    words = np.zeros(len(texts), np.int64)
    words[rows] = np.diff(spaced_words(texts.take(pa.array(rows))).bounds)
    decisions.drop(
        rows[words[rows] < section.min_words_left],
        CUT,
        value=words,
        threshold=float(section.min_words_left),
        evidence=[f"words left; {size} bytes stand elsewhere" for size in cut_bytes.tolist()],
    )
