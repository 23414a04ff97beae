import random

import numpy as np
import pyarrow as pa
import pytest

from volano.text import near
from volano.text.kernels.hashing import word_hashes
from volano.text.kernels.minhash import minhash_signatures
from volano.text.kernels.ngrams import distinct_runs, ngram_hashes
from volano.text.near import SignatureFiles, near_duplicate_roots

WORDS = [f"word{number}" for number in range(400)]
LONG = " ".join(WORDS[:60])


def edited(text, share, seed=0):
    """The text with this share of its words replaced, at least one of them."""
    words = text.split()
    for place in random.Random(seed).sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = f"altered{seed}"
    return " ".join(words)


def test_clusters_of_near_duplicates_lead_to_their_first_document():
    texts = [LONG, "quite another matter", edited(LONG, 0.02), " ".join(WORDS[100:160]), LONG, ""]
    roots = near_duplicate_roots(minhash_signatures(pa.array(texts)), bands=14, min_similarity=0.6)
    assert roots.tolist() == [0, 1, 0, 3, 0, 5]


def test_documents_without_words_are_no_duplicates_of_each_other():
    signatures = minhash_signatures(pa.array(["", None, "--"]))
    assert near_duplicate_roots(signatures, bands=14).tolist() == [0, 1, 2]


def test_candidates_below_the_similarity_are_not_joined():
    signatures = np.arange(32, dtype=np.uint32).reshape(2, 16)
    signatures[1, :4] = signatures[0, :4]  # one of four bands agrees: similarity 0.25
    assert near_duplicate_roots(signatures, bands=4).tolist() == [0, 0]
    assert near_duplicate_roots(signatures, bands=4, min_similarity=0.5).tolist() == [0, 1]


def test_no_documents_have_no_clusters():
    signatures = minhash_signatures(pa.array([], pa.string()))
    assert near_duplicate_roots(signatures, bands=14).tolist() == []


def shingles_of(text, length=5):
    words = text.split()
    return {tuple(words[n : n + length]) for n in range(max(1, len(words) - length + 1))}


def corpus():
    chance = random.Random(3)
    originals = [" ".join(chance.choices(WORDS, k=chance.randint(6, 90))) for _ in range(60)]
    texts = [*originals, "", "--"]
    for place in range(200):
        texts.append(edited(chance.choice(originals), chance.choice([0.01, 0.05, 0.1]), place))
    chance.shuffle(texts)
    return texts


@pytest.mark.parametrize("bound", [0.0, 0.7])
def test_files_and_parts_lead_to_the_clusters_that_memory_does(tmp_path, monkeypatch, bound):
    signatures = minhash_signatures(pa.array(corpus()))
    order = np.random.default_rng(1).permutation(len(signatures))[:200]
    expected = near_duplicate_roots(signatures[order], bands=14, min_similarity=bound)
    assert len(set(expected.tolist())) < 180
    monkeypatch.setattr(near, "ROWS_AT_ONCE", 40)
    monkeypatch.setattr(near, "PAIRS_AT_ONCE", 7)
    with SignatureFiles(tmp_path / "files", permutations=112, bands=14) as files:
        for start in range(0, len(signatures), 50):
            files.append(signatures[start : start + 50])
        assert files.roots(order, min_similarity=bound).tolist() == expected.tolist()
        pairs = np.array([[0, 9], [70, 3], [8, 8]])
        assert files.similarities(pairs).tolist() == near.similarities(signatures, pairs).tolist()
    assert list((tmp_path / "files").iterdir()) == []


def test_with_shingles_the_similarity_is_that_of_the_sets(tmp_path, monkeypatch):
    texts = corpus()
    monkeypatch.setattr(near, "SHINGLES_AT_ONCE", 100)
    pairs = np.random.default_rng(1).integers(0, len(texts), (300, 2))
    copies = [text for text in texts if len(text.split()) > 5]
    pairs = np.concatenate([pairs, [[texts.index(copies[0])] * 2]])
    with SignatureFiles(tmp_path, permutations=16, bands=4) as files:
        for start in range(0, len(texts), 100):
            column = pa.array(texts[start : start + 100])
            shingles = distinct_runs(*ngram_hashes(*word_hashes(column), length=5))
            files.append(minhash_signatures(column, permutations=16), shingles)
        found = files.similarities(pairs)
    for (one, other), similarity in zip(pairs.tolist(), found.tolist(), strict=True):
        left, right = shingles_of(texts[one]), shingles_of(texts[other])
        if texts[one].isalnum() or " " in texts[one] + texts[other]:
            assert similarity == len(left & right) / len(left | right)
    assert found.max() == 1
