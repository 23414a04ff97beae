import pytest
from small_world import rating

from volano.core.records import Conversation, Message
from volano.diagnose.cases import evaluated_cases, judged_cases
from volano.diagnose.section import DiagnoseSection
from volano.text.functions import FunctionDocument

SETTINGS = DiagnoseSection()


def judged(*ratings):
    [case] = judged_cases(ratings, SETTINGS)
    return case


@pytest.mark.parametrize(
    "values, score, failed",
    [
        ({"helpful": 5}, 1.0, False),
        ({"helpful": 3}, 0.5, False),
        ({"helpful": 2}, 0.25, True),
        ({"helpful": 5, "honest": 1}, 0.0, True),  # one axis is enough
        ({"kind": "thumb", "thumb": "down"}, 0.0, True),
        ({"kind": "thumb", "thumb": "up"}, 1.0, False),
        ({"kind": "choice", "choice": "this"}, 1.0, False),
        ({"kind": "choice", "choice": "other"}, 0.0, True),
        ({"kind": "edit", "edit": "Something else entirely, in other words."}, None, True),
        ({"kind": "edit", "edit": "Opens a filed."}, 1.0, False),  # a letter put right
    ],
)
def test_an_answer_has_failed_where_somebody_says_so(values, score, failed):
    case = judged(rating(1, "What?", "Opens a file.", **values))
    assert case.failed is failed
    if score is not None:
        assert case.score == score


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "choice", "choice": "tie"},
        {"kind": "flag", "metadata": {"comment": "This answer is dangerously wrong."}},
    ],
)
def test_what_is_no_verdict_makes_no_case_that_others_are_measured_by(values):
    assert judged_cases([rating(1, "What?", "Opens a file.", **values)], SETTINGS) == []


def test_all_that_is_said_of_a_request_is_one_case_with_all_its_events():
    case = judged(
        rating(1, "What?", "No.", helpful=4),
        rating(1, "What?", "No.", kind="edit", edit="It opens files of any kind."),
    )
    assert case.failed
    assert case.wanted == "It opens files of any kind."
    assert case.events == ("feedback:e1-edit", "feedback:e1-rating")


def test_a_lost_comparison_knows_what_won():
    metadata = {"other_answer": "Better."}
    case = judged(rating(1, "What?", "Worse.", kind="choice", choice="other", metadata=metadata))
    assert case.preferred == "Better."


def test_of_two_answers_of_one_model_the_worse_has_failed_wherever_it_stood():
    told = {"other_request_id": "r2", "other_checkpoint": "checkpoint/toy/aligned-1"}
    told |= {"other_answer": "Worse.", "other_ended": False}
    won = rating(1, "What?", "Better.", kind="choice", choice="this", metadata=told)
    better, worse = judged_cases([won], SETTINGS)
    assert (better.id, better.failed, better.preferred) == ("request:r1", False, None)
    assert (worse.id, worse.failed, worse.preferred) == ("request:r2", True, "Better.")
    assert (worse.prompt, worse.answer, worse.ended) == ("What?", "Worse.", False)
    assert better.events == worse.events == ("feedback:e1-choice",)
    another = {**told, "other_checkpoint": "checkpoint/another"}
    won = rating(1, "What?", "Better.", kind="choice", choice="this", metadata=another)
    assert not judged(won).failed, "what another model got wrong is no failure of this one"


@pytest.mark.parametrize(
    ("stars", "only_bad"),
    [
        ({"helpful": 1, "harmless": 1, "honest": 1}, True),
        ({"helpful": 2, "harmless": 2}, True),
        ({"helpful": 3, "harmless": 2}, False),
        ({"harmless": 1}, False),
        ({"helpful": 1, "harmless": 5}, False),
    ],
)
def test_few_stars_for_everything_may_mean_no_harm(stars, only_bad):
    assert judged(rating(1, "How?", "So.", **stars)).only_bad is only_bad


@pytest.mark.parametrize(
    "values, safe",
    [
        ({"helpful": 1, "harmless": 5}, None),
        ({"helpful": 1, "harmless": 1}, False),
        ({"kind": "edit", "edit": "I can't help with that."}, False),
        ({"kind": "edit", "edit": "Use a lock."}, True),
    ],
)
def test_whether_a_request_is_safe_is_taken_from_what_people_do(values, safe):
    assert judged(rating(1, "How?", "I can't help with that.", **values)).safe is safe


def test_a_case_of_an_evaluation_is_a_test_and_fails_by_its_own_figures():
    function = FunctionDocument("a:f", "a.f", "a", "", "Open a file.", "")
    safe = Conversation(
        "s1", (Message("user", "Kill a process?"), Message("assistant", "Use kill.")), "x"
    )
    items = [
        {
            "task": "answer_chrf",
            "id": "a:f",
            "answer": "Opens a file.",
            "score": 60.0,
            "correct": None,
        },
        {"task": "answers_end", "id": "a:f", "answer": None, "score": None, "correct": True},
        {"task": "answers_repeat", "id": "a:f", "answer": None, "score": None, "correct": False},
        {
            "task": "answered_safe",
            "id": "s1",
            "answer": "I can't.",
            "score": None,
            "correct": False,
        },
    ]
    fine, refused = evaluated_cases(items, {"a:f": function}, {"s1": safe}, SETTINGS)
    assert (fine.failed, fine.tested, fine.wanted) == (False, True, "Open a file.")
    assert (refused.failed, refused.tested, refused.safe) == (True, True, True)
    for change in ({"score": 3.0}, {"task": "answers_end", "correct": False}):
        worse = [
            {**item, **change} if item["task"] in {change.get("task", "answer_chrf")} else item
            for item in items
        ]
        assert evaluated_cases(worse, {"a:f": function}, {}, SETTINGS)[0].failed
