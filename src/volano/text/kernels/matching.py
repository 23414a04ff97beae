"""Which known text a document holds, found through the rarest runs of words of each known text.

If a document holds at least a fraction f of the G distinct runs of a known text, it must hold one
of any (1 - f)·G + 1 of them. So only the rarest of each known text are looked up, a few hits are
asked for, and the exact count is made for those pairs alone; no pair above f is ever missed.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer

Array = npt.NDArray[Any]
ASKED_FRACTION = 0.25  # of a known text's runs must hit before the exact count is made
NO_MATCH = -1


class RunIndex(NamedTuple):
    """Known texts by their runs. Runs are numbered; texts hold distinct runs only."""

    keys: Array  # open-addressing table of run hashes …
    numbers: Array  # … and of run numbers, NO_MATCH where a slot is free
    posting_bounds: Array  # run number → the texts that are looked up by it
    postings: Array
    text_bounds: Array  # text → its distinct run numbers
    runs: Array
    asked: Array  # text → hits among its looked-up runs before it is counted
    needed: Array  # text → distinct runs that a match holds


def index_runs(hashes: Array, bounds: Array, *, fraction: float | Array) -> RunIndex:
    """The index of texts whose runs are `hashes[bounds[i] : bounds[i + 1]]`.

    A match holds at least `fraction` of a text's distinct runs; one number, or one per text.
    """
    owners = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    unique, numbers = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([owners, numbers.reshape(-1)], axis=1), axis=0)
    owners, runs = pairs[:, 0], pairs[:, 1].astype(np.int64)
    text_bounds = np.searchsorted(owners, np.arange(len(bounds))).astype(np.int64)
    totals = np.diff(text_bounds)
    needed = np.maximum(np.ceil(fraction * totals - 1e-9), 1).astype(np.int64)
    asked = np.maximum(np.minimum(ASKED_FRACTION * totals, needed), 1).astype(np.int64)
    looked_up = totals - needed + asked
    frequency = np.bincount(runs, minlength=len(unique))
    order = np.lexsort((runs, frequency[runs], owners))
    rank = np.arange(len(order)) - text_bounds[owners[order]]
    kept = order[rank < looked_up[owners[order]]]
    by_run = kept[np.argsort(runs[kept], kind="stable")]
    posting_bounds = np.searchsorted(runs[by_run], np.arange(len(unique) + 1)).astype(np.int64)
    size = 4
    while size < 2 * len(unique) + 2:
        size *= 2
    keys, slots = np.zeros(size, np.uint64), np.full(size, NO_MATCH, np.int64)
    _fill_table(unique, keys, slots)
    return RunIndex(
        keys,
        slots,
        posting_bounds,
        owners[by_run].astype(np.int64),
        text_bounds,
        runs,
        asked,
        needed,
    )


class Matches(NamedTuple):
    """Per document: the known text it holds most of (NO_MATCH if none enough) and how much."""

    texts: Array  # int64
    fractions: Array  # of the known text's distinct runs; 0 where there is no match


def contained_in(
    hashes: Array, bounds: Array, index: RunIndex, windows: Array, longest: Array
) -> Matches:
    """The best match of each document whose runs are `hashes[bounds[i] : bounds[i + 1]]`.

    windows: for each known text, the runs in a row of the document within which its runs must
    stand. longest: runs of the longest document that it is sought in. Of equal fractions the first
    known text wins.
    """
    found = np.full(len(bounds) - 1, NO_MATCH, np.int64)
    fractions = np.zeros(len(bounds) - 1, np.float64)
    _fill_matches(hashes, bounds, *index, windows, longest, found, fractions)
    return Matches(found, fractions)


def united(pairs: Array, count: int) -> Array:
    """The lowest member of each member's group, where each row of `pairs` joins two groups."""
    roots = np.arange(count)
    unite(pairs, roots)
    return roots


def unite(pairs: Array, roots: Array) -> None:
    """The same in place: more pairs (int64) for groups that have been united so far."""
    if len(pairs):
        _unite(np.ascontiguousarray(pairs), roots)


@numba.njit(nogil=True, cache=True)
def _fill_table(unique: Array, keys: Array, numbers: Array) -> None:
    mask = np.uint64(len(keys) - 1)
    for number in range(len(unique)):
        slot = np.int64(unique[number] & mask)
        while numbers[slot] >= 0:
            slot = (slot + 1) & (len(keys) - 1)
        keys[slot], numbers[slot] = unique[number], number


@numba.njit(nogil=True, cache=True)
def _number_of(run: np.uint64, keys: Array, numbers: Array) -> Integer:
    slot = np.int64(run & np.uint64(len(keys) - 1))
    while numbers[slot] >= 0:
        if keys[slot] == run:
            return np.int64(numbers[slot])
        slot = (slot + 1) & (len(keys) - 1)
    return NO_MATCH


@numba.njit(nogil=True, cache=True)
def _fill_matches(
    hashes: Array,
    bounds: Array,
    keys: Array,
    numbers: Array,
    posting_bounds: Array,
    postings: Array,
    text_bounds: Array,
    runs: Array,
    asked: Array,
    needed: Array,
    windows: Array,
    longest: Array,
    found: Array,
    fractions: Array,
) -> None:
    known = len(asked)
    hits, touched = np.zeros(known, np.int64), np.empty(known, np.int64)
    seen_in = np.full(len(posting_bounds) - 1, NO_MATCH, np.int64)  # run → last document with it
    owner = np.full(len(posting_bounds) - 1, NO_MATCH, np.int64)  # run → text being counted
    inside = np.zeros(len(posting_bounds) - 1, np.int64)  # run → times in the window
    for document in range(len(found)):
        first, last = bounds[document], bounds[document + 1]
        here = np.empty(last - first, np.int64)
        count = 0
        for place in range(first, last):
            number = _number_of(hashes[place], keys, numbers)
            here[place - first] = number
            if number < 0 or seen_in[number] == document:
                continue
            seen_in[number] = document
            for posting in range(posting_bounds[number], posting_bounds[number + 1]):
                text = postings[posting]
                if hits[text] == 0:
                    touched[count] = text
                    count += 1
                hits[text] += 1
        for place in range(count):
            text = touched[place]
            if hits[text] >= asked[text] and last - first <= longest[text]:
                held = runs[text_bounds[text] : text_bounds[text + 1]]
                most = _most_in_window(here, held, windows[text], owner, inside, text)
                share = most / len(held)
                better = share > fractions[document]
                same = share == fractions[document] and text < found[document]
                if most >= needed[text] and (better or same):
                    found[document], fractions[document] = text, share
            hits[text] = 0


@numba.njit(nogil=True, cache=True)
def _most_in_window(
    here: Array, held: Array, window: int, owner: Array, inside: Array, text: int
) -> int:
    for run in held:
        owner[run] = text
    most = distinct = 0
    for place in range(len(here)):
        run = here[place]
        if run >= 0 and owner[run] == text:
            distinct += inside[run] == 0
            inside[run] += 1
        if place >= window:
            run = here[place - window]
            if run >= 0 and owner[run] == text:
                inside[run] -= 1
                distinct -= inside[run] == 0
        most = max(most, distinct)
    for run in held:
        inside[run] = 0
        owner[run] = NO_MATCH
    return most


@numba.njit(nogil=True, cache=True)
def _unite(pairs: Array, roots: Array) -> None:
    for row in range(len(pairs)):
        one, other = _root(roots, pairs[row, 0]), _root(roots, pairs[row, 1])
        roots[max(one, other)] = min(one, other)
    for member in range(len(roots)):
        roots[member] = _root(roots, member)


@numba.njit(nogil=True, cache=True)
def _root(roots: Array, member: int) -> int:
    while roots[member] != member:
        roots[member] = roots[roots[member]]  # halves the path, so that groups stay flat
        member = roots[member]
    return member
