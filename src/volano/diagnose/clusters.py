"""Failures that belong together, found by their wording alone, and the words that set them apart.

Questions of one form share words that most questions lack, so only terms that a fair part of the
prompts use can tell forms apart: the names and subjects, each used once or twice, are left out.
How many clusters there are is decided by the silhouette (Rousseeuw 1987). Deterministic: the same
prompts give the same clusters in the same order.
"""

from collections import Counter
from collections.abc import Sequence
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from volano.text.functions import place_in_draw

TERM_PATTERN = r"[^\W\d_]{2,}"  # words; no numbers, no names_with_underscores
MIN_SHARE = 0.02  # of the prompts, below which a term says what one is about and not how it asks
SILHOUETTE_PROMPTS = 1500
WORDS_SHOWN = 6


class Cluster(NamedTuple):
    """Places of its prompts, and terms that tell it from the rest."""

    members: list[int]
    words: tuple[str, ...]


def cluster_prompts(
    prompts: Sequence[str], others: Sequence[str], *, max_clusters: int, min_cases: int
) -> list[Cluster]:
    """Clusters of at least `min_cases` prompts, the largest first; what fits none is in none.

    `others` are prompts that did not fail: the words of a cluster are told against all the rest.
    """
    if len(prompts) < min_cases:
        return []
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    vectors = prompt_vectors(prompts)
    if not vectors.shape[1]:  # no term is shared: every prompt is a case of its own
        return []
    sample = sorted(range(len(prompts)), key=lambda place: place_in_draw(prompts[place]))
    sample = sample[:SILHOUETTE_PROMPTS]
    best: tuple[float, np.ndarray] | None = None
    distinct = len(np.unique(vectors[sample].toarray().round(6), axis=0))
    for count in range(2, min(max_clusters, distinct - 1) + 1):
        labels = KMeans(count, n_init=4, random_state=0).fit_predict(vectors)
        if len(set(labels[sample])) < 2:
            continue
        score = float(silhouette_score(vectors[sample], labels[sample], metric="cosine"))
        if best is None or score > best[0] + 1e-9:
            best = score, labels
    labels = np.zeros(len(prompts), int) if best is None else best[1]
    clusters = []
    for label in sorted(set(labels.tolist())):
        members = np.flatnonzero(labels == label).tolist()
        if len(members) >= min_cases:
            rest = [prompts[place] for place in range(len(prompts)) if labels[place] != label]
            words = distinguishing([prompts[place] for place in members], [*rest, *others])
            clusters.append(Cluster(members, words))
    return sorted(clusters, key=lambda each: (-len(each.members), each.members))


def medoid_of(prompts: Sequence[str]) -> int:
    """The place of the most central prompt; the first of those that are equally so."""
    vectors = prompt_vectors(prompts)
    return int(np.argmax(vectors @ np.asarray(vectors.mean(axis=0)).ravel()))


def prompt_vectors(prompts: Sequence[str]) -> Any:
    """TF-IDF of the terms that a fair part of the prompts use: a sparse row per prompt, of length
    one, or zero for a prompt that has none of them."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        token_pattern=TERM_PATTERN,
        min_df=max(2, round(MIN_SHARE * len(prompts))),
        sublinear_tf=True,
    )
    try:
        return vectorizer.fit_transform(prompts)
    except ValueError:  # no term is shared
        return csr_matrix((len(prompts), 0))


def distinguishing(inside: Sequence[str], outside: Sequence[str]) -> tuple[str, ...]:
    """The terms whose odds are most surely higher inside, the surest first.

    By z-score of the log-odds ratio of prompts that have a term, each count raised by a half
    (Haldane 1956). Terms of two and three words, for one alone ("it", "for") tells a reader little;
    single words only where no such term stands out. A part of a shown term is not shown again.
    """
    return _distinguishing(inside, outside, (2, 3)) or _distinguishing(inside, outside, (1, 1))


def _distinguishing(
    inside: Sequence[str], outside: Sequence[str], words: tuple[int, int]
) -> tuple[str, ...]:
    from sklearn.feature_extraction.text import CountVectorizer

    analyze = CountVectorizer(ngram_range=words, token_pattern=TERM_PATTERN).build_analyzer()
    within, without = (
        Counter(term for text in texts for term in set(analyze(text)))
        for texts in (inside, outside)
    )
    scored = []
    for term, count in within.items():
        a, b = count + 0.5, len(inside) - count + 0.5
        c, d = without[term] + 0.5, len(outside) - without[term] + 0.5
        z = log(a * d / (b * c)) / sqrt(1 / a + 1 / b + 1 / c + 1 / d)
        if z > 1.96:
            scored.append((-z, -len(term), term))
    shown: list[str] = []
    for _, _, term in sorted(scored):
        if all(term not in other and other not in term for other in shown):
            shown.append(term)
        if len(shown) == WORDS_SHOWN:
            break
    return tuple(shown)
