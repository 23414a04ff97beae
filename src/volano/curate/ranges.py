"""Entries of a whole corpus in sorted files, compared range by range of their hash.

Each shard writes its entries sorted, so a range of hashes is one piece of every file. Memory holds
a range and not the corpus, and nothing depends on workers or kills.
"""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volano.core.files import atomic_path

Array = npt.NDArray[Any]
RANGES_AT_MOST = 1 << 12


def save_array(output: Path, array: Array) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(output) as unfinished, unfinished.open("wb") as file:
        np.save(file, array)


def ranges_of(files: Sequence[Path], entries_at_once: int) -> int:
    """How many ranges hold about so many entries each."""
    total = sum(len(np.load(path, mmap_mode="r")) for path in files)
    return min(total // entries_at_once + 1, RANGES_AT_MOST)


def read_range(files: Sequence[Path], number: int, ranges: int) -> tuple[Array, Array]:
    """The entries of one range of all files whose hash another entry shares, sorted by it, and the
    place of each in `files`. Each file is sorted by its field `hash`, uint64."""
    width = 2**64 // ranges
    lowest, above = number * width, (number + 1) * width  # the last range has no upper limit
    parts, places = [], []
    for place, path in enumerate(files):
        entries = np.load(path, mmap_mode="r")
        # bisect, because numpy's search would first copy the column from the disk.
        first = bisect_left(entries["hash"], lowest)
        last = len(entries) if number + 1 == ranges else bisect_left(entries["hash"], above)
        parts.append(np.array(entries[first:last]))
        places.append(np.full(last - first, place, np.uint32))
    found, owners = np.concatenate(parts), np.concatenate(places)
    order = np.argsort(found["hash"], kind="stable")
    values = found["hash"][order]
    same = values[1:] == values[:-1]
    kept = np.zeros(len(order), bool)  # most have a hash that nobody else has
    kept[1:] |= same
    kept[:-1] |= same
    return found[order[kept]], owners[order[kept]]
