"""Which of four documentations belongs to this function, judged by likelihood.

Words that the name and the truth share would give the answer away, so an item is asked only where
three distractors share at least as many; a lexical baseline then does worse than chance. All
distractors are held out: what a model has trained on it finds likely anywhere, and it would
choose those. Two scores decide, fixed in advance; PMI is the headline:

- normalised: log-probability per UTF-8 byte of the answer,
- PMI: log-probability less that of the same answer to the same question about no function in
  particular (domain-conditional PMI, Holtzman et al. 2021), so that a common phrase gains nothing.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from volano.evaluate.overlap import shared_words, stems
from volano.text.functions import FunctionDocument, answer_about, place_in_draw

CHOICES = 4
CHANCE = 1 / CHOICES


class ChoiceItem(NamedTuple):
    """One question. The truth stands first; `shared` counts each answer's words in the name."""

    function: FunctionDocument
    answers: tuple[str, ...]
    shared: tuple[int, ...]


class ChoiceScores(NamedTuple):
    """Whether each item was answered rightly, by either score. A tie is a miss."""

    pmi: list[bool]
    normalised: list[bool]


def matched_items(functions: Sequence[FunctionDocument], most: int) -> list[ChoiceItem]:
    """The items of those held-out functions that have three distractors as near in words.

    The distractors are three, drawn by the id's hash, of all whose answer shares at least as many
    words with the name as the truth does. At most `most` items, taken in the order of the hashes.
    """
    holders = defaultdict[str, list[int]](list)
    answers = [answer_about(function) for function in functions]
    for place, answer in enumerate(answers):
        for stem in stems(answer):
            holders[stem].append(place)
    items = []
    for place in sorted(
        range(len(functions)), key=lambda place: place_in_draw(functions[place].id)
    ):
        function = functions[place]
        shared = Counter(p for stem in stems(function.qualified_name) for p in holders[stem])
        own = shared[place]
        # Sharing nothing is no key of the counter.
        near = sorted(p for p in shared if shared[p] >= own) if own else range(len(functions))
        others = [p for p in near if p != place]
        if len(others) >= CHOICES - 1:
            drawn = random.Random(int.from_bytes(place_in_draw(function.id)[:8])).sample(
                others, CHOICES - 1
            )
            chosen = tuple(answers[p] for p in (place, *drawn))
            counts = tuple(shared_words(function.qualified_name, answer) for answer in chosen)
            items.append(ChoiceItem(function, chosen, counts))
        if len(items) == most:
            break
    return items


def judge(
    conditional: npt.ArrayLike,
    unconditional: npt.ArrayLike,
    items: Sequence[ChoiceItem],
) -> ChoiceScores:
    """The model's choices, from log-probabilities in nats, one row per item, the truth first."""
    given = np.asarray(conditional, np.float64)
    alone = np.asarray(unconditional, np.float64)
    bytes_ = np.array([[len(answer.encode()) for answer in item.answers] for item in items])
    return ChoiceScores(
        pmi=_first_is_best(given - alone), normalised=_first_is_best(given / bytes_)
    )


def _first_is_best(scores: npt.NDArray[np.float64]) -> list[bool]:
    best: list[bool] = (scores[:, 0] > scores[:, 1:].max(axis=1)).tolist()
    return best
