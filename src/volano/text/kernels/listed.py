"""How many words of a text stand on a list, or begin a phrase that does.

Words are read as the classifier reads them (kernels/hashed.py), so that a list needs no spellings
such as "sh1t". A list names a category; a word may stand on several.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.hashed import LONGEST_WORD, folds, next_word, pair_hash

Array = npt.NDArray[Any]
LONGEST_PHRASE = 4  # words


class WordLists(NamedTuple):
    """A hash table of the words and phrases of up to eight categories."""

    categories: tuple[str, ...]
    keys: Array  # uint64, zero where free
    members: Array  # uint8, a bit for each category


NO_LISTS = WordLists((), np.zeros(1, np.uint64), np.zeros(1, np.uint8))


def word_lists(lists: Mapping[str, Sequence[str]]) -> WordLists:
    """The lists, ready to be counted; entries without a word or of too many words are left out."""
    hashes: dict[int, int] = {}
    for bit, entries in enumerate(lists.values()):
        _, _, found = _counted(pa.array(entries, pa.large_string()), NO_LISTS)
        for value in found[found > 0].tolist():
            hashes[value] = hashes.get(value, 0) | 1 << bit
    slots = 1 << (4 * len(hashes) + 16).bit_length()
    keys, members = np.zeros(slots, np.uint64), np.zeros(slots, np.uint8)
    for value, bits in hashes.items():
        slot = value & (slots - 1)
        while keys[slot]:
            slot = (slot + 1) & (slots - 1)
        keys[slot], members[slot] = value, bits
    return WordLists(tuple(lists), keys, members)


def count_listed(texts: Texts, lists: WordLists) -> tuple[Array, Array]:
    """Occurrences of each category in each text, shape [rows, categories], and words per text.

    A phrase counts once; a phrase within a phrase counts too. A missing text has no words.
    """
    counts, words, _ = _counted(texts, lists)
    return counts, words


def _counted(texts: Texts, lists: WordLists) -> tuple[Array, Array, Array]:
    bounds, utf8, _ = text_buffers(texts)
    rows = len(bounds) - 1
    counts, words = np.zeros((rows, len(lists.categories)), np.int64), np.zeros(rows, np.int64)
    hashes = np.zeros(rows, np.uint64)
    _fill_counts(utf8, bounds, folds(), lists.keys, lists.members, counts, words, hashes)
    return counts, words, hashes


@numba.njit(nogil=True, cache=True)
def _fill_counts(
    utf8: Array,
    bounds: Array,
    table: Array,
    keys: Array,
    members: Array,
    counts: Array,
    words: Array,
    hashes: Array,
) -> None:
    # `hashes`: of a row that is no longer than a phrase, the hash that it has as one; else 0.
    word = np.empty(LONGEST_WORD, np.uint32)
    phrases = np.zeros(LONGEST_PHRASE, np.uint64)  # that end here, by their number of words
    mask = np.uint64(len(keys) - 1)
    for row in range(len(words)):
        place, stop = bounds[row], bounds[row + 1]
        while True:
            place, count, value = next_word(utf8, place, stop, table, word)
            if count == 0:
                break
            known = min(words[row], LONGEST_PHRASE - 1)
            for size in range(known, 0, -1):
                phrases[size] = pair_hash(phrases[size - 1], value)
            phrases[0] = value
            words[row] += 1
            for size in range(known + 1):
                slot = phrases[size] & mask
                while keys[slot] != 0:
                    if keys[slot] == phrases[size]:
                        for category in range(counts.shape[1]):
                            counts[row, category] += members[slot] >> category & 1
                        break
                    slot = (slot + np.uint64(1)) & mask
        if 0 < words[row] <= LONGEST_PHRASE:
            hashes[row] = phrases[words[row] - 1]
