"""A hash table for many small counts, of which nothing is cleared between them."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer

Array = npt.NDArray[Any]
_KEY, _COUNT = range(2)
_TURN_SHIFT, _COUNT_MASK = np.uint64(32), np.uint64(0xFFFFFFFF)


def counter_of(room: int) -> tuple[Array, Array, Array]:
    """A table for up to `room` keys, where each key was met first, and the number of the count.

    A slot holds a key and, in one number, the count it belongs to and how often the key was seen;
    one of an earlier count is free. A short document touches a short part of the table only.
    """
    slots = 16
    while slots < 2 * room:
        slots *= 2
    return np.zeros((slots, 2), np.uint64), np.empty(slots, np.int32), np.zeros(1, np.uint64)


@numba.njit(nogil=True, cache=True, inline="always")
def new_count(keys: Integer, table: Array, turn: Array) -> Integer:
    """Begin a count of up to `keys` keys: the part of the table that they take, as a mask."""
    turn[0] += np.uint64(1)
    mask = 15
    while mask < 2 * keys:
        mask = mask * 2 + 1
    return min(mask, len(table) - 1)


@numba.njit(nogil=True, cache=True, inline="always")
def count_key(
    key: np.uint64, place: Integer, table: Array, firsts: Array, turn: Array, mask: Integer
) -> tuple[Integer, Integer]:
    """How often a key has been seen, this time included, and the place where it was first.

    Its last bits choose the slot, so they must be as good as random.
    """
    slot = np.int64(key & np.uint64(mask))
    now = turn[0]
    while True:
        state = table[slot, _COUNT]
        if state >> _TURN_SHIFT != now:
            table[slot, _KEY] = key
            table[slot, _COUNT] = now << _TURN_SHIFT | np.uint64(1)
            firsts[slot] = place
            return 1, place
        if table[slot, _KEY] == key:
            table[slot, _COUNT] = state + np.uint64(1)
            return np.int64(state & _COUNT_MASK) + 1, np.int64(firsts[slot])
        slot = (slot + 1) & mask
