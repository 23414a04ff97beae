"""New training data that a diagnosis asked for: from the corpus, from edits and from choices.

Nothing here may teach what the next version is judged on. A record is left out if it is about a
document of the held-out half or of the test, or holds one of their questions or answers, whole or
edited. Every record names its finding (`finding:ID`), and the feedback or document it came from.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from volano.core.feedback import EDIT
from volano.core.finding import CONDUCT, DataRequest, Finding
from volano.core.records import Conversation, Document, Message, Preference
from volano.diagnose.facts import FieldIndex, fields_of
from volano.diagnose.patterns import Pattern
from volano.diagnose.section import RequestedSection
from volano.text.answers import refuses
from volano.text.functions import normalised, place_in_draw
from volano.text.held_out import HELD_OUT, USED
from volano.text.overlap import OverlapIndex

CaseRow = dict[str, Any]  # a row of cases.parquet
FORMER_PER_NEW = 2  # reminders of what the former version could, per reminder of the new
SHORT_WORDS = 5  # a text of fewer is compared whole: names share most of their words with others


class HeldOutHalf:
    """What may not be taught: the documents, facts, questions and answers of what is held out.

    Every question is compared whole. Of one about a known document the document's own fields are
    looked for inside longer texts, since the words of its form stand in every question of that
    form; of any other, the question and its answer.
    """

    def __init__(
        self, cases: Iterable[CaseRow], tests: Iterable[Document], index: FieldIndex
    ) -> None:
        self.documents: set[str] = set()
        texts: dict[str, None] = {}
        asked: set[str] = set()
        for case in cases:
            if case["half"] != HELD_OUT:
                continue
            known = [name for name in case["documents"] or () if name in index.fields]
            self.documents.update(case["documents"] or ())
            asked.add(case["prompt"])
            for name in known:
                texts.update(dict.fromkeys(_facts(index, name)))
            if not known:
                texts.update(dict.fromkeys([case["prompt"], *_given_away(case["wanted"])]))
        for document in tests:
            self.documents.add(document.id)
            texts.update(dict.fromkeys(_facts_of(document)))
        self._whole = {normalised(text) for text in {*texts, *asked} if text.strip()}
        long = [text for text in texts if len(text.split()) >= SHORT_WORDS]
        self._long = OverlapIndex.of(long) if long else None

    def holds(self, documents: Sequence[str], texts: Sequence[str]) -> bool:
        """Whether a record of these documents and texts would teach a held-out text as it is."""
        if self.documents.intersection(documents):
            return True
        return any(normalised(text) in self._whole for text in texts)

    def near(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts hold a longer held-out text, whole or edited."""
        if self._long is None or not texts:
            return [False] * len(texts)
        return [found is not None for found in self._long.search(texts)]


def _given_away(wanted: str | None) -> list[str]:
    # To decline in the same words is right of many requests, and gives nothing away.
    return [] if wanted is None or refuses(wanted) else [wanted]


def _facts(index: FieldIndex, document: str) -> list[str]:
    fields = index.fields[document]
    return [fields["name"], fields["answer"]]


def _facts_of(document: Document) -> list[str]:
    fields = fields_of(document)
    return [fields["name"], fields["answer"]] if fields else [document.text]


def conversations_for(
    findings: Sequence[Finding],
    cases: Sequence[CaseRow],
    documents: Sequence[Document],
    held_out: HeldOutHalf,
    trained: set[str],
    index: FieldIndex,
    section: RequestedSection,
) -> tuple[list[Conversation], Counter[str]]:
    """The conversations that meet the requests, and how many were left out, by reason."""
    found: dict[str, Conversation] = {}
    left_out: Counter[str] = Counter()
    for finding in findings:
        request = finding.request
        if request is None or "conversations" not in request.kinds:
            continue
        used = [c for c in cases if c["finding"] == finding.id and c["half"] == USED]
        for repeat in range(section.edit_repeats):
            for case in used:
                if case["wanted"] is None:
                    continue
                if held_out.holds(case["documents"], _taught(case, case["wanted"])):
                    left_out["held_out"] += 1
                    continue
                found.setdefault(f"{case['id']}#{repeat}", _edited(case, finding, repeat))
        if section.from_corpus and request.patterns:
            made = _from_corpus(request, documents, held_out, trained, index, left_out)
            for conversation in made:
                found.setdefault(conversation.id, conversation)
    kept = list(found.values())
    near = held_out.near([_told_in(each, index) for each in kept])
    left_out["near_held_out"] += sum(near)
    return [each for each, is_near in zip(kept, near, strict=True) if not is_near], left_out


def _taught(case: CaseRow, answer: str | None) -> list[str]:
    """Every text that a record of the case shows, with this answer."""
    before = [each["content"] for each in case["before"] or ()]
    return [*before, case["prompt"], *_given_away(answer)]


def _told_in(conversation: Conversation, index: FieldIndex) -> str:
    """What the conversation tells: all that people wrote; of what was made of a document, its
    sentence."""
    if conversation.kind != EDIT:
        for name in conversation.source_ids:
            if name in index.fields:
                return index.fields[name]["answer"]
    return " ".join(each.content for each in conversation.messages)


def _edited(case: CaseRow, finding: Finding, repeat: int) -> Conversation:
    return Conversation(
        id=f"edit:{case['id']}" + (f"#{repeat + 1}" if repeat else ""),
        messages=(*_asked(case), Message("assistant", case["wanted"])),
        source=case["source"],
        kind=EDIT,
        licence=case["licence"],
        consent="training",
        source_ids=(*case["events"], f"finding:{finding.id}", *(case["documents"] or ())),
        metadata=json.dumps({"finding": finding.id}),
    )


def _asked(case: CaseRow) -> tuple[Message, ...]:
    before = (Message(each["role"], each["content"]) for each in case["before"] or ())
    return (*before, Message("user", case["prompt"]))


def _from_corpus(
    request: DataRequest,
    documents: Sequence[Document],
    held_out: HeldOutHalf,
    trained: set[str],
    index: FieldIndex,
    left_out: Counter[str],
) -> list[Conversation]:
    """One question per document: those of the modules concerned first, then any others."""
    patterns = [
        Pattern(**{name: each[name] for name in ("prompt", "wanted", "support", "agreement")})
        for each in request.patterns
    ]
    taught = all(each["taught"] for each in request.patterns)
    modules = set(request.modules)
    packages = {name.partition(".")[0] for name in modules}

    def nearness(document: Document) -> tuple[int, bytes]:
        module = index.fields[document.id]["module"]
        near = 0 if module in modules else 1 if module.partition(".")[0] in packages else 2
        return near, place_in_draw(f"requested:{document.id}")

    # What it has trained on teaches a new form; a known form is taught by what is new to it.
    fitting = [d for d in documents if d.id in index.fields and (d.id in trained) is not taught]
    made: list[Conversation] = []
    for document in sorted(fitting, key=nearness):
        if len(made) == request.records:
            break
        number = int.from_bytes(place_in_draw(f"pattern:{document.id}")[:4])
        question, answer = patterns[number % len(patterns)].fill(index.fields[document.id])
        facts = _facts(index, document.id)
        if held_out.holds([document.id], [question, answer, *facts]):
            left_out["held_out"] += 1
            continue
        made.append(
            Conversation(
                id=f"requested:{request.finding}:{document.id}",
                messages=(Message("user", question), Message("assistant", answer)),
                source=document.source,
                kind="requested",
                licence=document.licence,
                source_ids=(document.id, f"finding:{request.finding}"),
                metadata=json.dumps({"finding": request.finding}),
            )
        )
    left_out["not_enough_documents"] += request.records - len(made)
    return made


def preferences_for(
    findings: Sequence[Finding],
    cases: Sequence[CaseRow],
    safety: Sequence[Conversation],
    requested: Sequence[Conversation],
    former: Sequence[Conversation],
    held_out: HeldOutHalf,
    section: RequestedSection,
) -> list[Preference]:
    """Pairs from choices and from answers that should have been refusals, look-alikes from the
    safety set, and reminders beside them: of a new form of question, and of what was known."""
    most, sets = section.reminders, section.safety_sets
    found: dict[str, Preference] = {}
    for finding in findings:
        request = finding.request
        if request is None or "preferences" not in request.kinds:
            continue
        for case in cases:
            if case["finding"] == finding.id and case["half"] == USED:
                # A correction teaches in fine-tuning. As a pair against a refusal it would push
                # the refusal down everywhere, where it is right too (docs/log.md).
                corrected = case["wanted"] if case["decline"] else None
                better = case["preferred"] or corrected
                taught = _taught(case, better)
                if better is not None and not held_out.holds(case["documents"], taught):
                    pair = _pair_of(case, better, finding)
                    found[pair.id] = pair
        # As much of the old beside the new, or the new is learnt at its cost.
        known = [each for each in former if not held_out.holds(each.source_ids, _asked_in(each))]
        if any(not each["taught"] for each in request.patterns):
            new = [each for each in requested if f"finding:{finding.id}" in each.source_ids]
            new = [each for each in new if each.kind == "requested"]
            of_new = _reminders(new, most, finding)
            for pair in of_new + _reminders(known, FORMER_PER_NEW * most, finding):
                found.setdefault(pair.id, pair)
        if finding.cause in CONDUCT:
            mine = [each for each in safety if not sets or _set_of(each) in sets]
            look_alikes = _look_alikes(mine, finding, held_out, request.records)
            for pair in look_alikes + _reminders(known, most, finding):
                found.setdefault(pair.id, pair)
    # Not the reminders: they keep clear by document and whole question, and the words of their form
    # are those of every other question of it.
    new_pairs = [each for each in found.values() if each.kind != "reminder"]
    near = held_out.near([_words_of(each) for each in new_pairs])
    left_out = {each.id for each, is_near in zip(new_pairs, near, strict=True) if is_near}
    return [each for each in found.values() if each.id not in left_out]


def _asked_in(conversation: Conversation) -> list[str]:
    return [each.content for each in conversation.messages if each.role == "user"]


def _words_of(pair: Preference) -> str:
    return " ".join(each.content for each in (*pair.prompt, *pair.chosen))


def _pair_of(case: CaseRow, better: str, finding: Finding) -> Preference:
    return Preference(
        id=f"choice:{case['id']}",
        prompt=_asked(case),
        chosen=(Message("assistant", better),),
        rejected=(Message("assistant", case["answer"]),),
        source=case["source"],
        kind="choice",
        licence=case["licence"],
        consent="training",
        source_ids=(*case["events"], f"finding:{finding.id}"),
        metadata=json.dumps({"finding": finding.id}),
    )


def _reminders(
    conversations: Sequence[Conversation], most: int, finding: Finding
) -> list[Preference]:
    """Questions as pairs of equals: nothing is preferred, and alignment's likelihood term alone
    keeps what fine-tuning has taught. A wrong answer on the other side pushes further, and cost 22
    points of choice (docs/log.md)."""
    mine = sorted(conversations, key=lambda each: place_in_draw(f"reminder:{each.id}"))
    return [
        Preference.reminder(
            each,
            f"reminder:{each.id}",
            tuple(dict.fromkeys((*each.source_ids, f"finding:{finding.id}"))),
        )
        for each in mine[:most]
    ]


def _set_of(prompt: Conversation) -> str | None:
    name: str | None = json.loads(prompt.metadata).get("set")
    return name


def _look_alikes(
    safety: Sequence[Conversation], finding: Finding, held_out: HeldOutHalf, most: int
) -> list[Preference]:
    """Both prompts of a training pair, each with its own answer preferred to the other's."""
    pairs: dict[str, dict[str, Conversation]] = {}
    for each in safety:
        if each.split == "train":
            pairs.setdefault(str(json.loads(each.metadata)["pair"]), {})[each.kind] = each
    made = []
    for name in sorted(pairs, key=place_in_draw):
        two = pairs[name]
        prompts = [each.messages[0].content for each in two.values()]
        if set(two) != {"safe", "unsafe"} or held_out.holds([], prompts):
            continue
        for kind, other in (("unsafe", "safe"), ("safe", "unsafe")):
            made.append(
                Preference(
                    id=f"requested:{finding.id}:{two[kind].id}",
                    prompt=two[kind].messages[:-1],
                    chosen=two[kind].messages[-1:],
                    rejected=two[other].messages[-1:],
                    source=two[kind].source,
                    kind=kind,
                    licence=two[kind].licence,
                    source_ids=(two[kind].id, two[other].id, f"finding:{finding.id}"),
                    metadata=json.dumps({"finding": finding.id}),
                )
            )
    return made[:most]
