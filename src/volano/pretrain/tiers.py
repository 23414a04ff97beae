"""Numbers of the documents that are packed, and which of them share rows.

A row of several documents has the mean of their values. Packed at random, the means of all rows
lie close together, so documents are packed with their like where a curriculum asks for it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.core.corpus import Corpus, read_shard
from volano.core.errors import DataError, did_you_mean
from volano.pretrain.curriculum import LENGTH, TierSection
from volano.pretrain.training_texts import TrainingTexts
from volano.text.document_values import Cut, DocumentValues

WHERE = "pretrain.curriculum"
Array = npt.NDArray[np.float64]


class Tiers:
    """The values of all documents of some kinds that training reads, and their tiers.

    Raises DataError for an attribute that is not there, is no number, or is not known of each of
    the documents.
    """

    def __init__(
        self, documents: TrainingTexts, kinds: Sequence[str], tiers: Sequence[TierSection]
    ) -> None:
        names = list(dict.fromkeys(tier.by for tier in tiers))
        for name in names:
            _check(documents.corpus, name)
        values: dict[str, dict[str, float]] = {name: {} for name in names}
        cuts: list[Cut] = []
        self._tier_of: dict[str, tuple[int, ...]] = {}
        self._tiers: dict[str, list[tuple[int, ...]]] = {}
        for kind in kinds:
            ids, weights, found = _read(documents, kind, names)
            for name in names:
                values[name].update(zip(ids, found[name].tolist(), strict=True))
            places = []
            for tier in tiers:
                sign = -1 if tier.lowest else 1
                signed = sign * found[tier.by]
                bounds = _bounds(signed, weights, tier.shares)
                cuts += [
                    Cut(tier.by, tier.lowest, share, kind, float(sign * bound))
                    for share, bound in zip(tier.shares, bounds, strict=True)
                ]
                places.append([int(each) for each in (signed[:, None] >= bounds).sum(axis=1)])
            found_tiers = list(zip(*places, strict=True))
            self._tier_of.update(zip(ids, found_tiers, strict=True))
            self._tiers[kind] = sorted(set(found_tiers))
        self.values = DocumentValues(values, cuts)

    def readings(self, documents: TrainingTexts, kind: str) -> list[Iterator[tuple[str, str]]]:
        """Those of `TrainingTexts`, each cut into its tiers; the best last."""
        passes = len(documents.readings(kind))
        return [
            self._of(documents.readings(kind)[number], tier)
            for number in range(passes)
            for tier in self._tiers[kind]
        ]

    def _of(
        self, reading: Iterator[tuple[str, str]], tier: tuple[int, ...]
    ) -> Iterator[tuple[str, str]]:
        return ((name, text) for name, text in reading if self._tier_of[name] == tier)


def _bounds(signed: Array, weights: Array, shares: Sequence[float]) -> Array:
    """For each share the value from which on documents are that share of the weight, or more."""
    order = np.argsort(-signed, kind="stable")
    held = np.cumsum(weights[order])
    if not len(held):
        return np.zeros(len(shares))
    wanted = np.array(shares) * held[-1]
    first = np.searchsorted(held, wanted * (1 - 1e-12))
    bounds: Array = signed[order][np.minimum(first, len(order) - 1)]
    return bounds


def _read(
    documents: TrainingTexts, kind: str, names: Sequence[str]
) -> tuple[list[str], Array, dict[str, Array]]:
    """Of each document that is read: id, bytes of all its readings, and its values by attribute."""
    ids: list[str] = []
    weights: list[Array] = [np.empty(0)]
    found: dict[str, list[Array]] = {name: [np.empty(0)] for name in names}
    missing = dict.fromkeys(names, 0)
    for shard, table in documents.read(kind):
        sizes = pc.binary_length(table["text"]).fill_null(0).to_numpy().astype(np.float64)
        ids += table["id"].to_pylist()
        passes = table["passes"].to_numpy() if "passes" in table.column_names else 1
        weights.append(sizes * passes)
        for name in names:
            column = sizes if name == LENGTH else _column(documents.corpus, shard.name, name, table)
            found[name].append(column)
            missing[name] += int(np.isnan(column).sum())
    for name, count in missing.items():
        if count:
            raise DataError(
                f"{count:,} of {len(ids):,} documents of '{kind}' have no '{name}'",
                WHERE,
                "Name an attribute that each has, or curate with what measures it.",
            )
    return (
        ids,
        np.concatenate(weights),
        {name: np.concatenate(each) for name, each in found.items()},
    )


def _column(corpus: Corpus, shard: str, name: str, table: pa.Table) -> Array:
    group, column = name.split(".", 1)
    path = corpus.folder / "attributes" / group / shard
    if not path.is_file():
        return np.full(len(table), np.nan)
    attributes = read_shard(path, ["id", column])
    places = pc.index_in(table["id"], attributes["id"].cast(table["id"].type).combine_chunks())
    values = attributes[column].cast(pa.float64()).take(places)
    return np.asarray(values.fill_null(np.nan).to_numpy(), np.float64)


def _check(corpus: Corpus, name: str) -> None:
    if name == LENGTH:
        return
    kinds = {LENGTH: pa.int64()}
    for group in corpus.groups():
        schema = pq.read_schema(corpus.shards(f"attributes/{group}")[0])
        kinds |= {f"{group}.{each.name}": each.type for each in schema if each.name != "id"}
    numbers = [each for each, kind in kinds.items() if _is_number(kind)]
    if name not in kinds:
        raise DataError(
            f"no attribute '{name}' beside the documents", WHERE, did_you_mean(name, numbers)
        )
    if name not in numbers:
        what = f"the attribute '{name}' holds {kinds[name]} and no numbers"
        raise DataError(what, WHERE, did_you_mean(name, numbers))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
