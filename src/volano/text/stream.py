"""Batches as a pure function of the step, so that the cursor of a run is one integer.

A run stopped at any step and resumed reads what an undisturbed run would have read: nothing is
buffered, and order and mixture follow from the seed alone.

Shapes: B rows, T positions.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from volano.core.corpus import read_shard
from volano.core.errors import DataError, StoreError, did_you_mean
from volano.core.files import read_json
from volano.text.pack import META_FILE, SPANS_FILE, TOKENS_FILE

Array = npt.NDArray[Any]
IGNORED_LABEL = -100  # padding, and whatever is not to be learnt; torch's own default


class Batch(NamedTuple):
    """Arrays of one step; the training loop makes tensors of them."""

    tokens_BT: Any  # int64
    labels_BT: Any  # int64, already shifted: labels_BT[:, t] is what tokens_BT[:, : t + 1] predict
    document_BT: Any  # int64, another number for each document of a row and for its padding


class TokenShards:
    """A folder written by `pack_documents`, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        try:
            self.meta: dict[str, Any] = read_json(folder / META_FILE)
        except StoreError as problem:
            raise DataError(problem.what, problem.where, "Name a folder of tokens.") from None
        self.folder = folder
        self.context = int(self.meta["context"])
        self.rows = int(self.meta["rows"])
        self.end_of_text_id = int(self.meta["end_of_text_id"])
        dtype = np.dtype(self.meta["dtype"])
        slots = self.context + 1
        path = folder / TOKENS_FILE
        found = path.stat().st_size if path.is_file() else 0
        if found != self.rows * slots * dtype.itemsize:
            raise DataError(
                f"{found:,} bytes instead of {self.rows * slots * dtype.itemsize:,}",
                str(path),
                "Delete its folder and run again to pack it anew.",
            )
        self._slots = np.memmap(path, dtype, "r", shape=(self.rows, slots))
        spans = read_shard(folder / SPANS_FILE).combine_chunks()
        self.row, self.begin, self.length = (
            spans[name].to_numpy() for name in ("row", "begin", "length")
        )
        # combine_chunks of a one-chunk table keeps one dictionary, so indices are comparable.
        documents = spans["document"].chunk(0)
        self.document = documents.indices.to_numpy()
        self.documents: list[str] = documents.dictionary.to_pylist()
        self._first_span = np.searchsorted(self.row, np.arange(self.rows + 1))

    def read(self, rows: Array) -> Batch:
        """The batch of these rows."""
        slots = self._slots[rows].astype(np.int64)
        tokens_BT, labels_BT = slots[:, :-1], slots[:, 1:].copy()
        document_BT = np.zeros_like(tokens_BT)
        for place, row in enumerate(rows):
            spans = slice(self._first_span[row], self._first_span[row + 1])
            begins, end = self.begin[spans], self.begin[spans][-1] + self.length[spans][-1]
            document_BT[place, begins[1:]] = 1
            # The token after a document is another's; its last position predicts its end.
            labels_BT[place, begins[1:] - 1] = self.end_of_text_id
            if end < self.context:
                document_BT[place, end] = 1
                labels_BT[place, end:] = IGNORED_LABEL
        return Batch(tokens_BT, labels_BT, document_BT.cumsum(axis=1))

    def documents_in(self, rows: Array) -> dict[str, int]:
        """The documents in these rows, in the order of packing, and how many of their tokens; a
        row named twice counts twice."""
        drawn = np.bincount(rows, minlength=self.rows)
        tokens = np.bincount(
            self.document, self.length * drawn[self.row], minlength=len(self.documents)
        )
        return {self.documents[place]: int(tokens[place]) for place in np.flatnonzero(tokens)}


class TokenStream:
    """The batches of a run: `steps` of them, each of `batch_rows` rows.

    mixture: the share of tokens of each kind; kinds left out are not read. Empty: each kind by
    its size. Shares need not add up to one. A kind is read in a fresh random order per epoch, and
    none of its rows comes again before all the others have.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        steps: int,
        batch_rows: int,
        seed: int,
        mixture: Mapping[str, float] | None = None,
    ) -> None:
        self.shards = shards
        self.steps = steps
        self.batch_rows = batch_rows
        self._rows = _schedule(shards.meta["kinds"], steps * batch_rows, seed, mixture or {})

    @property
    def tokens_per_step(self) -> int:
        """Positions in a batch, padding included."""
        return self.batch_rows * self.shards.context

    @property
    def rows(self) -> Array:
        """The rows that the run reads, each once, in order."""
        return np.unique(self._rows)

    def batch(self, step: int) -> Batch:
        """What step number `step`, counted from 0, trains on."""
        return self.shards.read(self._rows_of(step))

    def documents_at(self, step: int) -> list[str]:
        """The documents in one batch."""
        return list(self.shards.documents_in(self._rows_of(step)))

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> dict[str, int]:
        """The documents in all batches before that step but those of some steps, and how many of
        their tokens were read; a token read in two epochs counts twice."""
        rows = self._rows[: until_step * self.batch_rows].reshape(until_step, self.batch_rows)
        return self.shards.documents_in(np.delete(rows, list(without), axis=0).ravel())

    def epochs(self) -> dict[str, float]:
        """How often each kind is read over."""
        kinds = self.shards.meta["kinds"]
        drawn = np.bincount(self._rows, minlength=self.shards.rows)
        found = {}
        for kind, each in kinds.items():
            mine = drawn[each["first_row"] : each["first_row"] + each["rows"]]
            if mine.any():
                found[kind] = float(mine.mean())
        return found

    def _rows_of(self, step: int) -> Array:
        assert 0 <= step < self.steps, "a step outside the run"
        return self._rows[step * self.batch_rows : (step + 1) * self.batch_rows]


def _schedule(
    kinds: Mapping[str, Mapping[str, int]], total: int, seed: int, mixture: Mapping[str, float]
) -> Array:
    shares = {kind: share for kind, share in mixture.items() if share > 0} or {
        kind: each["rows"] for kind, each in kinds.items() if each["rows"]
    }
    for kind in shares:
        if not kinds.get(kind, {}).get("rows"):
            known = [each for each in kinds if kinds[each]["rows"]]
            raise DataError(
                f"no tokens of kind '{kind}'", "pretrain.mixture", did_you_mean(kind, known)
            )
    names = [kind for kind in kinds if kind in shares]
    counts = _apportion(np.array([shares[kind] for kind in names], np.float64), total)
    generator = np.random.default_rng([seed, 0])
    order = generator.permutation(np.repeat(np.arange(len(names)), counts))
    rows = np.empty(total, np.int64)
    for place, kind in enumerate(names):
        first, size = kinds[kind]["first_row"], kinds[kind]["rows"]
        epochs = -(-int(counts[place]) // size)
        # One generator per kind and epoch: a longer run begins with the rows of a shorter epoch.
        drawn = [
            np.random.default_rng([seed, 1, first, epoch]).permutation(size)
            for epoch in range(epochs)
        ]
        rows[order == place] = first + np.concatenate(drawn or [order[:0]])[: counts[place]]
    return rows


def _apportion(shares: Array, total: int) -> Array:
    # Largest remainder: whole rows that add up to the total, each less than one off its share.
    exact = shares / shares.sum() * total
    counts: Array = np.floor(exact).astype(np.int64)
    short = total - int(counts.sum())
    counts[np.argsort(-(exact - counts), kind="stable")[:short]] += 1
    return counts
