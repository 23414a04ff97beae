"""Two turns of the tiny recipe: people rate, the diagnosis asks, the gate decides."""

import re
import shutil

import pyarrow.parquet as pq
import pytest
from two_turns import NAME, TINY, rows, run, run_json

import volano as volano_package
from volano.core.finding import load_findings
from volano.core.store import Store

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytestmark = pytest.mark.xdist_group("two turns")


@pytest.fixture
def store(folder):
    return Store(folder / "runs")


@pytest.fixture
def unheard(folder, tmp_path):
    """The same store, and nobody has said anything."""
    shutil.copytree(
        folder / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("feedback.sqlite*")
    )
    return tmp_path


def ratings(folder):
    """The newest, by id."""
    corpora = (folder / "runs" / "corpus" / NAME).glob("ratings-2-*/data/*.parquet")
    newest = max(corpora, key=lambda path: path.stat().st_mtime)
    return sorted(pq.read_table(newest).to_pylist(), key=lambda each: each["id"])


def test_every_stage_of_both_turns_is_there_and_made_once(folder):
    stages = run_json(folder, "run", TINY)
    names = [each["stage"] for each in stages]
    for name in ("released", "users-2", "ratings-2", "findings-2", "requested-2", "gate-2"):
        assert name in names
    assert all(each["reused"] for each in stages)


def test_the_plan_a_phase_and_python_know_of_the_turn(folder, store):
    plan = run_json(folder, "run", TINY, "--plan")
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    assert [each["stage"] for each in plan][-2 if verdict["promote"] else -1] == "gate-2"
    assert all(each["reuse"] for each in plan)
    turn = run_json(folder, "turn", TINY, "--plan")
    assert turn[: len(plan)] == plan
    makes = [each["stage"] for each in turn if not each["reuse"]]
    assert makes[:2] == (["users-3", "ratings-3"] if verdict["promote"] else [])
    only = run_json(folder, "run", TINY, "--only", "diagnose")
    assert [(each["stage"], each["reused"]) for each in only] == [
        ("findings-2", True), ("requested-2", True), ("requested-preferences-2", True),
    ]  # fmt: skip
    outcomes = volano_package.run(TINY, store=folder / "runs")
    assert [each.stage.name for each in outcomes] == [each["stage"] for each in plan]


def test_a_turn_waits_for_feedback_where_nobody_is_scripted(unheard):
    nobody = [TINY, "users=off"]
    done = run(unheard, "run", *nobody)
    assert "The turn waits for feedback" in done.stdout
    plan = run_json(unheard, "run", *nobody, "--plan")
    assert plan[-1]["stage"] == "released"
    said = run(unheard, "turn", *nobody, code=2).stderr
    assert "no feedback there yet. Serve a model" in said


def test_scripted_feedback_that_was_deleted_is_asked_for_again(folder, unheard):
    said = run(unheard, "run", TINY, code=2).stderr
    users = re.search(r"Delete (\S+/users-2-\w+), and they are asked again", said).group(1)
    shutil.rmtree(users)
    again = run_json(unheard, "run", TINY)
    made = [each["stage"] for each in again if not each["reused"]]
    # Where the answers are the same (in another batch one may round otherwise), nothing else is.
    same = ratings(unheard) == ratings(folder)
    assert made == ["users-2"] if same else made[:2] == ["users-2", "ratings-2"]


def test_scripted_people_are_labelled_and_rate_over_http(folder, store):
    ratings = list(store[f"{NAME}/ratings-2"].corpus().records())
    assert {each.source for each in ratings} == {"scripted"}
    assert {each.kind for each in ratings} == {"rating", "edit"}
    listed = run_json(folder, "feedback", "list")
    assert len({each["request_id"] for each in listed}) == 400


def test_no_held_out_question_is_in_the_new_data(store):
    cases = rows(store[f"{NAME}/findings-2"], "cases.parquet")
    held_out = {each["prompt"] for each in cases if each["half"] == "held_out"}
    used = {each["prompt"] for each in cases if each["half"] == "used"}
    assert min(len(held_out), len(used)) > 100
    for new, all_of_version_2 in (
        ("requested-2", "requested-preferences-2"),
        ("conversations-2", "preferences-2"),
    ):
        prompts = {
            turn.content
            for each in store[f"{NAME}/{new}"].corpus().records()
            for turn in each.messages
        } | {
            turn.content
            for each in store[f"{NAME}/{all_of_version_2}"].corpus().records()
            for turn in (*each.prompt, *each.chosen, *each.rejected)
        }
        assert not prompts & held_out
        assert prompts & used, "the same search finds what was learnt from"


def test_every_new_record_names_its_finding_and_where_it_came_from(store):
    known = {f"finding:{each.id}" for each in load_findings(store[f"{NAME}/findings-2"].folder)}
    made = [
        each
        for name in ("requested-2", "requested-preferences-2")
        for each in store[f"{NAME}/{name}"].corpus().records()
    ]
    assert made
    for each in made:
        assert known & set(each.source_ids)
        assert len(each.source_ids) > 1


def test_alignment_is_reminded_of_what_the_former_version_met_unless_told_not_to(folder, store):
    preferences = store[f"{NAME}/preferences-2"]
    assert preferences.parents["former"]["name"] == f"{NAME}/aligned"
    assert "harmless_requests_not_met_before" in preferences.bill()
    plan = run_json(folder, "run", TINY, "turn.safe_reminders=off", "--plan")
    assert next(each["stage"] for each in plan if not each["reuse"]) == "preferences-2"


def test_trace_leads_from_a_rating_to_the_model_and_its_gate_and_back(folder, store):
    edits = [
        each
        for each in store[f"{NAME}/requested-2"].corpus().records()
        if each.source_ids[0].startswith("feedback:")
    ]
    trained = rows(store[f"{NAME}/sft-2"], "seen.parquet")
    seen = {each["id"] for each in trained}
    event = next(each.source_ids[0] for each in edits if each.source_ids[0] in seen)
    roles = {each["name"].split("/")[1]: each["role"] for each in run_json(folder, "trace", event)}
    assert roles["ratings-2"] == roles["requested-2"] == "holds"
    assert roles["sft-2"] == "trained on"
    assert roles["aligned-2"] in {"trained on", "inherits"}
    assert "sft" not in roles
    assert roles["findings-2"] == "holds"
    assert roles["gate-2"] == "judges"
    record = next(each.id for each in edits if each.source_ids[0] == event)
    roles = {each["name"].split("/")[1]: each["role"] for each in run_json(folder, "trace", record)}
    assert (roles["sft-2"], roles["gate-2"]) == ("trained on", "judges")
    assert "ratings-2" not in roles, "the record is later than the rating"
    gate = run_json(folder, "trace", f"{NAME}/gate-2")
    below = {each["name"].split("/")[1] for each in gate["made_from"]}
    assert {"aligned-2", "aligned", "findings-2", "ratings-2", "requested-2"} <= below


def test_the_gate_names_each_test_and_the_alias_follows_its_verdict(folder, store):
    verdict = store[f"{NAME}/gate-2"].report().extra["verdict"]
    tests = {each["name"] for each in verdict["tests"]}
    assert {each for each in tests if "@" not in each} == {
        "held_out_half", "choice_pmi", "answers_end", "refusal_unsafe", "answered_safe",
        "bits_per_byte",
    }  # fmt: skip
    standing = store.find("@production")
    expected = "released-2" if verdict["promote"] else "released"
    assert standing.name == f"{NAME}/{expected}"
    assert verdict["reason"] in (folder / "printed").read_text()
