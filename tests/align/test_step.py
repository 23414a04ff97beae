import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from volano.align.objective import PreferenceObjective
from volano.align.pairs import PairBatch, PairStream
from volano.align.run import _reference, encode_pair
from volano.align.step import ALIGN, PREFERENCES
from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.finding import CASE_SCHEMA
from volano.core.records import Conversation, Message, Preference, table_of
from volano.core.step import Context
from volano.model.adapter import load_adapter, merge
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.model.score import score
from volano.text.chat import encode_conversation
from volano.text.tokenizer import Tokenizer, train_tokenizer

QUICK = {
    "safety_repeats": 4,
    "batch_rows": 4,
    "learning_rate": 0.01,
    "matrix_learning_rate": 0.02,
    "threads": 1,
    "precision": "float32",
    "beta": 0.1,
}


def prompts():
    for n in range(12):
        for kind, verb, answer in (("unsafe", "steal", "I can't."), ("safe", "sort", "Use it.")):
            turns = (Message("user", f"{verb} {n}"), Message("assistant", answer))
            metadata = json.dumps({"pair": f"{n}", "set": "natural"})
            split = ("train", "test")[n % 4 == 3]
            yield Conversation(f"{kind}{n}", turns, "s", kind, split, "CC0", metadata=metadata)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    conversations = list(prompts())
    write_shard(shard_path(folder / "safety", "data", 0), table_of(conversations))
    finish_corpus(folder / "safety", "conversation")
    texts = (turn.content for each in conversations for turn in each.messages)
    tokenizer = train_tokenizer(texts, vocabulary=270)
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 64))
    initialise(model, 1)
    save_checkpoint(folder / "sft", model, tokenizer)
    PREFERENCES.run(
        PREFERENCES.section(data=["safety"], safety_answers="written"),
        {"safety": Artifact(folder / "safety", {})},
        context(folder / "preferences"),
    )
    return folder


def context(folder):
    return Context(folder, folder.with_name(folder.name + "-scratch"), 1, 1, silent=True)


def align(root, folder, **settings):
    inputs = {name: Artifact(root / name, {}) for name in ("preferences", "sft")}
    made = context(folder)
    whole_model = ("learning_rate", "matrix_learning_rate") if "lora" in settings else ()
    plain = {name: value for name, value in QUICK.items() if name not in whole_model}
    ALIGN.run(ALIGN.section(**(plain | settings)), inputs, made)
    return made


def margins(folder, pairs):
    """Nats by which a model prefers the chosen response of each pair."""
    model, tokenizer = load_checkpoint(folder), Tokenizer.load(folder)
    values = []
    for pair in pairs:
        sides = encode_pair(tokenizer, pair)
        begins = [side.is_answer.index(True) for side in sides]
        parts = [(s.ids[:b], s.ids[b:]) for s, b in zip(sides, begins, strict=True)]
        chosen, rejected = score(model, parts)
        values.append(chosen - rejected)
    return np.array(values)


def test_the_reference_is_scored_on_what_the_policy_is(root, tmp_path):
    """Not on what the user says within a response: at the start the two are equal."""
    model, tokenizer = load_checkpoint(root / "sft"), Tokenizer.load(root / "sft")
    said = [Message("assistant", "Use it."), Message("user", "steal"), Message("assistant", "7")]
    pair = Preference("p", (Message("user", "sort 1"),), tuple(said), tuple(said[:1]), "s")
    pairs = [encode_pair(tokenizer, pair)]
    reference = _reference(model, pairs, tmp_path / "reference.npy")
    stream = PairStream(
        pairs, reference, [["p"]], padding_id=0, batch_pairs=1, epochs=1, seed=1
    )  # fmt: skip
    batch = PairBatch(*(torch.from_numpy(np.asarray(each)) for each in stream.batch(0)))
    found = PreferenceObjective(beta=1.0).loss(model, batch)
    assert found.loss.item() == pytest.approx(np.log(2), abs=1e-5)
    assert found.metrics["margin"].item() == pytest.approx(0, abs=1e-4)


def test_an_adapter_learns_to_prefer_and_is_published_merged_and_by_itself(root, tmp_path):
    # A model whose states and head tell tokens apart: both are frozen.
    model, tokenizer = load_checkpoint(root / "sft"), Tokenizer.load(root / "sft")
    with torch.no_grad():
        model.model.embed_tokens.weight *= 30
    save_checkpoint(tmp_path / "sft", model, tokenizer)
    shutil.copytree(root / "preferences", tmp_path / "preferences")
    lora = {"rank": 4, "alpha": 8.0, "learning_rate": 0.02}
    align(tmp_path, tmp_path / "aligned", lora=lora, epochs=4.0)
    pairs = list(Corpus.open(root / "preferences").records())
    before, after = margins(tmp_path / "sft", pairs), margins(tmp_path / "aligned", pairs)
    assert np.mean(np.array(after) > np.array(before)) > 0.9
    base = load_checkpoint(tmp_path / "sft")
    load_adapter(base, tmp_path / "aligned" / "adapter")
    merge(base)
    merged = load_checkpoint(tmp_path / "aligned").state_dict()
    assert all(torch.equal(value, merged[name]) for name, value in base.state_dict().items())


def test_safety_set_becomes_pairs_of_its_training_half_with_its_licence(root):
    corpus = Corpus.open(root / "preferences")
    assert corpus.manifest["kinds"] == {"safe": 9, "unsafe": 9}
    assert corpus.manifest["licences"] == {"CC0": 18}


def test_alignment_prefers_what_was_chosen_and_says_what_it_saw(root, tmp_path):
    made = align(root, tmp_path / "aligned", epochs=3.0)
    pairs = list(Corpus.open(root / "preferences").records())
    before, after = margins(root / "sft", pairs), margins(tmp_path / "aligned", pairs)
    assert (after > before).mean() > 0.9
    assert (after > 0).mean() > 0.9
    metrics = pq.read_table(tmp_path / "aligned" / "metrics.parquet")
    assert metrics["dpo_loss"][0].as_py() == pytest.approx(np.log(2), abs=1e-4)
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    [row] = [line for line in guide.splitlines() if line.startswith("| `metrics.parquet` |")]
    assert [name for name in metrics.column_names if f"`{name}`" not in row] == ["step"]
    seen = pq.read_table(tmp_path / "aligned" / "seen.parquet")["id"].to_pylist()
    assert set(seen) == {i for pair in pairs for i in pair.source_ids}
    assert made.bill["pairs"] == 18 * 4  # with their repetitions


def test_golden_loss_curves(root, tmp_path):
    # A change here means another output for equal inputs: raise the step's version with it.
    align(root, tmp_path / "aligned", epochs=2.0)
    metrics = pq.read_table(tmp_path / "aligned" / "metrics.parquet")
    assert (PREFERENCES.version, ALIGN.version) == (2, 5)
    for name, golden in GOLDEN.items():
        losses = metrics[name].to_numpy()
        np.testing.assert_allclose(losses[[0, 4, 9, -1]], golden, rtol=2e-3, err_msg=name)


GOLDEN = {"loss": [6.2948, 6.1936, 4.8059, 2.4471], "dpo_loss": [0.6931, 0.9059, 0.8386, 0.7304]}


def test_reference_is_computed_once_and_a_resumed_run_reads_it_again(root, tmp_path):
    made = align(root, tmp_path / "one")
    kept = np.load(made.scratch / "reference.npy")
    assert kept.shape == (18 * 4, 2)
    again = context(tmp_path / "two")
    again.scratch.mkdir()
    np.save(again.scratch / "reference.npy", kept + np.float32(5) * np.array([1, 0], np.float32))
    inputs = {name: Artifact(root / name, {}) for name in ("preferences", "sft")}
    ALIGN.run(ALIGN.section(**QUICK), inputs, again)
    first = pq.read_table(again.folder / "metrics.parquet")["dpo_loss"][0].as_py()
    # The chosen responses now look 5 nats less likely than the reference found them.
    assert first == pytest.approx(np.log(1 + np.exp(0.1 * 5)), abs=1e-3)


def test_earlier_answers_inside_the_prompt_are_not_learnt(root):
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    pair = Preference("p", turns, (Message("assistant", "d"),), (Message("assistant", "e"),), "s")
    tokenizer = Tokenizer.load(root / "sft")
    for ids, is_answer in encode_pair(tokenizer, pair):
        assert sum(is_answer) == 2  # the one letter and the end of the turn
        assert all(is_answer[-2:])
        assert len(ids) == len(is_answer)


def test_users_file_becomes_pairs(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "Hi", "chosen": "Ho", "rejected": "Hu"}) + "\n{}\n")
    section = PREFERENCES.section(data=str(path))
    made = context(tmp_path / "p")
    PREFERENCES.run(section, {}, made)
    corpus = Corpus.open(tmp_path / "p")
    assert [pair.chosen[0].content for pair in corpus.records()] == ["Ho"]
    assert len(corpus.quarantine()) == 1


def test_pairs_of_a_later_version_keep_clear_of_the_held_out_half(root, tmp_path):
    rows = [
        {"half": "held_out", "prompt": "Sort 1", "documents": []},
        {"half": "held_out", "prompt": "other words", "documents": ["unsafe2"]},
        {"half": "used", "prompt": "sort 4", "documents": []},
    ]
    write_shard(tmp_path / "f" / "cases.parquet", pa.Table.from_pylist(rows, schema=CASE_SCHEMA))
    asks = [("held out", "sort 1", ()), ("about", "what?", ("unsafe2",)), ("free", "what?", ())]
    learnt = [
        Conversation(
            name, (Message("user", said), Message("assistant", "So.")), "s", source_ids=ids
        )
        for name, said, ids in asks
    ]
    write_shard(shard_path(tmp_path / "l", "data", 0), table_of(learnt))
    finish_corpus(tmp_path / "l", "conversation")
    folders = {"safety": root / "safety", "findings": tmp_path / "f", "learnt": tmp_path / "l"}
    inputs = {name: Artifact(folder, {}) for name, folder in folders.items()}
    section = PREFERENCES.section(data=["safety"], safety_answers="written", reminders=1.0)
    PREFERENCES.run(section, inputs, context(tmp_path / "p"))
    kept = [each for each in Corpus.open(tmp_path / "p").records() if each.kind == "reminder"]
    assert [each.id for each in kept] == ["taught:free"]
    before = {each.id: each for each in Corpus.open(root / "preferences").records()}
    left = {each.id for each in Corpus.open(tmp_path / "p").records()}
    gone = {each.prompt[0].content: each for name, each in before.items() if name not in left}
    assert "sort 1" in gone
    assert "sort 4" not in gone
    assert all(asked == "sort 1" or "unsafe2" in gone[asked].source_ids for asked in gone)


def test_no_pairs_at_all_are_refused(tmp_path):
    write_shard(shard_path(tmp_path / "e", "data", 0), table_of([], Conversation))
    finish_corpus(tmp_path / "e", "conversation")
    with pytest.raises(DataError, match="no pairs to align on"):
        PREFERENCES.run(
            PREFERENCES.section(data=["safety"], safety_sets=[], safety_answers="written"),
            {"safety": Artifact(tmp_path / "e", {})},
            context(tmp_path / "p"),
        )


def test_each_safety_pair_comes_as_often_as_asked_with_words_left_out(root, tmp_path):
    once = align(root, tmp_path / "once", safety_repeats=1, batch_rows=3)
    often = align(root, tmp_path / "often", safety_repeats=3, safety_word_dropout=0.0, batch_rows=3)
    assert often.bill["pairs"] == 3 * once.bill["pairs"] == 3 * 18
    seen = [pq.read_table(made.folder / "seen.parquet").to_pydict() for made in (once, often)]
    tokens = [dict(zip(each["id"], each["tokens"], strict=True)) for each in seen]
    assert {name: 3 * count for name, count in tokens[0].items()} == tokens[1]


def test_reminders_keep_what_was_learnt(root, tmp_path):
    """Likelihood that alignment takes from other answers, and does not with reminders of them."""
    talks = [
        Conversation(f"c{n}", (Message("user", f"count {n}"), Message("assistant", f"{n}!")), "s")
        for n in range(12)
    ]
    write_shard(shard_path(tmp_path / "learnt", "data", 0), table_of(talks))
    finish_corpus(tmp_path / "learnt", "conversation")

    def aligned(reminders):
        folder = tmp_path / f"with-{reminders}"
        inputs = {"safety": Artifact(root / "safety", {})}
        if reminders:
            inputs["learnt"] = Artifact(tmp_path / "learnt", {})
        section = PREFERENCES.section(
            data=["safety"], safety_answers="written", reminders=reminders
        )
        PREFERENCES.run(section, inputs, context(folder / "preferences"))
        shutil.copytree(root / "sft", folder / "sft")
        align(folder, folder / "aligned", epochs=3.0)
        model, tokenizer = load_checkpoint(folder / "aligned"), Tokenizer.load(folder / "sft")
        asked = [encode_conversation(tokenizer, each.messages) for each in talks]
        begins = [each.is_answer.index(True) for each in asked]
        parts = [(each.ids[:b], each.ids[b:]) for each, b in zip(asked, begins, strict=True)]
        return float(np.mean(score(model, parts)))

    assert aligned(1.0) > aligned(0.0) + 5
