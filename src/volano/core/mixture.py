"""How often training reads each document of a corpus: curation writes it, packing obeys it.

    mixture.json                    groups of documents: their sizes, shares and epochs
    attributes/mix/00000.parquet    of each document its group, and how often it is read

A corpus without them is read once. Documents that were dropped have a group and no number; those
of other splits than train are read by no training, so their number is 0.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard
from volano.core.errors import DataError
from volano.core.files import read_json, write_json

MIXTURE_FILE = "mixture.json"
MIX = "mix"  # the group of attributes
TRAIN = "train"  # the only split that a model may learn from


@dataclass(frozen=True)
class Portion:
    """One group of the training documents. Bytes are of UTF-8 text; shares are of bytes."""

    group: str
    documents: int
    bytes: int
    natural_share: float
    wanted_share: float
    planned_epochs: float  # after max_epochs
    documents_read: int  # at least once
    bytes_read: int  # of a document that is read twice, twice
    got_share: float

    @property
    def epochs(self) -> float:
        """How often the group is read, on average over its bytes."""
        return self.bytes_read / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class Mixture:
    """The groups in the order of their names. `notes` say where a wish was not met."""

    by: str
    seed: int
    max_epochs: float
    portions: tuple[Portion, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus) -> "Mixture | None":
        """The mixture of a corpus; None where it has none. Raises DataError for a damaged one."""
        path = corpus.folder / MIXTURE_FILE
        if not path.is_file():
            return None
        plain = read_json(path)
        try:
            portions = tuple(
                Portion(**{name: each[name] for name in Portion.__dataclass_fields__})
                for each in plain["groups"]
            )
            notes = tuple(plain["notes"])
            return cls(plain["by"], plain["seed"], plain["max_epochs"], portions, notes)
        except (KeyError, TypeError):
            raise DataError(
                "no mixture as it is written", str(path), "Delete the corpus and run again."
            ) from None

    @property
    def bytes_read(self) -> int:
        """Bytes of all readings."""
        return sum(each.bytes_read for each in self.portions)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        groups = [{**asdict(each), "epochs": round(each.epochs, 6)} for each in self.portions]
        return {
            "by": self.by,
            "seed": self.seed,
            "max_epochs": self.max_epochs,
            "groups": groups,
            "notes": list(self.notes),
        }

    def save(self, folder: Path) -> None:
        """Write mixture.json."""
        write_json(folder / MIXTURE_FILE, self.plain())


def origins_read(corpus: Corpus) -> dict[str, dict[str, int]]:
    """`sources` and `licences` of the documents that training reads: name → documents. Those that a
    mixture leaves out are none of them; without a mixture, as the manifest has them."""
    if Mixture.of(corpus) is None:
        return {name: dict(corpus.manifest[name]) for name in ("sources", "licences")}
    sources: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for shard in corpus.shards():
        table = with_mix(corpus, shard, read_shard(shard, ["id", "source", "licence"]))
        table = table.filter(pc.greater(table["passes"], 0))
        sources.update(table["source"].to_pylist())
        licences.update(value or "not stated" for value in table["licence"].to_pylist())
    return {"sources": dict(sorted(sources.items())), "licences": dict(sorted(licences.items()))}


def largest_first(groups: Sequence[Mapping[str, Any]], size: str, most: int) -> list[Any]:
    """The groups of a table that a person reads: the largest by `size`, at most so many."""
    return sorted(groups, key=lambda each: (-each[size], each["group"]))[:most]


def with_mix(corpus: Corpus, shard: Path, table: pa.Table) -> pa.Table:
    """A shard of `data` with the columns `group` and `passes` of each document behind its own.

    Raises DataError where the attributes are of other documents.
    """
    found = read_shard(corpus.folder / "attributes" / MIX / shard.name)
    found = found.filter(pc.is_valid(found["passes"]))  # of the documents that were kept
    if not found["id"].equals(table["id"]):
        raise DataError(
            "the mixture is of other documents than the shard",
            str(shard),
            "Delete the corpus and run again to build it anew.",
        )
    for name in ("group", "passes"):
        table = table.append_column(name, found[name])
    return table
