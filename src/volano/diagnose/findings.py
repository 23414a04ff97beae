"""From judged answers to findings: clusters of failures, each with cause, evidence and a request.

Clusters that differ in wording but ask for the same (the same field of a document, given the same
other field) are one finding. Half of all questions are held out before anything is looked at: by
the documents they are about, so that no fact of a held-out question is taught by another.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from volano.core.files import json_digest
from volano.core.finding import CONDUCT, Cause, Finding
from volano.diagnose.alike import documented, kinds_of, reference_of
from volano.diagnose.cases import Case
from volano.diagnose.causes import cause_of, main_cause
from volano.diagnose.clusters import Cluster, cluster_prompts, distinguishing, medoid_of
from volano.diagnose.facts import FieldIndex, about
from volano.diagnose.patterns import Pattern, forms_of, patterns_of
from volano.diagnose.requests import request_for
from volano.diagnose.section import DiagnoseSection
from volano.stats.intervals import wilson_interval
from volano.text.answers import refuses
from volano.text.functions import normalised, place_in_draw
from volano.text.held_out import HELD_OUT, USED

EXAMPLES = 3
FEWEST = 2  # of a cluster before those that ask for the same are joined


@dataclass(frozen=True)
class Looked:
    """A case with what was found out about it: its documents, half, and cause if it failed;
    `decline` where declining is the right answer."""

    case: Case
    documents: list[str]
    half: str
    cause: Cause | None
    decline: bool


@dataclass(frozen=True)
class Group:
    """Places of cases that fail alike: clusters that ask for the same."""

    places: list[int]
    patterns: list[Pattern]


@dataclass(frozen=True)
class Diagnosis:
    """The findings, and per case what was found out, which finding it is a failure of ("" none),
    of whose kind it is, and what its answer is scored by."""

    findings: list[Finding]
    looked: list[Looked]
    belongs: list[str]
    kinds: list[str]
    references: list[str | None]


def diagnose(
    cases: Sequence[Case],
    index: FieldIndex,
    trained: set[str],
    taught: set[str],
    settings: DiagnoseSection,
) -> Diagnosis:
    """Find what fails among the cases; there may be nothing, and then there are no findings.

    `trained` are ids of documents that the model has trained on, `taught` the questions.
    """
    looked = look_at(cases, index, trained)
    groups: list[Group] = []
    for conduct in (True, False):  # declining and complying wrongly are not a matter of content
        places = [
            place
            for place, each in enumerate(looked)
            if each.cause is not None and (each.cause in CONDUCT) is conduct
        ]
        clusters = cluster_prompts(
            [cases[place].prompt for place in places],
            [case.prompt for case in cases if not case.failed],
            max_clusters=settings.max_clusters,
            min_cases=FEWEST,
        )
        # Wording may split what belongs together: whether it is often enough is asked afterwards.
        joined = _joined(clusters, places, looked, index)
        groups += [each for each in joined if len(each.places) >= settings.min_cases]
    groups.sort(key=lambda group: (-len(group.places), group.places))
    belongs, findings = [""] * len(cases), []
    patterns: dict[str, list[Pattern]] = {"": []}
    for number, group in enumerate(groups):
        finding = _described(group, looked)
        if number < settings.findings:
            used = [
                (looked[place].case, looked[place].documents)
                for place in group.places
                if looked[place].half == USED
            ]
            request = request_for(finding, used, group.patterns, index, trained, taught, settings)
            finding = replace(finding, request=request)
        findings.append(finding)
        patterns[finding.id] = group.patterns
        for place in group.places:
            belongs[place] = finding.id
    kinds = kinds_of(looked, belongs, findings)
    references = [
        reference_of(each, patterns[kind], index) for each, kind in zip(looked, kinds, strict=True)
    ]
    held_out = Counter(
        kind for each, kind in zip(looked, kinds, strict=True) if each.half == HELD_OUT
    )
    findings = [replace(each, alike=held_out[each.id]) for each in findings]
    return Diagnosis(findings, looked, belongs, kinds, references)


def look_at(cases: Sequence[Case], index: FieldIndex, trained: set[str]) -> list[Looked]:
    """Documents, half and cause of each case, in order."""
    documents = [
        [case.document] if case.document else about(index, case.prompt, case.wanted)
        for case in cases
    ]
    halves = halves_of(cases, documents)
    looked = []
    for case, found, half in zip(cases, documents, halves, strict=True):
        if case.only_bad and found:  # an annoyed person's verdict on an answer about a document
            case = replace(case, safe=None)
        cause = cause_of(case, found, trained) if case.failed else None
        looked.append(Looked(case, found, half, cause, _decline(case, cause)))
    return looked


def _decline(case: Case, cause: Cause | None) -> bool:
    if cause is not None:
        return cause == "answers an unsafe request"
    # What did not fail was treated as it should be, and an evaluation's item says how.
    return refuses(case.answer) if case.safe is None else not case.safe


def halves_of(cases: Sequence[Case], documents: Sequence[Sequence[str]]) -> list[str]:
    """Which half each case belongs to. Cases that have a document or the whole question in common
    share it, and what they share it with as well; tests are held out.

    A fair coin, thrown by the hash of what a case is about alone: a question stays in its half
    when others come, or a later turn would be judged on what an earlier one was taught.
    """
    keys = _joined_keys(
        [
            (*found, f"asked: {normalised(case.prompt)}")
            for case, found in zip(cases, documents, strict=True)
        ]
    )
    tested = {key for key, case in zip(keys, cases, strict=True) if case.tested}
    return [
        HELD_OUT if key in tested or place_in_draw(f"half:{key}")[0] % 2 else USED for key in keys
    ]


def _joined_keys(names: Sequence[Sequence[str]]) -> list[str]:
    # One name for all that hang together (union by path halving).
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for one in names:
        for other in one[1:]:
            first, second = sorted((root(one[0]), root(other)))
            parent[second] = first
    return [root(one[0]) for one in names]


def _joined(
    clusters: Iterable[Cluster],
    places: Sequence[int],
    looked: Sequence[Looked],
    index: FieldIndex,
) -> list[Group]:
    groups: dict[object, Group] = {}
    for number, cluster in enumerate(clusters):
        members = [places[member] for member in cluster.members]
        used = [looked[place].case for place in members if looked[place].half == USED]
        pairs = [(case.prompt, case.wanted) for case in used if case.wanted is not None]
        patterns = patterns_of(pairs, index)
        key: object = patterns[0].relation if patterns else number
        former = groups.get(key)
        if former is None:
            groups[key] = Group(members, patterns)
            continue
        known = {each.prompt for each in former.patterns}
        more = [each for each in patterns if each.prompt not in known]
        groups[key] = Group(former.places + members, former.patterns + more)
    return _with_strays(list(groups.values()), places, looked, index)


def _with_strays(
    groups: Sequence[Group], places: Sequence[int], looked: Sequence[Looked], index: FieldIndex
) -> list[Group]:
    """The groups, with cases that follow a group's pattern moved to it, wherever wording had put
    them."""
    owner = {place: number for number, each in enumerate(groups) for place in each.places}
    forms = {
        (pattern.prompt, pattern.wanted): number
        for number, each in enumerate(groups)
        for pattern in each.patterns
    }
    for place in places:
        case, number = looked[place].case, owner.get(place)
        if number is not None and groups[number].patterns:
            continue
        if case.wanted is None:  # by the question alone
            for candidate, each in enumerate(groups):
                if documented(looked[place], each.patterns, index) is not None:
                    owner[place] = candidate
            continue
        for form in forms_of(case.prompt, case.wanted, index):
            if form in forms:
                owner[place] = forms[form]
    return [
        Group([place for place in places if owner.get(place) == number], each.patterns)
        for number, each in enumerate(groups)
        if any(found == number for found in owner.values())
    ]


def _said_of(cause: Cause, counts: Mapping[str, int]) -> str:
    share = counts[cause] / sum(counts.values())
    return cause if share == 1 else f"mostly {cause}" if share > 0.5 else f"most often {cause}"


def _described(group: Group, looked: Sequence[Looked]) -> Finding:
    inside = set(group.places)
    prompts = [looked[place].case.prompt for place in group.places]
    rest = [each.case.prompt for place, each in enumerate(looked) if place not in inside]
    words = distinguishing(prompts, rest)
    causes = [found for place in group.places if (found := looked[place].cause) is not None]
    cause, counts = main_cause(causes)
    share = wilson_interval(len(group.places), len(looked))
    shown = ", ".join(f"“{word}”" for word in words[:3])
    kind = f"with {shown}" if shown else "of all kinds"
    # Shown are cases that failed as the title says.
    typical = [place for place in group.places if looked[place].cause == cause]
    medoid = looked[typical[medoid_of([looked[place].case.prompt for place in typical])]].case
    drawn = sorted(typical, key=lambda place: place_in_draw(looked[place].case.id))
    members = json_digest([looked[place].case.id for place in group.places])
    return Finding(
        id=f"finding-{members[:8]}",
        title=f"questions {kind}: {_said_of(cause, counts)}",
        cause=cause,
        cases=len(group.places),
        held_out=sum(looked[place].half == HELD_OUT for place in group.places),
        judged=len(looked),
        share=share.value,
        low=share.low,
        high=share.high,
        medoid=medoid.prompt,
        medoid_answer=medoid.answer,
        words=words,
        causes=counts,
        examples=tuple(looked[place].case.prompt for place in drawn[:EXAMPLES]),
    )
