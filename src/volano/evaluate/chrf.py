"""chrF: how many character n-grams a generated answer shares with the true one.

Implemented here because it is twenty lines and sacrebleu brings six packages with it; the test
compares the two.
"""

from collections import Counter

ORDER = 6  # character n-grams of length 1 to 6
BETA = 2.0  # recall weighs as much as four times precision


def chrf(answer: str, truth: str) -> float:
    """chrF2 of one answer, from 0 to 100; white space does not count.

    Precision and recall are averaged over the n-gram orders of which both texts have any, then
    joined to F with beta 2. An empty answer or truth scores 0. Source: Popović 2015, in the form
    of sacrebleu 2 (`sentence_chrf`, its defaults).
    """
    answer, truth = "".join(answer.split()), "".join(truth.split())
    precisions, recalls = [], []
    for order in range(1, ORDER + 1):
        said, meant = _ngrams(answer, order), _ngrams(truth, order)
        if said and meant:
            matched = (said & meant).total()
            precisions.append(matched / said.total())
            recalls.append(matched / meant.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    return 100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[place : place + order] for place in range(len(text) - order + 1))
