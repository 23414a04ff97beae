import pytest
from small_world import documents

from volano.diagnose.facts import FieldIndex
from volano.diagnose.patterns import patterns_of

INDEX = FieldIndex(documents())
FIELDS = list(INDEX.fields.values())


def test_a_form_of_question_is_learnt_from_a_few_corrections():
    pairs = [
        (f"Which does {{this}}: {each['answer']} Eh?", f"It is {each['name']}!")
        for each in FIELDS[:6]
    ]
    [pattern] = patterns_of(pairs, INDEX)
    assert (pattern.support, pattern.agreement) == (6, 1.0)
    assert pattern.relation == ("answer", "name")
    assert pattern.fill({"answer": "Do it.", "name": "a.b"}) == (
        "Which does {this}: Do it. Eh?",
        "It is a.b!",
    )


def test_two_corrections_are_too_few_and_contradicting_ones_are_none():
    pairs = [(f"Which? {each['answer']}", each["name"]) for each in FIELDS[:2]]
    assert patterns_of(pairs, INDEX) == []
    mixed = [
        (f"Which? {e['answer']}", f"{'AB'[place % 2]} {e['name']}")
        for place, e in enumerate(FIELDS[:8])
    ]
    assert patterns_of(mixed, INDEX) == []


@pytest.mark.parametrize(
    "pair",
    [
        lambda each, other: (f"Which? {each['answer']}", other["name"]),  # of another document
        lambda each, other: (f"Say {each['name']}", each["name"]),  # repeats the question
        lambda each, other: ("Which?", each["name"]),
        lambda each, other: (f"Which? {each['answer']}", "no idea"),
    ],
)
def test_an_answer_that_does_not_follow_from_the_document_makes_no_pattern(pair):
    pairs = [pair(each, other) for each, other in zip(FIELDS[:20], FIELDS[20:40], strict=True)]
    assert patterns_of(pairs, INDEX) == []
