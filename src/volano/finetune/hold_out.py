"""A part of a user's own conversations is kept from training, so that what it gave can be measured.

Which part follows from the question alone: a conversation that was held out once stays so when the
file grows, and versions trained from either file are judged on what neither has seen.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from volano.core.records import Conversation
from volano.text.functions import place_in_draw
from volano.text.near_questions import (
    ask_one_of,
    near_question_groups,
    questions_of,
    words_of,
)

HELD_OUT = "test"  # the split
HASHES = 2**64


def with_held_out(
    conversations: Sequence[Conversation], fraction: float
) -> tuple[list[Conversation], Counter[str]]:
    """The conversations, about `fraction` of them in split "test", and how many were left out.

    The draw is by hash of the first question; all that ask nearly the same (text/near_questions)
    fall on one side. A question asked more often than the fraction of the whole stays in training,
    or one that everybody asks would decide alone how much is left to learn. Conversations for
    training whose later turns ask a held-out question are left out ("asks_held_out").
    """
    firsts = [(questions_of(each.messages) or [""])[0] for each in conversations]
    groups = near_question_groups(firsts)
    sizes, names = Counter(groups), dict[int, str]()
    for group, question in zip(groups, firsts, strict=True):
        name = " ".join(words_of(question))
        names[group] = min(names.get(group, name), name)
    most = max(1.0, fraction * len(conversations))
    drawn = {
        group
        for group, name in names.items()
        if name and sizes[group] <= most and _place(name) < fraction
    }
    held_out = [
        replace(each, split=HELD_OUT)
        for each, group in zip(conversations, groups, strict=True)
        if group in drawn
    ]
    rest = [each for each, group in zip(conversations, groups, strict=True) if group not in drawn]
    kept = without_questions_of(held_out, rest)
    left_out = Counter({"asks_held_out": len(rest) - len(kept)}) if len(kept) < len(rest) else {}
    return [*kept, *held_out], Counter(left_out)


def without_questions_of(
    held_out: Sequence[Conversation], conversations: Sequence[Conversation]
) -> list[Conversation]:
    """Those of which no turn asks nearly what a held-out conversation asks first."""
    first = [questions[0] for each in held_out if (questions := questions_of(each.messages))]
    leaks = ask_one_of([questions_of(each.messages) for each in conversations], first)
    return [each for each, leak in zip(conversations, leaks, strict=True) if not leak]


def _place(name: str) -> float:
    return int.from_bytes(place_in_draw(f"held out:{name}")[:8]) / HASHES
