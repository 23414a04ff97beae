"""Which texts hold a text that must not be learnt.

Does this document hold a held-out text? That asks for containment, since a long page can quote a
short text, and is answered exactly. Which documents of a corpus are nearly the same is another
question, of symmetric similarity among all pairs: text.near.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts
from volano.text.kernels.hashing import word_hashes
from volano.text.kernels.matching import NO_MATCH, RunIndex, contained_in, index_runs
from volano.text.kernels.ngrams import ngram_hashes

PAIR_WORDS = 2  # the near test counts pairs of neighbouring words
ROOM_FACTOR, ROOM_WORDS = 1.5, 4  # an edited copy may be longer than the text it was made from
FEW_WORDS, FEW_WORDS_PAIR_FRACTION = 8, 0.8
SHORT_TEXT_MULTIPLE, SHORT_TEXT_ROOM_WORDS = 3, 64
ANYWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Overlap:
    """What one document shares with the held-out text that it holds most of."""

    place: int  # of the held-out text in the index
    fraction: float  # of the held-out text's runs of words
    run_words: int  # the length of those runs


@dataclass(frozen=True)
class OverlapIndex:
    """Finds documents that hold a held-out text, whole or edited. Build it with `of`.

    A document overlaps a held-out text of at least `ngram_words` words if it holds, anywhere, the
    fraction `ngram_fraction` or more of its distinct runs of `ngram_words` words: a quotation.
    It also overlaps one of any length if it holds the fraction `pair_fraction` or more of its
    distinct pairs of neighbouring words within a passage of about the same length: an edited copy.
    One changed word breaks 13 runs of 13 words but two pairs. A text of fewer than FEW_WORDS words
    must be held to FEW_WORDS_PAIR_FRACTION, as every third sentence has half of its few pairs.
    Texts shorter than `ngram_words` are
    compared whole: they are sought only in documents of at most three times their length and 64
    words (a signature, a heading), as a sentence of seven words in a book is no leak.

    A word is a run of letters and digits in lower case; a text without words is never found.
    """

    ngrams: RunIndex
    pairs: RunIndex
    words: npt.NDArray[np.int64]  # of each held-out text
    ngram_words: int

    @classmethod
    def of(
        cls,
        texts: Sequence[str] | Texts,
        *,
        ngram_words: int = 13,
        ngram_fraction: float = 0.5,
        pair_fraction: float = 0.6,
    ) -> "OverlapIndex":
        """The index of these held-out texts."""
        words, bounds = word_hashes(_column(texts))
        counts = np.diff(bounds)
        # A text too short for one run of its own would be found by the run that it is as a whole.
        long_words = np.where(counts >= ngram_words, counts, 0)
        runs, run_bounds = ngram_hashes(words, bounds, length=ngram_words)
        kept = np.repeat(long_words > 0, np.diff(run_bounds))
        run_counts = np.where(long_words > 0, np.diff(run_bounds), 0)
        run_bounds = np.concatenate(([0], np.cumsum(run_counts)))
        pairs, pair_bounds = ngram_hashes(words, bounds, length=PAIR_WORDS)
        return cls(
            index_runs(runs[kept], run_bounds, fraction=ngram_fraction),
            index_runs(
                pairs,
                pair_bounds,
                fraction=np.where(
                    counts < FEW_WORDS, max(pair_fraction, FEW_WORDS_PAIR_FRACTION), pair_fraction
                ),
            ),
            counts,
            ngram_words,
        )

    def __len__(self) -> int:
        return len(self.words)

    def search(self, texts: Sequence[str] | Texts) -> list[Overlap | None]:
        """For each document the strongest overlap; None where there is none, and for null."""
        words, bounds = word_hashes(_column(texts))
        anywhere = np.full(len(self), ANYWHERE)
        runs = ngram_hashes(words, bounds, length=self.ngram_words)
        quoted = contained_in(*runs, self.ngrams, anywhere, anywhere)
        windows = np.ceil(ROOM_FACTOR * self.words).astype(np.int64) + ROOM_WORDS
        longest = np.where(
            self.words < self.ngram_words,
            SHORT_TEXT_MULTIPLE * self.words + SHORT_TEXT_ROOM_WORDS,
            ANYWHERE,
        )
        pairs = ngram_hashes(words, bounds, length=PAIR_WORDS)
        edited = contained_in(*pairs, self.pairs, windows, longest)
        overlaps: list[Overlap | None] = [None] * (len(bounds) - 1)
        for row in np.flatnonzero((quoted.texts != NO_MATCH) | (edited.texts != NO_MATCH)):
            # An edited copy says more than a quotation where both are found.
            best, length = (
                (edited, PAIR_WORDS)
                if edited.texts[row] != NO_MATCH
                else (quoted, self.ngram_words)
            )
            overlaps[row] = Overlap(int(best.texts[row]), float(best.fractions[row]), length)
        return overlaps


def _column(texts: Sequence[str] | Texts) -> Texts:
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return texts
    return pa.array(texts, pa.large_string())
