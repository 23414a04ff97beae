import random

import numpy as np
import pyarrow as pa
import pytest

from volano.text.kernels.minhash import NO_WORDS, band_hashes, minhash_signatures


def pair_of_similarity(shared, alone, seed):
    """Two texts of one-word shingles with Jaccard similarity shared / (shared + 2 alone)."""
    words = [
        f"w{number}" for number in random.Random(seed).sample(range(10**6), shared + 2 * alone)
    ]
    return [" ".join(words[: shared + alone]), " ".join(words[:shared] + words[shared + alone :])]


@pytest.mark.parametrize(("shared", "alone"), [(90, 5), (60, 20), (30, 35), (0, 50)])
def test_agreement_estimates_jaccard_similarity_without_bias(shared, alone):
    estimates = []
    for seed in range(60):
        one, other = minhash_signatures(
            pa.array(pair_of_similarity(shared, alone, seed)), permutations=112, shingle_words=1
        )
        estimates.append((one == other).mean())
    truth = shared / (shared + 2 * alone)
    # 60 estimates of standard error sqrt(J(1-J)/112); four standard errors of their mean.
    bound = 4 * (max(truth * (1 - truth), 0.001) / 112 / 60) ** 0.5
    assert abs(np.mean(estimates) - truth) < bound


def test_order_of_shingles_and_case_do_not_count():
    one, other = minhash_signatures(pa.array(["x y. Z", "z, X y"]), shingle_words=1)
    assert (one == other).all()


def test_short_text_is_one_shingle_and_an_empty_or_missing_one_is_none():
    column = pa.array(["two words", "two words more", "", None, "--"])
    short, longer, empty, missing, wordless = minhash_signatures(column, shingle_words=5)
    assert not (short == longer).any()
    assert (empty == NO_WORDS).all()
    assert (missing == NO_WORDS).all()
    assert (wordless == NO_WORDS).all()


def test_bands_are_equal_exactly_where_all_their_places_are():
    signatures = np.array([[1, 2, 3, 4], [1, 2, 9, 4]], np.uint32)
    one, other = band_hashes(signatures, 2)
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_signature_keeps_its_value_across_versions():
    # Signatures of two corpora are compared, so a change of the permutations must be noticed.
    signature = minhash_signatures(pa.array(["to be or not to be"]), permutations=3)
    assert signature.tolist() == [[1647395874, 561953277, 331434004]]
