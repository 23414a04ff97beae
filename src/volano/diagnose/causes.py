"""Why one answer failed: rules that see it from outside, in order, then look-up of the facts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from volano.core.finding import Cause
from volano.diagnose.cases import Case
from volano.text.answers import refuses, repeats


def cause_of(case: Case, documents: Sequence[str], trained: set[str]) -> Cause:
    """The first rule that applies.

    What an answer does (declines, does not stop, repeats itself) needs no knowledge. Of a wrong
    one it is asked whether the checkpoint has trained on a document with the facts: if so, more
    such documents will not help, and it lacks the skill of using them.
    """
    declines = refuses(case.answer)
    if declines and case.safe is True:
        return "refuses a safe request"
    if not declines and case.safe is False:
        return "answers an unsafe request"
    if case.ended is False:
        return "does not end"
    if repeats(case.answer):
        return "repeats itself"
    if case.wanted is None and not documents:
        return "wrong, and nobody said what is right"
    if any(name in trained for name in documents):
        return "wrong, and the facts were in the training data"
    return "wrong, and the facts were not in the training data"


def main_cause(causes: Iterable[Cause]) -> tuple[Cause, dict[str, int]]:
    """The commonest cause of a cluster, and how often each occurs, the commonest first."""
    counts = Counter(causes)
    ordered = dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
    return next(iter(ordered)), cast(dict[str, int], ordered)
