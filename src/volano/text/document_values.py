"""Numbers of documents that travel with their packed tokens, so that rows can be ordered by them.

    attributes.parquet    document, and a float64 column per attribute; only where one is asked for
    meta.json             `cuts`: from which value on a document is among the best share of a kind

Documents on two sides of a cut never share a row, so each row is wholly among the best or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.corpus import read_shard, write_shard
from volano.core.errors import DataError

Array = npt.NDArray[Any]
VALUES_FILE = "attributes.parquet"


class Cut(NamedTuple):
    """The best share of a kind's text by an attribute: values of at least `value`, or at most."""

    by: str
    lowest: bool
    share: float
    kind: str
    value: float


@dataclass(frozen=True)
class DocumentValues:
    """Attribute → document → its number, and the cuts."""

    values: Mapping[str, Mapping[str, float]]
    cuts: Sequence[Cut] = ()

    def save(self, folder: Path, documents: Sequence[str]) -> None:
        """Write the numbers of these documents."""
        columns = {
            by: pa.array([found[each] for each in documents], pa.float64())
            for by, found in self.values.items()
        }
        table = pa.table({"document": pa.array(documents, pa.string()), **columns})
        write_shard(folder / VALUES_FILE, table)


def values_of(folder: Path, by: str, documents: Sequence[str]) -> Array:
    """The numbers of these documents. Raises DataError where they were packed without."""
    if (folder / VALUES_FILE).is_file():
        table = read_shard(folder / VALUES_FILE)
        if by in table.column_names and table["document"].to_pylist() == list(documents):
            return np.asarray(table[by].to_numpy(), np.float64)
    raise DataError(
        f"packed without '{by}'", str(folder), "Pack anew with the settings that ask for it."
    )


def row_means(row: Array, length: Array, values: Array, rows: int) -> Array:
    """The mean of a number over the tokens of each row; spans as (row, length, number)."""
    tokens = np.bincount(row, length, minlength=rows)
    means: Array = np.bincount(row, length * values, minlength=rows) / np.maximum(tokens, 1)
    return means
