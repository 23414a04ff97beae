"""Which questions are of a finding's kind, whether they were answered badly or well.

A half made of failures alone flatters whatever comes next: any other version gains there by chance
what it loses on the questions that had been answered well (regression to the mean). So the next
version is put questions of the kind, and the kind is told by how they are asked: a question belongs
where the failures do that are asked most like it. Content is scored against what a person wrote
down; or else, where the finding's questions follow from documents, against the document; or else
against the answer that people were content with, which a version that answers otherwise must match.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from volano.core.finding import Finding
from volano.diagnose.clusters import prompt_vectors
from volano.text.functions import normalised

if TYPE_CHECKING:
    from volano.diagnose.facts import FieldIndex
    from volano.diagnose.findings import Looked
    from volano.diagnose.patterns import Pattern

NEIGHBOURS = 5
REACH = 0.95  # a finding reaches as far as this share of its own failures lie from one another


def kinds_of(
    looked: Sequence["Looked"], belongs: Sequence[str], findings: Sequence[Finding]
) -> list[str]:
    """Per case the finding of whose kind it is, "" for none; of a failure, its own.

    What should be declined is never of one kind with what should be answered.
    """
    kinds = list(belongs)
    vectors = prompt_vectors([each.case.prompt for each in looked])
    if not vectors.shape[1]:  # no two are asked alike
        return kinds
    for declined in (False, True):
        side = [place for place, each in enumerate(looked) if each.decline is declined]
        failed = [place for place in side if looked[place].case.failed]
        others = [place for place in side if not looked[place].case.failed]
        named = [belongs[place] for place in failed]
        if others and any(named):
            found = _nearest(vectors[failed], named, vectors[others])
            for place, name in zip(others, found, strict=True):
                kinds[place] = name
    return kinds


def _nearest(failed: Any, named: Sequence[str], others: Any) -> list[str]:
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(named))
    near = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(failed)
    reaches = {name: _reach(failed[_places(named, name)]) for name in set(named) - {""}}
    distances, places = near.kneighbors(others)
    found = []
    for row, neighbours in zip(distances, places, strict=True):
        votes = Counter(named[place] for place in neighbours)
        # Of findings with as many votes, the one with the nearest failure.
        name = max(votes, key=lambda each: votes[each])
        mine = [far for far, place in zip(row, neighbours, strict=True) if named[place] == name]
        found.append(name if name and min(mine) <= reaches[name] else "")
    return found


def _places(named: Sequence[str], name: str) -> list[int]:
    return [place for place, each in enumerate(named) if each == name]


def _reach(members: Any) -> float:
    from sklearn.neighbors import NearestNeighbors

    if members.shape[0] < 2:
        return 0.0
    near = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(members)
    return float(np.quantile(near.kneighbors(members)[0][:, 1], REACH)) + 1e-9


def reference_of(each: "Looked", patterns: Sequence["Pattern"], index: "FieldIndex") -> str | None:
    """What the answer is scored by: what a person wrote down, or the one answer that the documents
    give to a question of this form, or else an answer that people were content with."""
    if each.case.wanted is not None:
        return each.case.wanted
    return documented(each, patterns, index) or (None if each.case.failed else each.case.answer)


def documented(each: "Looked", patterns: Sequence["Pattern"], index: "FieldIndex") -> str | None:
    """The one answer that the documents give to a question of these forms, if there is one."""
    answers = {
        wanted
        for pattern in patterns
        for name in each.documents
        if name in index.fields
        for prompt, wanted in [pattern.fill(index.fields[name])]
        if prompt == each.case.prompt
    }
    return answers.pop() if len(answers) == 1 else None


def is_documented(each: "Looked", reference: str | None, index: "FieldIndex") -> bool:
    """Whether the reference is a field of a document that the question is about: then an answer can
    be right or wrong, and to have answered at all is not enough."""
    if reference is None:
        return False
    if each.case.document is not None:  # of an evaluation: known beforehand, and in no corpus
        return True
    fields = (index.fields.get(name, {}).values() for name in each.documents)
    return any(normalised(reference) == normalised(field) for one in fields for field in one)
