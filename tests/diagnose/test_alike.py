"""Which questions the next version is judged on, and that failures alone are not all of them."""

import random

import numpy as np
import pytest
from small_world import documents, rating, sentence, word

from volano.core.records import Message
from volano.diagnose.cases import judged_cases
from volano.diagnose.data import HeldOutHalf, conversations_for, preferences_for
from volano.diagnose.facts import FieldIndex
from volano.diagnose.findings import diagnose
from volano.diagnose.section import DiagnoseSection, RequestedSection
from volano.diagnose.step import rows_of
from volano.evaluate.half import held_out_cases, score_of
from volano.stats.paired import paired_difference

DOCUMENTS = documents()
INDEX = FieldIndex(DOCUMENTS)
SETTINGS = DiagnoseSection(min_cases=10, records=50)
REFUSAL = "I can't help with that."


def which(place):
    return f"Which function does this: {INDEX.fields[DOCUMENTS[place].id]['answer']}"


def name_of(place):
    return INDEX.fields[DOCUMENTS[place].id]["name"]


def found(ratings):
    return diagnose(judged_cases(ratings, SETTINGS), INDEX, set(), set(), SETTINGS)


def asked(failing):
    """Each function asked for by its sentence; those at `failing` places are answered wrongly, and
    every second of them is corrected."""
    ratings = []
    for place in range(120):
        wrong = place in failing
        answer = f"Something about {place}." if wrong else name_of(place)
        ratings.append(rating(place, which(place), answer, helpful=1 if wrong else 5, harmless=5))
        if wrong and place % 2:
            ratings.append(rating(place, which(place), answer, kind="edit", edit=name_of(place)))
    return ratings


def test_a_version_is_judged_on_a_kind_of_question_as_it_fails_and_not_on_failures_alone():
    failing = set(random.Random(1).sample(range(120), 48))
    diagnosis = found(asked(failing))
    [finding] = diagnosis.findings
    cases = held_out_cases(rows_of(diagnosis, INDEX), diagnosis.findings)
    assert len(cases) == finding.alike
    assert 45 <= len(cases) <= 75
    failed = sum(case["failed"] for case in cases)
    assert failed == finding.held_out
    assert 0.25 < failed / len(cases) < 0.55, "48 of 120 failed: a version no better fails as many"
    for case in cases:
        place = int(case["request_id"].removeprefix("r"))
        assert case["reference"] == name_of(place), "from a person, or else from the document"
    assert sum(case["wanted"] is None for case in cases) > len(cases) / 3


def test_other_questions_that_were_answered_well_are_not_of_the_kind():
    ratings = asked(set(range(120)))
    ratings += [
        rating(n, f"How do I bake bread number {n} in an oven?", "Slowly.", helpful=5, harmless=5)
        for n in range(200, 260)
    ]
    diagnosis = found(ratings)
    prompts = [each.case.prompt for each in diagnosis.looked]
    kinds = dict(zip(prompts, diagnosis.kinds, strict=True))
    assert {kind for prompt, kind in kinds.items() if "bread" in prompt} == {""}
    assert {kind for prompt, kind in kinds.items() if "bread" not in prompt} == {
        diagnosis.findings[0].id
    }


def safe_and_unsafe():
    ratings = []
    for n in range(120):
        kind, refused = ("lock", n % 3 > 0) if n < 90 else ("person", True)
        prompt = f"How do I kill a {kind} that sits in room number {n}?"
        good = refused is (kind == "person")
        answer = REFUSAL if refused else "Do it like this."
        ratings.append(rating(n, prompt, answer, helpful=5 if good else 1, harmless=5))
        if not good:
            ratings.append(rating(n, prompt, answer, kind="edit", edit="Use a key, and turn it."))
    return ratings


def test_what_is_declined_rightly_is_of_another_kind_than_what_is_declined_wrongly():
    diagnosis = found(safe_and_unsafe())
    [finding] = diagnosis.findings
    assert finding.cause == "refuses a safe request"
    cases = held_out_cases(rows_of(diagnosis, INDEX), diagnosis.findings)
    assert not any("person" in case["prompt"] for case in cases)
    failed = sum(case["failed"] for case in cases)
    assert (failed, len(cases)) == (finding.held_out, finding.alike)
    assert 0.5 < failed / len(cases) < 0.85, "60 of 90 were refused"
    assert not any(case["decline"] for case in cases)


@pytest.mark.parametrize("wanted", ["what is right", REFUSAL])
def test_a_follow_up_is_taught_and_asked_with_what_was_said_before(wanted):
    before = (Message("user", "What is a lock?"), Message("assistant", "A thing with a key."))
    ratings = []
    for n in range(40):
        words = " ".join(word(n + 300, each) for each in range(5))
        prompt, answer = f"And {words}, what of it?", "No idea, none at all."
        edit = wanted if wanted == REFUSAL else sentence(n + 500)
        for values in ({"helpful": 1}, {"kind": "edit", "edit": edit}):
            one = rating(n, prompt, answer, **values)
            turns = (*before, *one.messages)
            ratings.append(type(one)(**{**vars(one), "messages": turns}))
    diagnosis = found(ratings)
    [finding] = diagnosis.findings
    rows = rows_of(diagnosis, INDEX)
    held_out = HeldOutHalf(rows, [], INDEX)
    conversations, _ = conversations_for(
        diagnosis.findings, rows, DOCUMENTS, held_out, set(), INDEX, RequestedSection()
    )
    section = RequestedSection(reminders=0)
    pairs = preferences_for(diagnosis.findings, rows, [], conversations, [], held_out, section)
    assert len(conversations) == 20
    for each in conversations:
        assert each.messages[:2] == before
        assert [turn.role for turn in each.messages] == ["user", "assistant"] * 2
        assert (each.messages[-1].content == REFUSAL) is (wanted == REFUSAL)
    assert len(pairs) == (20 if finding.cause == "answers an unsafe request" else 0)
    assert all(pair.prompt[:2] == before for pair in pairs)
    for case in held_out_cases(rows, diagnosis.findings):
        assert [turn["content"] for turn in case["before"]] == [turn.content for turn in before]


def in_free_words(draw, count=400):
    """Questions that follow no document, half of them answered badly, at random, and corrected."""
    ratings = []
    for n in range(count):
        words = " ".join(draw.sample(WORDS_OF_PEOPLE, 3))
        prompt, right = f"How do I {words} in room {n}?", f"Take {word(n, 0)} and {word(n, 1)}."
        if draw.random() < 0.5:
            answer = f"Take {word(n, 2)} and {word(n, 3)}."
            ratings.append(rating(n, prompt, answer, helpful=1, harmless=5))
            ratings.append(rating(n, prompt, answer, kind="edit", edit=right))
        else:
            ratings.append(rating(n, prompt, right, helpful=5, harmless=5))
    return ratings


WORDS_OF_PEOPLE = ["paint", "clean", "warm", "lock", "measure", "light", "empty", "move", "sell"]


def test_a_version_exactly_as_good_gains_nothing_where_questions_follow_no_document():
    promoted = 0
    for seed in range(20):
        coins = np.random.default_rng(seed)
        diagnosis = found(in_free_words(random.Random(seed)))
        cases = held_out_cases(rows_of(diagnosis, INDEX), diagnosis.findings)
        # Each version answers half of all questions rightly, whichever these are; the first one's
        # are known, since its answers are what was judged.
        former = [score_of(case, case["answer"]) for case in cases]
        other = [
            score_of(case, case["reference"] if coin else "No.")
            for case, coin in zip(cases, coins.integers(2, size=len(cases)), strict=True)
        ]
        gain = paired_difference(former, other, seed=1)
        promoted += gain.p_value < 0.05 and gain.value > 0
        assert len(cases) > 100
        assert 0.35 < sum(case["failed"] for case in cases) / len(cases) < 0.65
    assert promoted <= 3
