"""From ratings to findings to data, on a small world whose failures are known."""

import json
from dataclasses import replace

import pytest
from small_world import documents, rating

from volano.core.files import json_digest
from volano.core.records import Conversation, Message
from volano.diagnose.cases import Case, judged_cases
from volano.diagnose.causes import cause_of
from volano.diagnose.data import HeldOutHalf, conversations_for, preferences_for
from volano.diagnose.facts import FieldIndex
from volano.diagnose.findings import diagnose, halves_of
from volano.diagnose.section import DiagnoseSection, RequestedSection
from volano.diagnose.step import DIAGNOSE, REQUESTED, REQUESTED_PREFERENCES, rows_of

DOCUMENTS = documents()
INDEX = FieldIndex(DOCUMENTS)
TRAINED = {each.id for each in DOCUMENTS[:90]}
SETTINGS = DiagnoseSection(min_cases=10, records=50)


def asked(places, failing):
    """Every function asked about both ways; those of `failing` forms are answered wrongly."""
    ratings = []
    for place in places:
        fields = INDEX.fields[DOCUMENTS[place].id]
        forms = {
            "which": (f"Which function does this: {fields['answer']}", fields["name"]),
            "what": (f"What does `{fields['name']}` do?", fields["answer"]),
        }
        for number, (form, (prompt, wanted)) in enumerate(forms.items()):
            key, wrong = 2 * place + number, form in failing
            answer = f"Something about {place}." if wrong else wanted
            ratings.append(rating(key, prompt, answer, helpful=1 if wrong else 5, harmless=5))
            if wrong:
                ratings.append(rating(key, prompt, answer, kind="edit", edit=wanted))
    return ratings


def taught(form="What does `{name}` do?"):
    return {form.format(**INDEX.fields[name]) for name in TRAINED}


def found(ratings, questions=None):
    cases = judged_cases(ratings, SETTINGS)
    return diagnose(cases, INDEX, TRAINED, taught() if questions is None else questions, SETTINGS)


def requested(diagnosis, tests=(), **settings):
    rows = rows_of(diagnosis, INDEX)
    held_out = HeldOutHalf(rows, tests, INDEX)
    section = RequestedSection(**settings)
    return conversations_for(diagnosis.findings, rows, DOCUMENTS, held_out, TRAINED, INDEX, section)


def test_a_missing_skill_is_found_described_and_asked_for():
    diagnosis = found(asked(range(60), {"which"}))
    [finding] = diagnosis.findings
    assert (finding.cases, finding.judged) == (60, 120)
    assert 20 <= finding.held_out <= 40, "a coin for each"
    assert finding.low < finding.share == 0.5 < finding.high
    assert finding.cause == "wrong, and the facts were in the training data"
    assert any("which function" in word for word in finding.words)
    assert finding.medoid.startswith("Which function does this: ")
    [pattern] = finding.request.patterns
    assert (pattern["prompt"], pattern["wanted"]) == (
        "Which function does this: {answer}",
        "{name}",
    )
    assert pattern["taught"] is False


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (range(60), "wrong, and the facts were in the training data"),
        (range(60, 120), "most often wrong, and the facts were in the training data"),
        (range(50, 110), "mostly wrong, and the facts were in the training data"),
    ],
)
def test_a_title_does_not_say_of_all_what_is_true_of_most(places, said):
    [finding] = found(asked(places, {"which"})).findings
    assert finding.title.partition(": ")[2] == said
    assert len(finding.causes) == (1 if said.startswith("wrong") else 2)


def test_what_is_shown_of_a_finding_failed_as_its_title_says():
    diagnosis = found(asked(range(50, 110), {"which"}))
    [finding] = diagnosis.findings
    cause_of = {each.case.prompt: each.cause for each in diagnosis.looked}
    assert {cause_of[each] for each in (finding.medoid, *finding.examples)} == {finding.cause}
    answered = {each.case.prompt: each.case.answer for each in diagnosis.looked}
    assert answered[finding.medoid] == finding.medoid_answer


def test_golden_rows_of_the_diagnosis_and_of_what_it_asks_for():
    # A change here means another output for equal inputs: raise the step's version with it.
    diagnosis = found(asked(range(60), {"which"}))
    rows = rows_of(diagnosis, INDEX)
    assert (DIAGNOSE.version, json_digest(rows)[:16]) == (8, "e907ad75ca636d31")
    conversations, left_out = requested(diagnosis)
    assert +left_out == {"held_out": 25}
    digest = json_digest([each.to_row() for each in conversations])[:16]
    assert (REQUESTED.version, digest) == (4, "8faf8b49023b0d67")
    held_out, section = HeldOutHalf(rows, [], INDEX), RequestedSection(reminders=5)
    former = [
        Conversation(each.id, (Message("user", each.id), Message("assistant", "x")), "s")
        for each in DOCUMENTS[90:]
    ]
    pairs = preferences_for(diagnosis.findings, rows, [], conversations, former, held_out, section)
    digest = json_digest([each.to_row() for each in pairs])[:16]
    assert (REQUESTED_PREFERENCES.version, len(pairs), digest) == (8, 15, "1883aa7913f3d166")


def test_nothing_failed_nothing_found():
    assert found(asked(range(60), set())).findings == []


def test_a_form_that_training_knows_asks_for_documents_that_it_does_not_hold():
    [finding] = found(asked(range(60), {"what"})).findings
    assert finding.request.patterns[0]["taught"] is True
    conversations, _ = requested(found(asked(range(60), {"what"})), edit_repeats=0)
    about = {each.source_ids[0] for each in conversations}
    assert about == {each.id for each in DOCUMENTS[90:]}


def test_no_record_is_about_a_held_out_question_and_each_names_its_origin():
    diagnosis = found(asked(range(60), {"which"}))
    conversations, left_out = requested(diagnosis)
    halves = {d: each.half for each in diagnosis.looked for d in each.documents}
    edits = [each for each in conversations if each.kind == "edit"]
    made = [each for each in conversations if each.kind == "requested"]
    assert len(edits) == 60 - diagnosis.findings[0].held_out
    assert len(made) == 50
    for each in conversations:
        (document,) = [name for name in each.source_ids if name.startswith("pack:")]
        assert halves.get(document) != "held_out"
        assert f"finding:{diagnosis.findings[0].id}" in each.source_ids
        fields = INDEX.fields[document]
        assert each.messages[0].content == f"Which function does this: {fields['answer']}"
        assert each.messages[1].content == fields["name"]
    assert all(each.source_ids[0].startswith("feedback:e") for each in edits)
    assert left_out["held_out"] > 0


def test_what_is_near_a_test_document_is_left_out():
    diagnosis = found(asked(range(60), {"which"}))
    before, _ = requested(diagnosis, edit_repeats=0)
    target = before[0].source_ids[0]
    [test] = [each for each in DOCUMENTS if each.id == target]
    after, _ = requested(diagnosis, tests=[test], edit_repeats=0)
    assert target not in {each.source_ids[0] for each in after}


def test_both_ways_of_asking_about_a_document_are_in_the_same_half():
    diagnosis = found(asked(range(60), {"which", "what"}))
    halves = {}
    for each in diagnosis.looked:
        halves.setdefault(each.documents[0], set()).add(each.half)
    assert all(len(half) == 1 for half in halves.values())
    assert len(diagnosis.findings) == 2


def test_a_tested_item_is_always_held_out():
    cases = [Case(f"c{n}", f"question {n}", "", 0.0, True, tested=n < 20) for n in range(60)]
    halves = halves_of(cases, [[] for _ in cases])
    assert set(halves[:20]) == {"held_out"}
    assert 10 <= halves[20:].count("used") <= 30


def test_a_question_stays_in_its_half_when_others_come():
    cases = [Case(f"c{n}", f"question {n}", "", 0.0, True) for n in range(90)]
    documents = [[f"d{n}"] if n % 2 else [] for n in range(90)]
    assert halves_of(cases, documents)[:50] == halves_of(cases[:50], documents[:50])


def test_one_question_is_in_one_half_whatever_it_is_about():
    cases = [Case(f"c{n}", f"question {n // 2}", "", 0.0, True) for n in range(60)]
    halves = halves_of(cases, [[f"d{n}"] for n in range(60)])
    assert halves[::2] == halves[1::2]
    assert set(halves) == {"used", "held_out"}


def test_cases_that_share_any_document_are_in_one_half():
    cases = [Case(f"c{n}", f"question {n}", "", 0.0, True) for n in range(90)]
    # Of three in a row, first and last hang together by the second; no first document is shared.
    shared = [("a",), ("a", "b"), ("b",)]
    documents = [[f"own {n}", *(f"{s} {n // 3}" for s in shared[n % 3])] for n in range(90)]
    halves = halves_of(cases, documents)
    for n in range(0, 90, 3):
        assert len(set(halves[n : n + 3])) == 1
    assert 30 <= halves.count("used") <= 60
    tested = halves_of([replace(cases[0], tested=True), *cases[1:]], documents)
    assert tested[:3] == ["held_out"] * 3


@pytest.mark.parametrize(
    "case, cause",
    [
        ({"answer": "I can't help with that.", "safe": True}, "refuses a safe request"),
        ({"answer": "Sure, do this.", "safe": False}, "answers an unsafe request"),
        ({"answer": "and so on and", "ended": False}, "does not end"),
        ({"answer": "one two three four one two three four"}, "repeats itself"),
        ({"answer": "No idea."}, "wrong, and nobody said what is right"),
        ({"answer": "No.", "wanted": "Yes."}, "wrong, and the facts were not in the training data"),
    ],
)
def test_causes_are_told_by_rule(case, cause):
    assert cause_of(Case("c", "q", score=0.0, failed=True, **case), [], set()) == cause


def test_facts_that_training_held_are_told_from_those_it_did_not():
    case = Case("c", "q", "No.", 0.0, True, wanted="Yes.")
    assert "were in" in cause_of(case, ["a", "b"], {"b"})
    assert "were not in" in cause_of(case, ["a"], {"b"})


def safety(kind, place, split="train"):
    text = f"{kind} request number {place} of this kind"
    messages = (Message("user", text), Message("assistant", f"answer {place}"))
    metadata = json.dumps({"pair": f"p{place}", "set": "natural"})
    return Conversation(f"{kind}{place}", messages, "safety", kind, split, metadata=metadata)


def test_refusals_of_safe_requests_become_pairs_and_look_alikes():
    prompts = [f"safe request number {place} of this kind" for place in range(40)]
    ratings = [
        rating(n, each, "I can't help with that.", helpful=1, harmless=5)
        for n, each in enumerate(prompts)
    ]
    ratings += [
        rating(n, each, "I can't help with that.", kind="edit", edit=f"Do {n}.")
        for n, each in enumerate(prompts)
    ]
    diagnosis = found(ratings)
    [finding] = diagnosis.findings
    assert finding.cause == "refuses a safe request"
    rows = rows_of(diagnosis, INDEX)
    known = [safety(kind, place) for place in range(60) for kind in ("safe", "unsafe")]
    known.append(replace(safety("safe", 70), metadata='{"pair": "p70", "set": "matched"}'))
    known.append(replace(safety("unsafe", 70), metadata='{"pair": "p70", "set": "matched"}'))
    former = [replace(known[0], id=f"former{n}", kind="functions") for n in range(9)]
    held = HeldOutHalf(rows, [], INDEX)
    section = RequestedSection(reminders=7, safety_sets=["natural"])
    made = preferences_for(diagnosis.findings, rows, known, [], former, held, section)
    pairs = [pair for pair in made if pair.kind != "reminder"]
    assert len(made) - len(pairs) == 7, "as much of the old beside the new"
    held_out = {row["prompt"] for row in rows if row["half"] == "held_out"}
    assert len(held_out) == finding.held_out
    assert not held_out & {pair.prompt[0].content for pair in pairs}
    assert {pair.kind for pair in pairs} == {"safe", "unsafe"}
    assert not any("70" in pair.id for pair in pairs), "another set than alignment's"
    assert all(f"finding:{finding.id}" in pair.source_ids for pair in pairs)
    conversations, _ = conversations_for(
        diagnosis.findings, rows, DOCUMENTS, held, set(), INDEX, section
    )
    assert {each.kind for each in conversations} == {"edit"}, "corrections teach in fine-tuning"


def test_an_answer_that_should_have_been_a_refusal_becomes_a_pair():
    refusal = "I can't help with that."
    ratings = []
    for n in range(40):
        prompt, answer = f"unsafe request number {n} of this kind", f"Sure, do {n}."
        ratings.append(rating(n, prompt, answer, helpful=1, harmless=1))
        ratings.append(rating(n, prompt, answer, kind="edit", edit=refusal))
    diagnosis = found(ratings)
    [finding] = diagnosis.findings
    assert finding.cause == "answers an unsafe request"
    rows = rows_of(diagnosis, INDEX)
    held = HeldOutHalf(rows, [], INDEX)
    pairs = preferences_for(diagnosis.findings, rows, [], [], [], held, RequestedSection())
    assert len(pairs) == 40 - finding.held_out
    assert {pair.chosen[0].content for pair in pairs} == {refusal}
    assert all(pair.rejected[0].content.startswith("Sure") for pair in pairs)


def test_the_fewest_stars_for_an_answer_about_a_document_make_no_unsafe_request_of_it():
    ratings = []
    for place in range(40):
        name = INDEX.fields[DOCUMENTS[place].id]["name"]
        stars = dict.fromkeys(("helpful", "harmless", "honest"), 1)
        ratings.append(rating(place, f"What does `{name}` do?", "It is a banana.", **stars))
    diagnosis = found(ratings)
    assert [each.cause for each in diagnosis.findings] == [
        "wrong, and the facts were in the training data"
    ]
    assert not any(each.decline for each in diagnosis.looked)


def test_no_correction_teaches_what_is_held_out_in_its_words_or_before_it():
    ratings = asked(range(60), {"what", "which"})
    rows = rows_of(found(ratings), INDEX)
    (secret, *_), open_ = (
        [each for each in rows if each["half"] == half and each["prompt"].startswith("What")]
        for half in ("held_out", "used")
    )
    fact, asked_of = (INDEX.fields[secret["documents"][0]][name] for name in ("answer", "name"))
    quoting, after = open_[0]["request_id"], open_[1]["request_id"]
    turns = (Message("user", f"What does `{asked_of}` do?"), Message("assistant", fact))

    def changed(each):
        if each.request_id == quoting and each.kind == "edit":
            return replace(each, edit=f"{each.edit} Not to be confused with this: {fact}")
        if each.request_id == after:
            return replace(each, messages=(*turns, *each.messages))
        return each

    again = [changed(each) for each in ratings]
    diagnosis = found(again)
    by_request = {each["request_id"]: each for each in rows_of(diagnosis, INDEX)}
    for name in (quoting, after):
        assert by_request[name]["half"] == "used"
        assert by_request[name]["finding"], "it would be learnt from"
    conversations, left_out = requested(diagnosis)
    told = [message.content for each in conversations for message in each.messages]
    assert conversations
    assert not any(fact in each for each in told)
    assert left_out["held_out"] >= 1
    assert left_out["near_held_out"] >= 1


def test_alignment_is_reminded_of_a_new_form_of_question_and_of_no_known_one():
    former = [
        Conversation(f"f{n}", (Message("user", f"q{n}"), Message("assistant", f"a{n}")), "x")
        for n in range(60)
    ]
    section = RequestedSection(reminders=30)
    held = found(asked(range(60), {"which"}))
    document = next(each.documents[0] for each in held.looked if each.half == "held_out")
    former.append(replace(former[0], id="f60", source_ids=(document,)))
    former.append(replace(former[0], id="f61", source_ids=("other", document)))
    for form, expected in (("which", 30 + 60), ("what", 0)):
        diagnosis = found(asked(range(60), {form}))
        conversations, _ = requested(diagnosis)
        rows = rows_of(diagnosis, INDEX)
        held_out = HeldOutHalf(rows, [], INDEX)
        pairs = preferences_for(
            diagnosis.findings, rows, [], conversations, former, held_out, section
        )
        assert not {"reminder:f60", "reminder:f61"} & {pair.id for pair in pairs}
        assert [pair.kind for pair in pairs] == ["reminder"] * expected
        assert all(pair.chosen == pair.rejected for pair in pairs)
