"""Preferences from documentation: the right text over a wrong one, the whole over a piece.

Length must not give the better answer away, or a model would learn "longer is better" and prove
nothing. So in each kind, and for each size of the difference, the chosen answer is the longer one
in half of the pairs: a rule that sees lengths alone is right half the time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from volano.core.records import Document, Message, Preference
from volano.text.functions import (
    FunctionDocument,
    answer_about,
    first_paragraph,
    function_documents,
    normalised,
    question_about,
    sentences,
)

MIN_ANSWER_WORDS, MAX_ANSWER_WORDS = 4, 40  # shorter cannot be cut, longer is mostly a table
NEIGHBOURS = 4  # functions on either side in the same module
KEPT_SHARES = (0.4, 0.8)  # how much of an answer its truncated form keeps
CANDIDATES = 8  # functions looked at per pair wanted; balancing uses up about half of the pairs


class Described(NamedTuple):
    """A function with its answer, and the form in which equal answers are equal."""

    document: Document
    function: FunctionDocument
    answer: str
    known_as: str


def function_preferences(documents: Iterable[Document], most_per_kind: int) -> list[Preference]:
    """Balanced pairs of both kinds about training functions, at most that many of each kind."""
    by_module = defaultdict[str, list[Described]](list)
    for document, function in function_documents(documents, "train"):
        answer = answer_about(function)
        if MIN_ANSWER_WORDS <= len(answer.split()) <= MAX_ANSWER_WORDS:
            described = Described(document, function, answer, normalised(answer))
            by_module[function.module].append(described)
    wrong: list[Preference] = []
    truncated: list[Preference] = []
    # Whole modules in the order of their hashes, so that neighbours stay together.
    for module in sorted(by_module, key=_number_of):
        if len(truncated) >= CANDIDATES * most_per_kind:
            break
        members = sorted(by_module[module], key=lambda each: each.function.qualified_name)
        wrong += _against_neighbours(members)
        truncated += _against_truncated(members)
    return balance_lengths(wrong, most_per_kind) + balance_lengths(truncated, most_per_kind)


def balance_lengths(pairs: Sequence[Preference], most: int) -> list[Preference]:
    """A subset in which the chosen answer is the longer one in exactly half of the pairs.

    The halves match for every power of two that the difference in characters reaches, so that no
    threshold on it helps either. Pairs of equal length are left out; which pairs stay is decided
    by their ids alone. The order is that of the input.
    """
    longer, shorter = (
        defaultdict[int, list[Preference]](list),
        defaultdict[int, list[Preference]](list),
    )
    for pair in sorted(pairs, key=lambda pair: _number_of(pair.id)):
        difference = length_difference(pair)
        if difference:
            side = longer if difference > 0 else shorter
            side[abs(difference).bit_length()].append(pair)
    matched: list[tuple[Preference, Preference]] = []
    for size in sorted(longer.keys() & shorter.keys()):
        matched += zip(longer[size], shorter[size], strict=False)
    matched.sort(key=lambda two: _number_of(two[0].id))
    kept = {pair.id for two in matched[: most // 2] for pair in two}
    return [pair for pair in pairs if pair.id in kept]


def length_difference(pair: Preference) -> int:
    """Characters by which the chosen answer is longer than the rejected one."""
    return len(pair.chosen[-1].content) - len(pair.rejected[-1].content)


def _against_neighbours(members: Sequence[Described]) -> list[Preference]:
    """Pairs of one module's functions, given in the order of their names."""
    pairs = []
    for place, own in enumerate(members):
        near = members[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
        others = [other for other in near if other.known_as != own.known_as]
        # Neighbours of one's own choosing would be longer or shorter by chance: take turns.
        want_longer = _number_of(own.function.id) % 2 == 0
        fitting = [each for each in others if (len(each.answer) > len(own.answer)) == want_longer]
        if fitting:
            other = fitting[_number_of("near:" + own.function.id) % len(fitting)]
            pairs.append(_pair("wrong", own, other.answer, other.function.id))
    return pairs


def _against_truncated(members: Sequence[Described]) -> list[Preference]:
    pairs = []
    for own in members:
        number = _number_of("cut:" + own.function.id)
        low, high = KEPT_SHARES
        share = low + (high - low) * (number // 2 % 1000) / 1000
        following = sentences(first_paragraph(own.function.documentation))[1:]
        if number % 2 and following:
            # Too long and without an end: the whole answer, then a piece of the next sentence.
            room = round(len(own.answer) * (1 - share))
            rejected = f"{own.answer} {_cut(' '.join(following), room)}"
        else:
            rejected = _cut(own.answer, round(len(own.answer) * share))
        if rejected.rstrip() not in {own.answer, ""} and rejected[-1] not in ".!?":
            pairs.append(_pair("truncated", own, rejected))
    return pairs


def _cut(text: str, characters: int) -> str:
    """The text up to the last word boundary within that many characters, or its first word."""
    if len(text) <= characters:
        characters = len(text) - 1
    return (text[: characters + 1].rpartition(" ")[0] or text.split()[0]).rstrip(" ,;:")


def _pair(kind: str, own: Described, rejected: str, *others: str) -> Preference:
    return Preference(
        id=f"{kind}:{own.function.id}",
        prompt=(Message("user", question_about(own.function)),),
        chosen=(Message("assistant", own.answer),),
        rejected=(Message("assistant", rejected),),
        source=own.document.source,
        kind=kind,
        licence=own.document.licence,
        source_ids=(own.function.id, *others),
    )


def _number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
