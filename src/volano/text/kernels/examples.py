"""One call of every kernel with the types that the rooms call it with."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from volano.text.kernels.candidates import pii_candidates
from volano.text.kernels.features import STATISTICS, WORDS, measure
from volano.text.kernels.forms import FORM_STATISTICS, measure_forms
from volano.text.kernels.hashing import document_hashes, word_hashes
from volano.text.kernels.html import scan_page
from volano.text.kernels.html_blocks import FEATURES, block_features
from volano.text.kernels.known_words import known_words, word_table
from volano.text.kernels.listed import count_listed, word_lists
from volano.text.kernels.matching import contained_in, index_runs, united
from volano.text.kernels.minhash import band_hashes, minhash_signatures
from volano.text.kernels.ngrams import distinct_runs, ngram_hashes, shared_fractions
from volano.text.kernels.passages import covered_words, spaced_words, without_words
from volano.text.kernels.scripts import letters_by_script
from volano.text.kernels.site_lines import boilerplate_lines, hashes_of_lines, site_line_keys
from volano.text.kernels.spans import span_hashes, span_places, without_spans
from volano.text.kernels.trees import Trees, probabilities


def call_rule_kernels() -> None:
    """Compile those of the rules on words and lines, or read their machine code from disk."""
    texts = pa.array(
        ["to be or not to be", None, "-----", "see www.example.org"], pa.large_string()
    )
    for words in WORDS:
        measure(texts, list(STATISTICS), words=words)


def call_text_kernels() -> None:
    """Compile those of copies, quotations and personal data, or read their code from disk."""
    texts = pa.array(["to be or not to be", None, "-----", "a b"], pa.large_string())
    document_hashes(texts)
    letters_by_script(texts)
    pii_candidates(texts)
    known_words(texts, word_table({"be": 1}), 1)
    band_hashes(minhash_signatures(texts), 14)
    words_found, bounds = word_hashes(texts)
    grams, gram_bounds = ngram_hashes(words_found, bounds, length=2)
    shared_fractions(*distinct_runs(grams, gram_bounds), np.array([[0, 1]], np.int64))
    index = index_runs(grams, gram_bounds, fraction=0.5)
    limits = np.full(len(texts), 100)
    contained_in(grams, gram_bounds, index, limits, limits)
    united(np.array([[0, 1]], np.int64), 3)


def call_form_kernels() -> None:
    """Compile those of rules on form, copied passages and boilerplate, or read their code."""
    texts = pa.array(["to be or not to be", None, "-----", "a b"], pa.large_string())
    measure_forms(texts, list(FORM_STATISTICS))
    found = span_hashes(texts, "line")
    span_places(texts, "paragraph")
    without_spans(texts, "line", np.zeros(len(found.hashes), bool))
    site_line_keys(found.hashes, found.bounds, np.zeros(len(texts), np.uint64))
    hashes_of_lines(found.hashes, found.words, found.bounds)
    boilerplate_lines(found.words > 0, found.words, found.bounds, ends_only=True)
    spaced, none = spaced_words(texts), np.zeros(0, np.int64)
    gone = covered_words(none, none, spaced.bounds, length=2)
    without_words(texts, spaced, gone)


def call_page_kernels() -> None:
    """Compile those of web pages, or read their machine code from disk."""
    features = block_features(scan_page(np.frombuffer(b"<p class=a>to &amp; <a>fro", np.uint8)))
    leaf = Trees(
        np.zeros(1, np.int32),
        np.full(1, -1, np.int16),
        np.zeros(1, np.float32),
        np.zeros(1, np.int32),
        np.zeros(1, np.float32),
    )
    for array in leaf:
        array.flags.writeable = False
    probabilities(leaf, np.zeros((1, len(FEATURES)), np.float32))
    probabilities(leaf, features)


def call_classifier_kernels() -> None:
    """Compile those of classifiers, word models and word lists, or read their code from disk."""
    # Inside, because the classifier stands above the kernels that it calls.
    from volano.text.classify import Training, train
    from volano.text.word_model import train_words

    texts = pa.array(["to be or not to be", None, "-----", "a b"], pa.large_string())
    count_listed(texts, word_lists({"verbs": ["be", "see"]}))
    small = Training(bucket_bits=4, epochs=1)
    sides = np.array([0, 0, 1, 1])
    found = train(texts, ["a", "b", "a", "b"], training=small, sides=sides).classifier
    found.probabilities(texts)
    found.windows(texts, words=2)
    train_words([texts]).perplexities(texts)


# By group, as kernels.warm_up names them; what takes longest to compile comes first.
CALLS: dict[str, Callable[[], None]] = {
    "rules": call_rule_kernels,
    "text": call_text_kernels,
    "classifiers": call_classifier_kernels,
    "forms": call_form_kernels,
    "pages": call_page_kernels,
}
