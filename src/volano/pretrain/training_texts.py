"""The texts of a curated corpus that training may read, as often as its mixture has them read.

Only documents of split train. A corpus without a mixture is read once; of one with a mixture, the
second reading holds the documents that are read at least twice, and so on.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard
from volano.core.errors import DataError
from volano.core.files import read_json, write_json
from volano.core.mixture import MIXTURE_FILE, TRAIN, Mixture, with_mix
from volano.text.pack import SPANS_FILE

MOST_BILLED = 20  # groups; the bill is no table


class PackedPortion(NamedTuple):
    """One group in packed tokens. `epochs` are over its bytes of the kinds that were packed."""

    group: str
    documents: int
    tokens: int
    share: float  # of all tokens
    epochs: float


class TrainingTexts:
    """The training documents of a corpus. What is read is counted by group on the way."""

    def __init__(self, corpus: Corpus, by: str = "kind") -> None:
        self.corpus = corpus
        self.by = by  # the field that sets kinds apart: kind, or source
        self.mixture = Mixture.of(corpus)
        self._counted: set[str] = set()  # kinds
        self._bytes: Counter[str] = Counter()
        self._bytes_read: Counter[str] = Counter()
        self._group_of: dict[str, str] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all readings, other splits included where there is no mixture."""
        if self.mixture is None:
            return int(self.corpus.manifest["text_bytes"])
        return self.mixture.bytes_read

    def count(self, kinds: Sequence[str]) -> int:
        """Readings of documents in all, about: for a progress bar."""
        documents = sum(int(self.corpus.manifest[f"{self.by}s"][kind]) for kind in kinds)
        if self.mixture is None:
            return documents
        portions = self.mixture.portions
        passes = sum(each.planned_epochs * each.documents for each in portions)
        return round(documents * passes / sum(each.documents for each in portions))

    def readings(self, kind: str) -> list[Iterator[tuple[str, str]]]:
        """(id, text) of each document of a kind; the first reading, and those of what comes again.

        Each can be gone through once.
        """
        if self.mixture is None:
            return [self._once(kind)]
        most = max(math.ceil(each.planned_epochs) for each in self.mixture.portions)
        return [self._reading(kind, number) for number in range(1, most + 1)]

    def texts(self, kind: str) -> Iterator[str]:
        """The text of each document, as often as it is read, in the order of the corpus."""
        for _, table in self._shards(kind):
            passes = [1] * len(table) if self.mixture is None else table["passes"].to_pylist()
            for text, times in zip(table["text"].to_pylist(), passes, strict=True):
                for _ in range(times):
                    yield text

    def check_kinds(self, kinds: Sequence[str]) -> None:
        """Raise DataError where shares of kinds are given twice."""
        if kinds and self.mixture is not None and self.mixture.by == self.by:
            raise DataError(
                f"the corpus is mixed by {self.by} already",
                "pretrain.mixture",
                "Leave it out, or curate without curate.mix.",
            )

    def save_portions(self, folder: Path) -> list[PackedPortion]:
        """Write what each group became in the packed tokens beside them; nothing without a mixture.

        The readings have been gone through.
        """
        if self.mixture is None:
            return []
        found = self._portions(read_shard(folder / SPANS_FILE))
        groups = [each._asdict() for each in found]
        plain = {"by": self.mixture.by, "max_epochs": self.mixture.max_epochs, "groups": groups}
        write_json(folder / MIXTURE_FILE, plain)
        return found

    def _portions(self, spans: pa.Table) -> list[PackedPortion]:
        counted = pa.table({"id": spans["document"].cast(pa.string()), "length": spans["length"]})
        tokens: Counter[str] = Counter()
        documents: Counter[str] = Counter()
        for row in counted.group_by("id").aggregate([("length", "sum")]).to_pylist():
            group = self._group_of[row["id"]]
            tokens[group] += row["length_sum"]
            documents[group] += 1
        total = tokens.total()
        return [
            PackedPortion(
                group,
                documents[group],
                tokens[group],
                round(tokens[group] / total, 6),
                round(self._bytes_read[group] / size, 6) if size else 0.0,
            )
            for group, size in sorted(self._bytes.items())
        ]

    def _once(self, kind: str) -> Iterator[tuple[str, str]]:
        for _, table in self._shards(kind):
            yield from zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)

    def _reading(self, kind: str, number: int) -> Iterator[tuple[str, str]]:
        counting = number == 1 and kind not in self._counted  # tiers read a kind several times
        for _, table in self._shards(kind):
            if counting:
                self._count(table)
            read = table.filter(pc.greater_equal(table["passes"], number))
            yield from zip(read["id"].to_pylist(), read["text"].to_pylist(), strict=True)
        if counting:
            self._counted.add(kind)

    def _count(self, table: pa.Table) -> None:
        groups, ids = table["group"].to_pylist(), table["id"].to_pylist()
        sizes = pc.binary_length(table["text"]).fill_null(0).to_pylist()
        passes = table["passes"].to_pylist()
        for group, name, size, times in zip(groups, ids, sizes, passes, strict=True):
            self._bytes[group] += size
            self._bytes_read[group] += size * times
            self._group_of[name] = group

    def read(self, kind: str) -> Iterator[tuple[Path, pa.Table]]:
        """Each shard of the corpus, with those of its documents that training reads: id, text,
        kind, source, split, and `group` and `passes` where there is a mixture."""
        for shard, table in self._shards(kind):
            read = self.mixture is not None
            yield shard, table.filter(pc.field("passes") > 0) if read else table

    def _shards(self, kind: str) -> Iterator[tuple[Path, pa.Table]]:
        columns = ["id", "text", "kind", "source", "split"]
        for shard in self.corpus.shards():
            table = read_shard(shard, columns)
            if self.mixture is not None:
                table = with_mix(self.corpus, shard, table)
            yield shard, table.filter((pc.field(self.by) == kind) & (pc.field("split") == TRAIN))


def bill_of(portions: Sequence[PackedPortion]) -> dict[str, Any]:
    """Tokens and epochs of the largest groups, as a bill has them."""
    largest = sorted(portions, key=lambda each: (-each.tokens, each.group))[:MOST_BILLED]
    tokens = {f"tokens.{each.group}": each.tokens for each in largest}
    return tokens | {f"epochs.{each.group}": each.epochs for each in largest}


def bill_of_run(tokens: Path, rounds: float) -> dict[str, float]:
    """How often a run over packed tokens reads the text of the group that it reads most, and the
    limit of the mixture, as a bill has them; nothing without a mixture.

    rounds: over all rows, each as often as any other.
    """
    path = tokens / MIXTURE_FILE
    if not path.is_file():
        return {}
    plain = read_json(path)
    most = max(each["epochs"] for each in plain["groups"])
    return {"most_group_epochs": round(rounds * most, 3), "max_epochs": plain["max_epochs"]}
