"""Quality as models have learnt it: perplexity under an n-gram model, and a classifier's label.

A bucket or a best tenth is a fraction of all documents, so both judge between the pass that
measures and the comparison of copies: bounds are taken from the values of all shards, over what the
filters before have left, and each shard is then judged by these numbers alone.

Sources: Wenzek et al. 2020 (CCNet), section 3.3; Li et al. 2024 (DCLM), section 4.4.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import read_shard
from volano.core.errors import DataError, did_you_mean
from volano.core.recipe import require_file
from volano.curate.decision import Decisions
from volano.curate.learned_section import ClassifierSection, PerplexitySection
from volano.text.classifier_file import load_classifier
from volano.text.classify import Classifier
from volano.text.word_model import WordModel
from volano.text.word_model_file import load_words

Array = npt.NDArray[Any]
PERPLEXITY, BUCKET = "perplexity.value", "perplexity.bucket"
PROBABILITY, MARGIN = "classifier.probability", "classifier.margin"
DROPPED_BY, TEXT_BYTES = "decision.dropped_by", "decision.text_bytes"
HEAD, MIDDLE, TAIL = BUCKETS = ("head", "middle", "tail")
# The last digits of a power or a probability are not the same on every processor.
PERPLEXITY_DECIMALS, PROBABILITY_DECIMALS, MARGIN_DECIMALS = 3, 5, 3


class Bounds(NamedTuple):
    """Where the head and the middle end, and the margin of the worst document that stays; NaN
    where nothing was measured."""

    head: float
    middle: float
    margin: float


class Learned(NamedTuple):
    """The bounds, and which documents of the corpus stand after all filters so far."""

    bounds: Bounds
    stands: Array  # bool, all shards in their order


def file_of(section: PerplexitySection | ClassifierSection) -> Path:
    """The model's file. Raises DataError where there is none."""
    assert section.model is not None, "of what a recipe learns, curation names the file"
    return require_file(Path(section.model).expanduser())


def measure_perplexity(
    texts: pa.LargeStringArray, kinds: Sequence[str], section: PerplexitySection
) -> dict[str, pa.Array]:
    """Perplexity per word; null for a document without words, and for exempt kinds."""
    texts, exempt = _without(texts, kinds, section.exempt_kinds)
    found = _model(*_version(file_of(section))).perplexities(texts)
    values = np.round(found.fill_null(0).to_numpy(), PERPLEXITY_DECIMALS)
    missing = exempt | found.is_null().to_numpy(zero_copy_only=False)
    return {"value": pa.array(values, mask=missing)}


def measure_label(
    texts: pa.LargeStringArray, kinds: Sequence[str], section: ClassifierSection
) -> dict[str, pa.Array]:
    """Probability of the label, each document read as a whole, and its margin, log p / (1 − p), by
    which documents are ranked: of those that a classifier is sure of it still tells one from
    another. Null for exempt kinds."""
    texts, exempt = _without(texts, kinds, section.exempt_kinds)
    path = file_of(section)
    classifier = _classifier(*_version(path))
    if section.label not in classifier.labels:
        raise DataError(
            f"the classifier has no label '{section.label}'",
            "curate.classifier.label",
            did_you_mean(section.label, classifier.labels),
        )
    margins = classifier.log_odds(texts)[:, classifier.labels.index(section.label)]
    probabilities = np.exp(-np.logaddexp(0, -margins))
    return {
        "probability": pa.array(np.round(probabilities, PROBABILITY_DECIMALS), mask=exempt),
        "margin": pa.array(np.round(margins, MARGIN_DECIMALS), mask=exempt),
    }


def learned_bounds(
    measured: Sequence[Path],
    perplexity: PerplexitySection | None,
    classifier: ClassifierSection | None,
) -> Learned | None:
    """Bounds over what stands of all shards, and what stands behind them; None where both are off.

    The fractions of the classifier are of what the perplexity has left.
    """
    if perplexity is None and classifier is None:
        return None
    names = [DROPPED_BY]
    names += [PERPLEXITY] if perplexity else []
    names += [PROBABILITY, MARGIN, TEXT_BYTES] if classifier else []
    table = pa.concat_tables(read_shard(path, names) for path in measured)
    stands = pc.is_null(table[DROPPED_BY]).to_numpy()
    head = middle = margin = float("nan")
    if perplexity is not None:
        values = _numbers(table[PERPLEXITY])
        head, middle = _bucket_ends(values[stands], perplexity)
        for gone, _, _ in _beyond_perplexity(values, head, middle, perplexity):
            stands &= ~gone
    if classifier is not None:
        sizes = _numbers(table[TEXT_BYTES])
        likely, margins = (_numbers(table[each]) for each in (PROBABILITY, MARGIN))
        margin = _least_margin(likely[stands], margins[stands], sizes[stands], classifier)
        for gone, _, _, _ in _beyond_classifier(likely, margins, margin, classifier):
            stands &= ~gone
    return Learned(Bounds(head, middle, margin), stands)


def judge_learned(
    measured: pa.Table,
    bounds: Bounds,
    perplexity: PerplexitySection | None,
    classifier: ClassifierSection | None,
    decisions: Decisions,
) -> pa.Table:
    """Drop documents of one shard beyond the bounds; the table with the bucket of each document."""
    if perplexity is not None:
        values = _numbers(measured[PERPLEXITY])
        for gone, threshold, evidence in _beyond_perplexity(
            values, bounds.head, bounds.middle, perplexity
        ):
            _drop(decisions, "perplexity", gone, values, threshold, evidence)
        measured = measured.append_column(BUCKET, _buckets(values, bounds.head, bounds.middle))
    if classifier is not None:
        likely, margins = (_numbers(measured[each]) for each in (PROBABILITY, MARGIN))
        for beyond in _beyond_classifier(likely, margins, bounds.margin, classifier):
            _drop(decisions, "classifier", *beyond)
    return measured


def _drop(
    decisions: Decisions, by: str, gone: Array, values: Array, threshold: float, evidence: str
) -> None:
    decisions.drop(np.flatnonzero(gone), by, value=values, threshold=threshold, evidence=evidence)


Beyond = list[tuple[Array, float, str]]  # which documents, beyond which bound, on what evidence


def _beyond_perplexity(
    values: Array, head: float, middle: float, section: PerplexitySection
) -> Beyond:
    # A value that is not a number is beyond nothing.
    found: Beyond = []
    if section.min_perplexity is not None:
        found.append((values < section.min_perplexity, section.min_perplexity, "min_perplexity"))
    if section.max_perplexity is not None:
        found.append((values > section.max_perplexity, section.max_perplexity, "max_perplexity"))
    where = {
        HEAD: (values <= head, head),
        MIDDLE: ((values > head) & (values <= middle), middle),
        TAIL: (values > middle, middle),
    }
    found += [(*where[name], f"bucket {name}") for name in BUCKETS if name not in section.keep]
    return found


def _beyond_classifier(
    probabilities: Array, margins: Array, least: float, section: ClassifierSection
) -> list[tuple[Array, Array, float, str]]:
    """Which documents, by which of their values, beyond which bound, on what evidence."""
    found = []
    if section.min_probability is not None:
        lower = probabilities < section.min_probability
        evidence = f"{section.label}: min_probability"
        found.append((lower, probabilities, section.min_probability, evidence))
    if section.keep_fraction is not None:
        found.append((margins < least, margins, least, f"{section.label}: keep_fraction"))
    return found


def _bucket_ends(values: Array, section: PerplexitySection) -> tuple[float, float]:
    if section.max_head_perplexity is not None and section.max_middle_perplexity is not None:
        return section.max_head_perplexity, section.max_middle_perplexity
    values = np.sort(values[~np.isnan(values)])
    low, high = section.min_perplexity, section.max_perplexity
    values = values[(values >= (low or 0)) & (values <= (np.inf if high is None else high))]
    if not len(values):
        return float("nan"), float("nan")
    # The value of the last document of each bucket: numbers of the corpus, not between two of them.
    head = round(section.head_fraction * len(values))
    middle = round((1 - section.tail_fraction) * len(values))
    ends = [float(values[count - 1]) if count else 0.0 for count in (head, middle)]
    return ends[0], ends[1]


def _least_margin(
    probabilities: Array, margins: Array, sizes: Array, section: ClassifierSection
) -> float:
    judged = ~np.isnan(margins)
    if section.min_probability is not None:
        judged &= probabilities >= section.min_probability
    values, sizes = margins[judged], sizes[judged]
    if section.keep_fraction is None or not len(values):
        return float("nan")
    order = np.argsort(-values, kind="stable")
    if section.keep_of == "documents":
        return float(values[order[max(1, round(section.keep_fraction * len(values))) - 1]])
    so_far = np.cumsum(sizes[order])
    place = int(np.searchsorted(so_far, section.keep_fraction * so_far[-1]))
    return float(values[order[min(place, len(values) - 1)]])


def _buckets(values: Array, head: float, middle: float) -> pa.Array:
    place = (values > head).astype(np.int64) + (values > middle)
    missing = np.isnan(values) | np.isnan(head)
    return pa.array(np.array(BUCKETS, object)[place], pa.string(), mask=missing)


def _numbers(column: pa.ChunkedArray) -> Array:
    numbers: Array = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return numbers


def _without(
    texts: pa.LargeStringArray, kinds: Sequence[str], exempt_kinds: Sequence[str]
) -> tuple[pa.LargeStringArray, Array]:
    exempt = np.isin(np.array(kinds, object), exempt_kinds)
    return (pc.if_else(pa.array(exempt), "", texts) if exempt.any() else texts), exempt


def _version(path: Path) -> tuple[Path, int, int]:
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=2)
def _model(path: Path, modified: int, size: int) -> WordModel:
    return load_words(path)


@functools.lru_cache(maxsize=2)
def _classifier(path: Path, modified: int, size: int) -> Classifier:
    return load_classifier(path)
