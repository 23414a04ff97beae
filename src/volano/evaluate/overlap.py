"""How many words a question and an answer share: what a test measures that needs no model.

"What does `json.load` do?" and "Load JSON from a file." share two words, and with distractors
drawn at random this alone finds the right answer in nine cases of ten.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # HTTPServer: HTTP, Server; snake_case too
SUFFIXES = ("ations", "ation", "ings", "ing", "ies", "ers", "ed", "er", "es", "s", "e", "y")
MIN_STEM_CHARACTERS = 3
# Words of documentation that say nothing of the subject (the commonest 40 in this machine's).
_STOP_WORDS = """
the a an of to and or for in on is are be by with from as that this it its if at into not will
can used use using when which was has have all any each given return returns"""
STOP_WORDS = frozenset(re.findall(r"\w+", _STOP_WORDS))


@lru_cache(maxsize=1 << 16)  # each answer is set beside thousands
def stems(text: str) -> frozenset[str]:
    """The distinct stems of the words in a text or qualified name, stop words left out.

    A stem is a lower-case word less one ending (plural, -ed, -ing …), at least three letters:
    crude, and meant to find more in common rather than less.
    """
    words = (part.lower() for part in PARTS.findall(text))
    return frozenset(_stem(word) for word in words if word not in STOP_WORDS and len(word) > 1)


def shared_words(name: str, answer: str) -> int:
    """How many distinct stems the qualified name and the answer have in common."""
    return len(stems(name) & stems(answer))


def lexical_share(shared: Sequence[int]) -> float:
    """What choosing the answer that shares most words scores on one item; the truth comes first.

    Of k answers that share equally many, each is chosen in 1/k of the cases.
    """
    most = max(shared)
    return (shared[0] == most) / shared.count(most)


def _stem(word: str) -> str:
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= MIN_STEM_CHARACTERS:
            return word[: -len(suffix)]
    return word
