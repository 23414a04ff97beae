"""Which functions are learnt from (train), kept for later turns (pool) or only asked about (test).

A split hangs on the docstring alone, never on chance or order: equal docstrings share a split
wherever they stand, and one more package moves few functions.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from volano.core.errors import RecipeError
from volano.text.functions import normalised

Split = str  # train, pool or test
MAX_TEST_FRACTION = 0.5  # of the functions that qualify; more would leave too few to learn from


class Candidate(NamedTuple):
    """What decides the split of one function."""

    docstring_key: bytes  # of the normalised docstring
    summary_key: bytes  # of the normalised summary
    qualifies: bool  # public, with a proper sentence and more than a name's worth of text


def text_key(text: str) -> bytes:
    """Equal for texts whose words are equal, whatever case and punctuation."""
    return hashlib.sha256(normalised(text).encode()).digest()[:8]


def assign_splits(
    candidates: Sequence[Candidate], *, held_out_functions: int, pool_fraction: float
) -> list[Split]:
    """The split of each function. Raises RecipeError if too few qualify for the test.

    A function qualifies for the test if no other has its docstring or its summary: otherwise the
    answer could be learnt word for word from the other.
    """
    docstrings = Counter(each.docstring_key for each in candidates)
    summaries = Counter(each.summary_key for each in candidates)
    qualified = sorted(
        each.docstring_key
        for each in candidates
        if each.qualifies and docstrings[each.docstring_key] == summaries[each.summary_key] == 1
    )
    most = int(len(qualified) * MAX_TEST_FRACTION)
    if held_out_functions > most:
        raise RecipeError(
            f"{held_out_functions:,} functions to hold out, but at most {most:,} can be "
            f"({len(qualified):,} qualify)",
            "collect.held_out_functions",
            "Hold out fewer, or name more packages.",
        )
    test = set(qualified[:held_out_functions])
    return [
        "test"
        if each.docstring_key in test
        else "pool"
        if _share(b"pool", each.docstring_key) < pool_fraction
        else "train"
        for each in candidates
    ]


def is_held_out(text: str, fraction: float) -> bool:
    """Whether a text belongs to the held-out fraction: by its words alone."""
    return fraction > 0 and _share(b"test", text_key(text)) < fraction


def _share(purpose: bytes, key: bytes) -> float:
    # The lowest keys of all are the test, so the pool needs a hash of its own.
    digest = hashlib.sha256(purpose + key).digest()
    return int.from_bytes(digest[:8]) / 2**64
