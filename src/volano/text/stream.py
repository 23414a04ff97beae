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
from volano.core.errors import DataError, StoreError
from volano.core.files import file_digest, read_json
from volano.text.curriculum import ANNEAL, Curriculum, parts_of, schedule
from volano.text.document_values import row_means, values_of
from volano.text.pack import FORMAT, META_FILE, SPANS_FILE, TOKENS_FILE
from volano.text.tokenizer import Tokenizer

Array = npt.NDArray[Any]
IGNORED_LABEL = -100  # padding, and whatever is not to be learnt; torch's own default


class Batch(NamedTuple):
    """Arrays of one step; the training loop makes tensors of them."""

    tokens_BT: Any  # int64
    labels_BT: Any  # int64, already shifted: labels_BT[:, t] is what tokens_BT[:, : t + 1] predict
    document_BT: Any  # int64, another number for each document of a row and for its padding


class Place(NamedTuple):
    """Consecutive positions of a row that hold tokens of one document."""

    document: str
    begin: int  # the first position in the row
    length: int
    offset: int  # of the first token in its document, whose end-of-text token is 0


class TokenShards:
    """A folder written by `pack_documents`, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        try:
            self.meta: dict[str, Any] = read_json(folder / META_FILE)
        except StoreError as problem:
            raise DataError(problem.what, problem.where, "Name a folder of tokens.") from None
        if self.meta["format"] > FORMAT:
            raise DataError(
                f"packed by a newer Volano (format {self.meta['format']})",
                str(folder),
                "Upgrade Volano to read it.",
            )
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
        self.row, self.begin, self.length, self.offset = (
            spans[name].to_numpy() for name in ("row", "begin", "length", "offset")
        )
        # combine_chunks of a one-chunk table keeps one dictionary, so indices are comparable.
        documents = spans["document"].chunk(0)
        self.document = documents.indices.to_numpy()
        self.documents: list[str] = documents.dictionary.to_pylist()
        self._first_span = np.searchsorted(self.row, np.arange(self.rows + 1))

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise DataError where a file is not as it was packed, or another tokenizer packed it.

        Reads every byte, at about the speed of the disk.
        """
        where = str(self.folder)
        if "digests" not in self.meta:
            raise DataError("packed by an older Volano, without digests", where, "Pack it anew.")
        for name, digest in self.meta["digests"].items():
            path = self.folder / name
            if not path.is_file() or file_digest(path) != digest:
                what = "changed since it was packed" if path.is_file() else "missing"
                remedy = "Delete its folder and run again to pack it anew."
                raise DataError(what, str(path), remedy)
        if self.meta["tokenizer"] != tokenizer.digest:
            sizes = f"{self.meta['vocabulary']:,} tokens, this one {tokenizer.vocabulary:,}"
            raise DataError(
                f"packed with another tokenizer (it has {sizes})",
                where,
                "Name the tokenizer that packed it, or pack anew with this one.",
            )

    def places(self, row: int) -> list[Place]:
        """What stands in a row, in order, padding left out. Raises DataError for no such row."""
        if not 0 <= row < self.rows:
            what = f"no row {row}: there are {self.rows:,}, counted from 0"
            raise DataError(what, str(self.folder), "Name one of them.")
        spans = range(self._first_span[row], self._first_span[row + 1])
        return [
            Place(
                self.documents[self.document[span]],
                *(int(each[span]) for each in (self.begin, self.length, self.offset)),
            )
            for span in spans
        ]

    def document_at(self, row: int, position: int) -> str | None:
        """The id of the document whose token stands there; None for padding. Raises DataError."""
        if not 0 <= position < self.context:
            what = f"no position {position}: a row has {self.context:,}, counted from 0"
            raise DataError(what, str(self.folder), "Name one of them.")
        for place in self.places(row):
            if place.begin <= position < place.begin + place.length:
                return place.document
        return None

    def row_means(self, by: str) -> Array:
        """The mean of an attribute over the tokens of each row. Raises DataError."""
        values = values_of(self.folder, by, self.documents)
        return row_means(self.row, self.length, values[self.document], self.rows)

    def best_rows(self, by: str, share: float, *, lowest: bool) -> Array:
        """Whether each row holds documents of the best share of its kind alone. Raises DataError
        where they were not packed apart, and where all documents are among the best."""
        sign = -1 if lowest else 1
        values = sign * values_of(self.folder, by, self.documents)
        worst = np.full(self.rows, np.inf)
        np.minimum.at(worst, self.row, values[self.document])
        best = np.zeros(self.rows, bool)
        cuts = {
            each["kind"]: each["value"]
            for each in self.meta.get("cuts", [])
            if (each["by"], each["share"], each["lowest"]) == (by, share, lowest)
        }
        for kind, each in self.meta["kinds"].items():
            if not each["rows"]:
                continue
            if kind not in cuts:
                what = f"the best {share:.0%} by '{by}' were not packed apart"
                raise DataError(what, str(self.folder), "Pack anew with the settings of the run.")
            rows = slice(each["first_row"], each["first_row"] + each["rows"])
            best[rows] = worst[rows] >= sign * cuts[kind]
        if best.all():
            raise DataError(
                f"every document is among the best {share:.0%} by '{by}': its values are all alike",
                "pretrain.curriculum.anneal.by",
                "Name an attribute that tells documents apart.",
            )
        return best

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
    none of its rows comes again before all the others have. curriculum: what changes over the run
    (text/curriculum.py).
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        steps: int,
        batch_rows: int,
        seed: int,
        mixture: Mapping[str, float] | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.shards = shards
        self.steps = steps
        self.batch_rows = batch_rows
        curriculum = curriculum or Curriculum()
        self.parts = parts_of(curriculum, steps, mixture or {})
        order, anneal = curriculum.order, curriculum.anneal
        self._best: Array | None = None
        if anneal is not None:
            self._best = shards.best_rows(anneal.by, anneal.best, lowest=anneal.lowest)
        self._rows = schedule(
            shards.meta["kinds"],
            self.parts,
            curriculum,
            batch_rows=batch_rows,
            seed=seed,
            means=shards.row_means(order.by) if order is not None else None,
            best=self._best,
            noun=shards.meta.get("by", "kind"),
        )

    @property
    def tokens_per_step(self) -> int:
        """Positions in a batch, padding included."""
        return self.batch_rows * self.shards.context

    @property
    def evenly(self) -> bool:
        """Whether all rows are read equally often, but for the epoch that the run ends in."""
        return len(self.parts) == 1 and not self.parts[0].mixture and self._best is None

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
        left_out = [step for step in without if step < until_step]
        return self.shards.documents_in(np.delete(rows, left_out, axis=0).ravel())

    def epochs(self) -> dict[str, float]:
        """How often each kind is read over."""
        return self._epochs(self._rows, np.ones(self.shards.rows, bool))

    def epochs_of_parts(self) -> dict[str, dict[str, float]]:
        """Part → kind → how often the part reads it over; of an anneal, the best rows of it."""
        found: dict[str, dict[str, float]] = {}
        for part in self.parts:
            rows = self._rows[part.begin * self.batch_rows : part.end * self.batch_rows]
            counted = np.ones(self.shards.rows, bool)
            if part.name == ANNEAL and self._best is not None:
                counted = self._best
            into = found.setdefault(part.name, {})
            for kind, epochs in self._epochs(rows, counted).items():
                into[kind] = into.get(kind, 0.0) + epochs  # an anneal may go over two stages
        return found

    def best_share(self) -> float:
        """The tokens that an anneal may read, of all; they are more than asked for where many
        documents have the same value. 0 where there is no anneal."""
        if self._best is None:
            return 0.0
        tokens = np.bincount(self.shards.row, self.shards.length, minlength=self.shards.rows)
        return float(tokens[self._best].sum() / tokens.sum())

    def _epochs(self, rows: Array, counted: Array) -> dict[str, float]:
        drawn = np.bincount(rows, minlength=self.shards.rows)
        found = {}
        for kind, each in self.shards.meta["kinds"].items():
            mine = slice(each["first_row"], each["first_row"] + each["rows"])
            if drawn[mine].any():
                found[kind] = float(drawn[mine][counted[mine]].mean())
        return found

    def _rows_of(self, step: int) -> Array:
        assert 0 <= step < self.steps, "a step outside the run"
        return self._rows[step * self.batch_rows : (step + 1) * self.batch_rows]
