"""Events become records: who agreed, what is taken out, and what makes a new artifact."""

import json

import pytest
from said import event, exchange

from volano.core.deletion import add_deletions
from volano.core.errors import DataError, RecipeError
from volano.core.recipe import Section
from volano.core.records import Message, Rating
from volano.core.step import Step
from volano.core.store import Store
from volano.feedback.database import Database
from volano.feedback.export import export_lines
from volano.feedback.section import FeedbackSection
from volano.feedback.selection import EVERYTHING
from volano.feedback.step import FEEDBACK, served_as

PLANTED, CONTROL = "alice.smith@gmail.com", "zucchini-7"
YES = {"consent": "training"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def make(store, url, **settings):
    section = FeedbackSection(database_url=url, **settings)
    return store.make(store.order(FEEDBACK, section, {}, name="mine/feedback"))


def ratings(made):
    return list(made.artifact.corpus().records())


def test_an_event_becomes_a_rating_with_its_exchange(store, database, url):
    said = event(harmless=5, comment="short", who="ann", **YES)
    database.add([exchange(ended=False, settings={"seed": 1})], [said])
    made = make(store, url)
    (found,) = ratings(made)
    metadata = json.loads(found.metadata)
    assert found == Rating(
        id="e1",
        request_id="r1",
        checkpoint="checkpoint/a-1",
        messages=(Message("user", "2 + 2?"), Message("assistant", "4")),
        source="chat",
        harmless=5,
        who="49915e0d7d4b402e",  # SHA-256 of "ann", its first 16 digits
        kind="rating",
        licence="user feedback",
        consent="training",
        source_ids=("feedback:e1",),
        metadata=found.metadata,
    )
    assert metadata == {
        "kind": "rating",
        "ended": False,
        "settings": {"seed": 1},
        "comment": "short",
    }


def test_what_a_person_says_last_of_an_answer_stands(store, database, url):
    def at(minute, name, kind="rating", who="ann", **values):
        time = f"2026-01-01T00:{minute:02}:00+00:00"
        return event(name, "r1", kind, **{"helpful": None, **values}, who=who, time=time, **YES)

    said = [
        at(1, "z", "edit", edit="Fore."),
        at(2, "a", "edit", edit="Four."),
        at(3, "t2", "thumb", thumb="down"),
        at(4, "t1", "thumb", thumb="up"),
        at(5, "s2", helpful=1, honest=2),
        at(6, "s1", helpful=5),
        at(7, "other", "thumb", thumb="down", who="ben"),
        at(8, "why", "flag", comment="hm", who="ann"),
    ]
    database.add([exchange(**YES)], said)
    found = {each.id: each for each in ratings(make(store, url))}
    assert found.keys() == {"a", "t1", "s2", "s1", "other", "why"}
    assert (found["s2"].helpful, found["s2"].honest, found["s1"].helpful) == (None, 2, 5)


def test_a_comparison_tells_both_answers_and_which_was_shown_first(store, sqlite_database):
    other = exchange("r2", answer="five", checkpoint="checkpoint/b-2")
    choice = {"choice": "this", "other_request_id": "r2", "shown_first": "r2"}
    said = event("e1", "r1", "choice", **choice, **YES)
    sqlite_database.add([exchange(), other], [said])
    (found,) = ratings(make(store, sqlite_database.where))
    metadata = json.loads(found.metadata)
    assert found.choice == "this"
    assert metadata["other_answer"] == "five"
    assert metadata["other_checkpoint"] == "checkpoint/b-2"
    assert metadata["shown_first"] == "r2"


def test_planted_personal_data_is_in_no_exported_set(store, database, url):
    text = f"{CONTROL}, write to {PLANTED}"
    asked = exchange(
        answer=text, prompt=text, settings={"user": text}, who=PLANTED, source=text, **YES
    )
    other = exchange("r2", answer=text, prompt=text, checkpoint=text)
    said = [
        event("e1", comment=text, who=PLANTED),
        event("e2", kind="edit", edit=text, **YES),
        event("e3", kind="choice", choice="other", other_request_id="r2", comment=text, **YES),
    ]
    database.add([asked, other], said)
    made = make(store, url)
    decoded = json.dumps([each.to_row() for each in ratings(made)])
    exported = json.dumps(list(export_lines(database, EVERYTHING)))
    for text in (decoded, exported):
        assert PLANTED not in text
        assert text.count(CONTROL) >= 8  # so that the search would find it
        assert "<EMAIL>" in text
    assert PLANTED in json.dumps(list(export_lines(database, EVERYTHING, raw=True)))
    folder = made.artifact.folder
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert PLANTED.encode() not in path.read_bytes(), path
    assert made.artifact.corpus().manifest["redacted"] > 8


@pytest.mark.parametrize(
    ("of_exchange", "of_event", "said", "used"),
    [
        ({}, {}, {}, False),
        ({}, YES, {}, True),
        (YES, {}, {}, True),
        (YES, {"consent": "none"}, {}, False),
        ({"consent": "none"}, YES, {}, True),  # the same person changed their mind
        ({"consent": "none", "who": "ann"}, {"who": "ben", **YES}, {}, False),
        ({"who": "ann"}, {"who": "ben", **YES}, {}, False),  # nobody has asked her
        ({"who": "ann", **YES}, {"who": "ben", **YES}, {}, True),
        ({"who": "ann", **YES}, {"who": "ben"}, {}, False),  # hers is not his
        ({"who": "ann", **YES}, {}, {}, False),  # nor anybody's
        ({"who": "ann", **YES}, YES, {}, True),
        ({}, {"who": "ben", **YES}, {}, True),
        ({"consent": "none"}, {"who": "ben", **YES}, {}, False),
        ({"who": "ann", **YES}, {"who": "ann"}, {"ann": "none"}, False),
        ({"who": "ann", **YES}, {"who": "ben", **YES}, {"ann": "none"}, False),
        ({"who": "ann", **YES}, {"who": "ann"}, {"ann": "training"}, True),
        ({"consent": "research"}, {}, {}, False),
    ],
)
def test_consent_decides(store, sqlite_database, of_exchange, of_event, said, used):
    sqlite_database.add([exchange(**of_exchange)], [event(**of_event)])
    for who, consent in said.items():
        sqlite_database.set_consent(who, consent)
    made = make(store, sqlite_database.where)
    assert len(ratings(made)) == used
    assert made.artifact.bill()["events_without_consent"] == (not used)


def test_new_feedback_makes_a_new_artifact_and_what_may_not_be_used_does_not(
    store, sqlite_database
):
    url = sqlite_database.where
    sqlite_database.add([exchange()], [event(**YES)])
    first = make(store, url)
    sqlite_database.add_event(event("e2"))  # without consent
    assert make(store, url).reused
    sqlite_database.add_event(event("e0", who="ann", **YES))
    second = make(store, url)
    assert not second.reused
    assert [each.id for each in ratings(second)] == ["e0", "e1"]
    sqlite_database.add_event(event("e3", who="ben", **YES))
    sqlite_database.erase_request("r1")
    assert ratings(make(store, url)) == []
    assert len(ratings(first)) == 1


def test_equal_feedback_gives_equal_bytes_in_any_database_and_any_order(tmp_path):
    made = []
    for place, order in enumerate([(1, 2, 3), (3, 1, 2)]):
        database = Database.open(str(tmp_path / f"{place}.sqlite"))
        database.record([exchange()])
        for each in order:
            database.add_event(event(f"e{each}", who=f"person {each}", **YES))
        made.append(make(Store(tmp_path / f"runs{place}"), database.where).artifact)
        database.close()
    assert made[0].digest == made[1].digest
    assert made[0].fingerprint == made[1].fingerprint


def test_sources_and_times_choose_events(store, sqlite_database):
    url = sqlite_database.where
    late = "2026-06-01T00:00:00.000+00:00"
    said = [
        event("e1", **YES),
        event("e2", source="log.jsonl", time=late, who="ann", **YES),
    ]
    sqlite_database.add([exchange()], said)

    def ids(**settings):
        return [each.id for each in ratings(make(store, url, **settings))]

    assert ids() == ["e1", "e2"]
    assert ids(sources=["log.jsonl"]) == ["e2"]
    assert ids(since="2026-06-01") == ["e2"]
    assert ids(until="2026-06-01") == ["e1"]


def test_an_absent_database_is_named_and_not_made(store, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        make(store, str(tmp_path / "absent.sqlite"))
    assert not (tmp_path / "absent.sqlite").exists()
    with pytest.raises(RecipeError, match="no database named"):
        make(store, "")


def test_an_erased_event_is_traced_to_its_deletion_and_to_what_was_made_of_it(
    store, sqlite_database
):
    sqlite_database.add([exchange()], [event(**YES)])
    made = make(store, sqlite_database.where)
    path = store.path_of(made.artifact)

    def trace():
        return [(each.artifact, each.role) for each in store.trace("feedback:e1")]

    assert trace() == [(path, "holds")]
    deletion = sqlite_database.erase_request("r1")
    add_deletions(store.folder, [deletion])
    assert trace() == [("(erased)", "erased"), (path, "holds")]
    store.delete(made.artifact.folder)
    assert trace() == [("(erased)", "erased")]
    with pytest.raises(DataError, match="no artifact has met the document 'feedback:e9'"):
        store.trace("feedback:e9")


@pytest.mark.parametrize(("choice", "told"), [("this", "other"), ("other", "this"), ("tie", "tie")])
def test_a_comparison_is_told_of_the_checkpoint_that_the_turn_is_about(
    tmp_path, sqlite_database, choice, told
):
    class Nothing(Section):
        pass

    def save(section, inputs, context):
        (context.folder / "weights").write_text("w")

    store = Store(tmp_path / "runs")
    step = Step("save", "checkpoint", 1, Nothing, save)
    mine = store.make(store.order(step, Nothing(), {}, name="mine")).artifact
    shown = exchange("r2", answer="five", checkpoint=served_as(mine), ended=False)
    compared = event("e1", "r1", "choice", choice=choice, other_request_id="r2", **YES)
    sqlite_database.add([exchange(), shown], [compared, event("e2", **YES)])
    section = FeedbackSection(database_url=sqlite_database.where)
    (found,) = ratings(store.make(store.order(FEEDBACK, section, {"model": mine}, name="f")))
    assert (found.id, found.request_id, found.choice) == ("e1", "r2", told)
    assert (found.checkpoint, found.messages[-1].content) == (served_as(mine), "five")
    metadata = json.loads(found.metadata)
    assert (metadata["ended"], metadata["other_answer"]) == (False, "4")
    assert metadata["other_checkpoint"] == "checkpoint/a-1"
