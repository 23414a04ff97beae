"""What is held out of a user's own conversations, and that training never meets it."""

import json

from volano.align.step import PREFERENCES
from volano.core.artifact import Artifact
from volano.core.corpus import Corpus
from volano.core.records import Conversation, Message
from volano.core.step import Context
from volano.finetune.hold_out import with_held_out, without_questions_of
from volano.finetune.step import CONVERSATIONS

THINGS = ["kettle", "ladder", "violin", "compass", "lantern", "anchor", "saddle", "plough"]


def talk(name, *questions):
    said = [Message("assistant" if odd else "user", text) for odd, text in turns(questions)]
    return Conversation(name, tuple(said), "s")


def turns(questions):
    for question in questions:
        yield False, question
        yield True, f"The answer to {question}"


def talks():
    """80 questions, each asked a second time in nearly the same words."""
    asked = [f"Where does part{place} of a {THINGS[place % 8]} go?" for place in range(80)]
    again = [f"WHERE does {question[11:-4]} go, please" for question in asked]
    return [talk(f"{place}", text) for place, text in enumerate([*asked, *again])]


def held(conversations):
    return {each.id for each in conversations if each.split == "test"}


def test_a_question_and_its_like_fall_on_one_side():
    kept, left_out = with_held_out(talks(), 0.2)
    ids = held(kept)
    assert 10 < len(ids) < 60
    assert ids == {str((int(each) + 80) % 160) for each in ids}
    assert (len(kept), dict(left_out)) == (160, {})


def test_what_was_held_out_stays_so_when_the_file_grows():
    some, _ = with_held_out(talks()[:40], 0.3)
    more, _ = with_held_out(talks()[:80], 0.3)
    assert held(some) == {each for each in held(more) if int(each) < 40} != set()


def test_a_question_that_everybody_asks_stays_in_training():
    talks_of_one = [talk(f"{place}", "Hello, who are you?") for place in range(50)]
    for fraction in (0.1, 0.5, 0.9):
        assert held(with_held_out(talks_of_one, fraction)[0]) == set()


def test_a_later_turn_that_asks_a_held_out_question_is_not_trained_on():
    first = talks()[:80]
    ids = held(with_held_out(first, 0.2)[0])
    name = min(ids, key=int)
    question = first[int(name)].messages[0].content
    leaking = talk("late", "Why do cats purr?", question.upper())
    kept, left_out = with_held_out([*first, leaking], 0.2)
    assert "late" not in {each.id for each in kept}
    assert left_out == {"asks_held_out": 1}
    assert without_questions_of([first[int(name)]], [leaking, first[int(name)]]) == []


def written(folder, talks, **settings):
    path = folder / "mine.jsonl"
    rows = [{"messages": [vars(said) for said in each.messages]} for each in talks]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    section = CONVERSATIONS.section(data=str(path), **settings)
    made = Context(folder / "made", folder / "scratch", 0, silent=True)
    made.listing = CONVERSATIONS.scan(section)
    CONVERSATIONS.run(section, {}, made)
    return made


def test_the_step_holds_out_a_tenth_unless_told_otherwise(tmp_path):
    made = written(tmp_path, talks()[:80])
    corpus = Corpus.open(made.folder)
    count = len(held(corpus.records()))
    assert 0 < count == made.bill["conversations_held_out"] < 20
    none = tmp_path / "none"
    none.mkdir()
    assert held(Corpus.open(written(none, talks()[:80], held_out=0.0).folder).records()) == set()


def test_preferences_do_not_ask_what_is_held_out(tmp_path):
    made = written(tmp_path, talks()[:80], held_out=0.3)
    records = list(Corpus.open(made.folder).records())
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": each.messages[0].content.upper(), "chosen": "Up.", "rejected": "Down."}
        for each in records
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    section = PREFERENCES.section(data=str(path))
    aligned = Context(tmp_path / "pairs", tmp_path / "scratch", 0, silent=True)
    aligned.listing = PREFERENCES.scan(section)
    PREFERENCES.run(section, {"conversations": Artifact(made.folder, {})}, aligned)
    pairs = Corpus.open(aligned.folder).records()
    trained = {each.messages[0].content.upper() for each in records if each.split == "train"}
    assert {each.prompt[0].content for each in pairs} == trained
    assert aligned.bill["pairs_that_ask_held_out_questions"] == len(held(records)) > 0
