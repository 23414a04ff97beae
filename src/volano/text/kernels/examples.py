"""One call of every kernel with the types that the rooms call it with."""

import numpy as np
import pyarrow as pa

from volano.text.kernels.candidates import pii_candidates
from volano.text.kernels.features import STATISTICS, WORDS, measure
from volano.text.kernels.hashing import document_hashes, word_hashes
from volano.text.kernels.known_words import known_words, word_table
from volano.text.kernels.matching import contained_in, index_runs, united
from volano.text.kernels.minhash import band_hashes, minhash_signatures
from volano.text.kernels.ngrams import ngram_hashes


def call_each_kernel() -> None:
    """Compile them, or read their machine code from disk."""
    texts = pa.array(
        ["to be or not to be", None, "-----", "see www.example.org"], pa.large_string()
    )
    for words in WORDS:
        measure(texts, list(STATISTICS), words=words)
    document_hashes(texts)
    pii_candidates(texts)
    known_words(texts, word_table({"be": 1}), 1)
    band_hashes(minhash_signatures(texts), 14)
    words_found, bounds = word_hashes(texts)
    grams, gram_bounds = ngram_hashes(words_found, bounds, length=2)
    index = index_runs(grams, gram_bounds, fraction=0.5)
    limits = np.full(len(texts), 100)
    contained_in(grams, gram_bounds, index, limits, limits)
    united(np.array([[0, 1]], np.int64), 3)
