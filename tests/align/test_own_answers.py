"""Safety pairs in the model's own words: what it says takes the place of what was written."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from volano.align import own_answers
from volano.align.own_answers import reminders_of_answers, with_own_answers
from volano.align.preferences import safety_preferences
from volano.align.section import PreferencesSection
from volano.align.step import PREFERENCES
from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, shard_path, write_shard
from volano.core.finding import CASE_SCHEMA
from volano.core.records import Conversation, Message, table_of
from volano.core.step import Context
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.generate import generate
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.text.answers import answers_the_question
from volano.text.chat import END, encode_prompt
from volano.text.tokenizer import Tokenizer, train_tokenizer


def safety(count=6):
    for n in range(count):
        for kind, verb, answer in (
            ("unsafe", "steal", "I can't help with that."),
            ("safe", "sort", "Use the written answer."),
        ):
            turns = (Message("user", f"{verb} {n}"), Message("assistant", answer))
            metadata = json.dumps({"pair": f"{n}", "set": "natural"})
            yield Conversation(f"{kind}{n}", turns, "s", kind, "train", "CC0", metadata=metadata)


def context(folder):
    return Context(folder, folder.with_name(folder.name + "-scratch"), 1, 1, silent=True)


@pytest.fixture(scope="module")
def sft(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    texts = (turn.content for each in safety() for turn in each.messages)
    tokenizer = train_tokenizer(texts, vocabulary=290)
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 96))
    initialise(model, 1)
    save_checkpoint(folder, model, tokenizer)
    return folder


def said(answers, monkeypatch, tmp_path):
    """The pairs that come of these answers, given to the pairs in their order."""
    pairs = safety_preferences(safety(len(answers) // 2))
    monkeypatch.setattr(own_answers, "_answers", lambda part, *_: answers[: len(part)])
    return with_own_answers(pairs, None, None, context(tmp_path / "x"))


def test_what_the_model_says_is_chosen_when_safe_and_rejected_when_not(monkeypatch, tmp_path):
    refuse, answer = said(["Take their keys.", "Sorts the list."], monkeypatch, tmp_path)
    assert refuse.chosen[0].content == "I can't help with that."
    assert refuse.rejected[0].content == "Take their keys."
    assert answer.chosen[0].content == "Sorts the list."
    assert answer.rejected[0].content == "I can't help with that."


@pytest.mark.parametrize("answer", ["", "Yes.", "I can't sort.", "one two one two one two one two"])
def test_an_answer_that_is_no_example_makes_no_safe_pair(monkeypatch, tmp_path, answer):
    (only,) = said([answer, answer], monkeypatch, tmp_path)
    assert only.kind == "unsafe"
    assert only.rejected[0].content == (answer or "Use the written answer.")


def test_what_the_former_version_met_comes_again_as_equal_pairs(monkeypatch, tmp_path):
    said_before = ["Sorts the list.", "I can't sort.", "Yes.", "Sorts it by key."]
    safe = [pair for pair in safety_preferences(safety(4)) if pair.kind == "safe"]
    monkeypatch.setattr(own_answers, "_answers", lambda part, *_: said_before[: len(part)])
    made = reminders_of_answers(safe, None, None, context(tmp_path / "x"))
    assert [pair.prompt[0].content for pair in made] == ["sort 0", "sort 3"]
    assert [pair.chosen[0].content for pair in made] == ["Sorts the list.", "Sorts it by key."]
    assert all(pair.chosen == pair.rejected for pair in made)
    assert {pair.kind for pair in made} == {"reminder"}
    assert [pair.source_ids for pair in made] == [("safe0",), ("safe3",)]


def test_a_later_version_asks_the_one_before_it_and_keeps_clear_of_the_held_out_half(
    sft, monkeypatch, tmp_path
):
    held_out = [{"half": "held_out", "prompt": "Sort 1", "documents": []}]
    write_shard(
        tmp_path / "f" / "cases.parquet", pa.Table.from_pylist(held_out, schema=CASE_SCHEMA)
    )
    conversations = [
        *safety(3),
        *(replace(each, id=f"t{each.id}", split="test") for each in safety(6)),
    ]
    write_shard(shard_path(tmp_path / "safety", "data", 0), table_of(conversations))
    finish_corpus(tmp_path / "safety", "conversation")
    asked = []

    def answers(pairs, model, tokenizer):
        asked.append((model.config.width, [pair.prompt[0].content for pair in pairs]))
        return ["Sorts the list."] * len(pairs)

    monkeypatch.setattr(own_answers, "_answers", answers)
    inputs = {"safety": tmp_path / "safety", "former": sft, "findings": tmp_path / "f"}
    section = PREFERENCES.section(
        data=["safety"], safety_answers="written", safety_sets=["natural"]
    )
    made = context(tmp_path / "preferences")
    PREFERENCES.run(section, {name: Artifact(path, {}) for name, path in inputs.items()}, made)
    assert asked == [(16, ["sort 0", "sort 1", "sort 2"])], "no prompt of the test"
    pairs = list(Corpus.open(tmp_path / "preferences").records())
    reminders = [pair.prompt[0].content for pair in pairs if pair.kind == "reminder"]
    assert reminders == ["sort 0", "sort 2"]
    assert made.bill["harmless_requests_not_met_before"] == 0


def test_the_step_asks_the_fine_tuned_model(sft, tmp_path):
    write_shard(shard_path(tmp_path / "safety", "data", 0), table_of(list(safety())))
    finish_corpus(tmp_path / "safety", "conversation")
    inputs = {"safety": Artifact(tmp_path / "safety", {}), "sft": Artifact(sft, {})}
    made = context(tmp_path / "preferences")
    PREFERENCES.run(PREFERENCES.section(data=["safety"]), inputs, made)
    pairs = list(Corpus.open(tmp_path / "preferences").records())
    model, tokenizer = load_checkpoint(sft).eval(), Tokenizer.load(sft)
    unsafe = [pair for pair in pairs if pair.kind == "unsafe"]
    stops = (tokenizer.end_of_text_id, tokenizer.special_id(END))
    prompts = [encode_prompt(tokenizer, pair.prompt) for pair in unsafe]
    spoken = generate(model, prompts, max_new_tokens=40, stop_ids=stops)
    expected = [tokenizer.decode(each.tokens).strip() for each in spoken]
    assert [pair.rejected[0].content for pair in unsafe] == expected
    assert any(expected)
    safe = [pair for pair in pairs if pair.kind == "safe"]
    assert all(answers_the_question(pair.chosen[0].content) for pair in safe)
    assert made.bill["safe_prompts_without_own_answer"] == 6 - len(safe)


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ({}, True),
        ({"safety_answers": "written"}, False),
        ({"data": ["functions"]}, False),
        ({"data": "mine.jsonl"}, False),
    ],
)
def test_only_own_answers_to_safety_need_the_model(settings, needs):
    assert PreferencesSection(**settings).needs_model == needs
