"""How near an answer comes to the one that was wanted, for answers that are names as for sentences.

chrF suits sentences; of a name such as `numpy.linalg.svd` it matters which words are right.
"""

import re
from collections import Counter

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # snake_case and camelCase fall apart


def words_of(text: str) -> list[str]:
    """The words in lower case; `numpy.linalg.svd_of` has four."""
    return [word.lower() for word in WORDS.findall(text)]


def word_f1(answer: str, wanted: str) -> float:
    """F1 of the answer's words against those wanted, each counted as often as it stands; 0 to 1.

    Two texts without words score 0. Source: Rajpurkar et al. 2016 (SQuAD), with names split.
    """
    said, meant = Counter(words_of(answer)), Counter(words_of(wanted))
    common = (said & meant).total()
    if common == 0:
        return 0.0
    return 2 * common / (said.total() + meant.total())


def exact(answer: str, wanted: str) -> bool:
    """Whether the answer's words are those wanted, in order; marks and case do not count."""
    return bool(words_of(wanted)) and words_of(answer) == words_of(wanted)
