"""Held-out conversations: what is asked, what is measured, and the answer that takes no model."""

import json
from collections import Counter

import numpy as np
import pytest

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.records import Conversation, Document, Message, table_of
from volano.core.report import Report
from volano.core.step import Context
from volano.evaluate.chrf import chrf
from volano.evaluate.conversations import (
    Asked,
    asked_that_fit,
    held_out_conversations,
    measure_conversations,
    measure_nearest_answers,
)
from volano.evaluate.stage import Stage, outcomes
from volano.evaluate.step import EVALUATE, HELD_OUT_FUNCTIONS
from volano.evaluate.table import report_tables
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import save_checkpoint
from volano.text.chat import encode_conversation
from volano.text.tokenizer import train_tokenizer

WORDS = ["rain", "bread", "glass", "steel", "paper", "bridges", "clocks", "whales", "maps", "tea"]


def talk(n, split="train", kind="conversation"):
    word = WORDS[n % 10]
    said = (
        Message("user", f"Hello number {n}."),
        Message("assistant", "Hello."),
        Message("user", f"What of {word} {n}?"),
        Message("assistant", f"Of {word} there is no end, number {n}."),
    )
    return Conversation(f"t{n}", said, "s", kind, split)


TALKS = [talk(n, "test" if n % 4 == 0 else "train") for n in range(40)]


@pytest.fixture(scope="module")
def stage():
    texts = [said.content for each in TALKS for said in each.messages]
    tokenizer = train_tokenizer(iter(texts), vocabulary=300)
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 160))
    initialise(model, 1)
    return Stage("sft", model.eval(), tokenizer)


def asked():
    return held_out_conversations(TALKS, [], 100)


def test_the_last_answer_is_asked_for_behind_all_that_was_said_before():
    found = {each.id: each for each in asked()}
    assert set(found) == {each.id for each in TALKS if each.split == "test"}
    one = found["t8"]
    assert [said.role for said in one.prompt] == ["user", "assistant", "user"]
    assert one.answer == "Of maps there is no end, number 8."


def test_a_draw_is_the_same_for_every_run_and_not_the_first_of_the_file():
    drawn = [each.id for each in held_out_conversations(TALKS, [], 4)]
    assert drawn == [each.id for each in held_out_conversations(TALKS[::-1], [], 4)]
    assert drawn != ["t0", "t4", "t8", "t12"]


def test_bits_are_those_of_the_answer_and_of_the_end_of_its_turn(stage):
    found = measure_conversations(stage, asked(), max_tokens=8, seed=0)
    bits = outcomes(found.items, "conversation_bits", "sft")
    one = next(each for each in TALKS if each.id == "t8")
    ids, is_answer = encode_conversation(stage.tokenizer, one.messages, last_answer_only=True)
    import torch

    with torch.no_grad():
        log_probs = stage.model(torch.tensor([ids[:-1]])).log_softmax(-1)[0]
    nats = -sum(log_probs[n - 1, ids[n]].item() for n in range(len(ids)) if is_answer[n])
    assert bits["t8"] == pytest.approx(nats / np.log(2) / len(one.messages[-1].content.encode()))
    headline = found.measurements[0]
    weights = [item.weight for item in found.items if item.task == "conversation_bits"]
    mean = np.average(list(bits.values()), weights=weights)
    assert (headline.name, headline.value) == ("conversation_bits", pytest.approx(mean))


def test_an_answer_is_compared_with_the_one_that_was_given(stage):
    found = measure_conversations(stage, asked(), max_tokens=8, seed=0)
    given = {each.id: each.answer for each in asked()}
    of_task = [item for item in found.items if item.task == "conversation_chrf"]
    assert len(of_task) == len(given) == 10
    assert all(item.score == chrf(item.answer, given[item.id]) for item in of_task)
    assert Counter(item.task for item in found.items)["conversations_end"] == 10


def test_what_leaves_no_room_for_an_answer_is_left_out(stage):
    long = Asked("long", (Message("user", "rain " * 200),), "No.")
    wordy = Asked("wordy", (Message("user", "Rain?"),), "no end " * 200)
    kept = asked_that_fit(stage.tokenizer, [*asked(), long, wordy], 160, 8)
    assert [each.id for each in kept] == [each.id for each in asked()]
    assert asked_that_fit(stage.tokenizer, asked(), 160, 150) == []


def test_the_nearest_answer_is_that_of_the_training_question_with_most_words_in_common():
    known = [talk(n) for n in range(10)]
    question = Asked(
        "q", (Message("user", "Tell me, what of whales?"),), "Of whales there is an end."
    )
    other = Asked("o", (Message("user", "glass"),), "Of glass there is no end, number 2.")
    found = measure_nearest_answers([question, other], [*known, talk(17, "test")], seed=0)
    assert [item.answer for item in found.items] == [
        "Of whales there is no end, number 7.",
        "Of glass there is no end, number 2.",
    ]
    assert found.items[1].score == 100.0
    assert measure_nearest_answers([question, other], [talk(17, "test")], seed=0).items == []


def test_fewer_than_two_held_out_are_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"1 held-out conversations\. Raise finetune\.held_out"):
        held_out_conversations([talk(1, "test"), talk(2)], [], 10)


def function(n, split):
    name = f"m.{WORDS[n % 10]}_{n}"
    summary = f"Count the {WORDS[n % 10]} of number {n}."
    metadata = json.dumps({"qualified_name": name, "signature": "()", "summary": summary})
    return Document(
        f"p:{name}", f"{name}()\n\n{summary}", "s", "function", split, metadata=metadata
    )


@pytest.fixture
def artifacts(stage, tmp_path):
    documents = [function(n, "test" if n % 2 else "train") for n in range(20)]
    write_shard(shard_path(tmp_path / "documents", "data", 0), table_of(documents))
    finish_corpus(tmp_path / "documents", "document")
    HELD_OUT_FUNCTIONS.run(
        HELD_OUT_FUNCTIONS.section(),
        {"documents": Artifact(tmp_path / "documents", {})},
        Context(tmp_path / "held_out_functions", tmp_path / "scratch", 0, silent=True),
    )
    for name in ("base", "sft"):
        save_checkpoint(tmp_path / name, stage.model, stage.tokenizer)
    return tmp_path


def evaluated(root, conversations, *inputs):
    folder = root / "conversations"
    write_shard(shard_path(folder, "data", 0), table_of(conversations, Conversation))
    finish_corpus(folder, "conversation")
    context = Context(root / "report", root / "report-scratch", 1, 1, silent=True)
    section = EVALUATE.section(tasks=["conversations"], conversation_tokens=4)
    given = {name: Artifact(root / name, {}) for name in ("conversations", "base", "sft", *inputs)}
    EVALUATE.run(section, given, context)
    return Report.load(root / "report" / "report.json")


def test_the_report_sets_the_stages_beside_the_answer_of_no_model(artifacts):
    report = evaluated(artifacts, TALKS)
    assert report.extra == {"conversations_asked": 10, "conversations_too_long": 0}
    assert {(m.name, m.stage) for m in report.measurements} >= {
        *(
            (f"conversation_{name}", stage)
            for name in ("bits", "chrf")
            for stage in ("base", "sft")
        ),
        ("conversations_end", "sft"),
        ("conversation_chrf", "nearest answer"),
    }
    paired = [each for each in report.comparisons if each["name"] == "conversation_bits"]
    assert [(each["n"], each["difference"]) for each in paired] == [(10, 0.0)]
    [stages, _] = report_tables(report, {})
    assert "nearest answer" in stages.caption


def test_where_functions_were_learnt_the_held_out_ones_are_asked_about(artifacts):
    learnt = [talk(n, kind="function") for n in range(5)]
    report = evaluated(artifacts, learnt, "held_out_functions")
    assert report.extra["conversations_asked"] == 10
    with pytest.raises(DataError, match="0 held-out conversations"):
        evaluated(artifacts, [talk(1)], "held_out_functions")
