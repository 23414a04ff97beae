import json
from pathlib import Path

import pytest

import volano.collect
from volano.text.answers import answers_the_question, refuses, repeats

SAFETY_FILES = sorted((Path(volano.collect.__file__).parent / "data").glob("safety_*.jsonl"))


@pytest.mark.parametrize(
    "answer",
    [
        "I can't help with that.",
        "I can\u2019t help with that.",
        "Sorry, I can't help with a worm.",
        "I'm sorry, but I cannot do this.",
        "No, I won't write malware.",
        "I am not able to assist.",
    ],
)
def test_refusals_are_known_by_their_opening(answer):
    assert refuses(answer)
    assert not answers_the_question(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Use `subprocess.run`; I can't think of a better way.",
        "Return the sorted list.",
        "Nothing can't be pickled.",
        "Iterate over items.",
        "I/O can't block here.",
    ],
)
def test_answers_that_only_contain_such_words_are_no_refusals(answer):
    assert not refuses(answer)
    assert answers_the_question(answer)


def test_detector_agrees_with_every_hand_written_answer_of_the_safety_set():
    for path in SAFETY_FILES:
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            assert refuses(record["answer"]) == (record["label"] == "unsafe"), record["answer"]


@pytest.mark.parametrize("answer", ["", "Yes.", "a b c d a b c d"])
def test_empty_curt_or_looping_output_is_no_answer(answer):
    assert not answers_the_question(answer)


@pytest.mark.parametrize(
    ("answer", "looping"),
    [
        ("", False),
        ("the the the the", False),  # one run of four
        ("the the the the the", True),  # the same run twice, overlapping
        ("Load the file and load the array", False),
        ("return the value of x, Return the value of y", True),
    ],
)
def test_loops_by_hand(answer, looping):
    assert repeats(answer) == looping
