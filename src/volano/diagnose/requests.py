"""What data would mend a finding: how much, of which kind, and from where.

For questions that follow a pattern, two cases must be told apart. If training holds no question of
that form, the model lacks a skill, and any document that it knows can teach it. If it does, only
documents that it has never seen say anything new. Misconduct asks for pairs instead: the same kind
of request with the right and the wrong answer side by side.
"""

from collections import Counter
from collections.abc import Sequence

from volano.core.finding import CONDUCT, DataRequest, Finding
from volano.diagnose.cases import Case
from volano.diagnose.facts import FieldIndex
from volano.diagnose.patterns import Pattern
from volano.diagnose.section import DiagnoseSection
from volano.text.functions import place_in_draw

MODULES_NAMED = 50
PROBES = 500  # documents that are tried to see whether training knows a form of question
KNOWN_SHARE = 0.02  # of the probes; one form among many is asked of every sixth document or so


def request_for(
    finding: Finding,
    used: Sequence[tuple[Case, Sequence[str]]],
    patterns: Sequence[Pattern],
    index: FieldIndex,
    trained: set[str],
    taught: set[str],
    settings: DiagnoseSection,
) -> DataRequest | None:
    """The request, or None where nothing of the used half says what is right."""
    modules = Counter(
        index.fields[name]["module"]
        for _, documents in used
        for name in documents
        if name in index.fields
    )
    edits = sum(case.wanted is not None for case, _ in used)
    choices = sum(case.preferred is not None for case, _ in used)
    named = tuple(name for name, _ in modules.most_common(MODULES_NAMED))
    if finding.cause in CONDUCT:
        what = (
            f"{edits} corrected answers, and pairs of look-alikes from the safety set, each with "
            "its own answer preferred to the other's."
        )
        return DataRequest(finding.id, what, settings.records, ("conversations", "preferences"))
    if patterns:
        new = [each for each in patterns if not is_taught(each, index, trained, taught)]
        chosen = new or list(patterns)
        forms = ", ".join(f"“{each.prompt}” → “{each.wanted}”" for each in chosen[:3])
        where = (
            "documents that it has trained on, in a form of question that training lacks"
            if new
            else "documents that it has not trained on, in a form of question that training has"
        )
        return DataRequest(
            finding=finding.id,
            what=f"Questions and answers like {forms}, about {where}.",
            records=settings.records,
            kinds=("conversations", "preferences"),
            modules=named,
            patterns=tuple({**each.plain(), "taught": not new} for each in chosen),
        )
    if not edits and not choices:
        return None
    what = f"The {edits} corrected answers and {choices} choices; no form of question is common."
    kinds = ("conversations",) if edits else ()
    return DataRequest(
        finding.id, what, edits + choices, kinds + (("preferences",) if choices else ()), named
    )


def is_taught(pattern: Pattern, index: FieldIndex, trained: set[str], taught: set[str]) -> bool:
    """Whether training asks in this form: whether it asks so about documents that it holds."""
    probes = sorted(trained & index.fields.keys(), key=place_in_draw)[:PROBES]
    asked = sum(pattern.fill(index.fields[name])[0] in taught for name in probes)
    return bool(probes) and asked / len(probes) >= KNOWN_SHARE
