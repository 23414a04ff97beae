import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, shard_path, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.finding import CASE_SCHEMA
from volano.core.records import Conversation, Document, Message, table_of
from volano.core.step import Context
from volano.finetune.section import FinetuneSection
from volano.finetune.sft import AnswerObjective, AnswerStream
from volano.finetune.step import CONVERSATIONS, FINETUNE, MIXTURE
from volano.model.adapter import TARGETS, load_adapter
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.text.tokenizer import Tokenizer, train_tokenizer
from volano.train.adapting import begin_adapter, end_adapter
from volano.train.checkpoint import load_state

QUICK = {"batch_rows": 2, "learning_rate": 0.01, "matrix_learning_rate": 0.02, "threads": 1}


def function(n):
    summary = f"Return the value number {n} of the list."
    metadata = json.dumps({"qualified_name": f"m.value{n}", "summary": summary})
    text = f"m.value{n}()\n\n{summary}"
    return Document(f"p:m.value{n}", text, "s", "function", licence="MIT", metadata=metadata)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    documents = [function(n) for n in range(24)]
    write_shard(shard_path(folder / "documents", "data", 0), table_of(documents))
    finish_corpus(folder / "documents", "document")
    tokenizer = train_tokenizer((document.text for document in documents), vocabulary=300)
    tokenizer.save(folder / "tokenizer")
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 96))
    initialise(model, 1)
    save_checkpoint(folder / "base", model, tokenizer)
    CONVERSATIONS.run(
        CONVERSATIONS.section(),
        {"documents": Artifact(folder / "documents", {})},
        context(folder / "conversations"),
    )
    return folder


def context(folder, seed=1, silent=True):
    return Context(folder, folder.with_name(folder.name + "-scratch"), seed, 1, silent=silent)


def finetune(root, folder, conversations=None, seed=1, silent=True, **settings):
    inputs = {
        "conversations": Artifact(conversations or root / "conversations", {}),
        "tokenizer": Artifact(root / "tokenizer", {}),
        "base": Artifact(root / "base", {}),
    }
    made = context(folder, seed, silent)
    plain = QUICK if "lora" not in settings else {"batch_rows": 2, "threads": 1}
    FINETUNE.run(FINETUNE.section(**(plain | settings)), inputs, made)
    return made


def test_functions_become_a_corpus_of_conversations(root):
    corpus = Corpus.open(root / "conversations")
    assert len(corpus) == 24
    assert corpus.manifest["licences"] == {"MIT": 24}
    [first, *_] = corpus.records()
    assert first.messages[1].content == "Return the value number 0 of the list."


def test_fine_tuning_learns_the_answers_and_says_what_it_saw(root, tmp_path):
    made = finetune(root, tmp_path / "sft", epochs=12.0)
    metrics = pq.read_table(tmp_path / "sft" / "metrics.parquet")
    assert metrics["loss"][-1].as_py() < metrics["loss"][0].as_py() - 1
    seen = pq.read_table(tmp_path / "sft" / "seen.parquet")
    assert set(seen["id"].to_pylist()) == {f"p:m.value{n}" for n in range(24)}
    assert made.bill["examples"] == 24
    assert (
        Tokenizer.load(tmp_path / "sft").vocabulary
        == load_checkpoint(tmp_path / "sft").config.vocabulary
    )


def test_same_settings_give_the_same_bytes_and_another_seed_others(root, tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        finetune(root, tmp_path / name, seed=seed)
    one, two, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_golden_loss_curve(root, tmp_path):
    # A change here means another output for equal inputs: raise the step's version with it.
    finetune(root, tmp_path / "sft", epochs=4.0, precision="float32")
    losses = pq.read_table(tmp_path / "sft" / "metrics.parquet")["loss"].to_numpy()
    assert FINETUNE.version == 3
    np.testing.assert_allclose(losses[[0, 4, 9, -1]], GOLDEN, rtol=2e-3)


GOLDEN = [5.6844, 5.0093, 3.8289, 2.4092]


def test_conversations_that_do_not_fit_the_context_are_refused_not_divided_by_zero(root, tmp_path):
    turns = (Message("user", "x"), Message("assistant", "long " * 200))
    write_shard(shard_path(tmp_path / "c", "data", 0), table_of([Conversation("c", turns, "s")]))
    finish_corpus(tmp_path / "c", "conversation")
    with pytest.raises(DataError, match="none of 1 examples"):
        finetune(root, tmp_path / "sft", conversations=tmp_path / "c")


def test_what_is_learnt_again_keeps_clear_of_the_held_out_half(root, tmp_path):
    former = list(Corpus.open(root / "conversations").records())
    turns = (Message("user", "What now?"), Message("assistant", "This."))
    write_shard(shard_path(tmp_path / "new", "data", 0), table_of([Conversation("n", turns, "s")]))
    finish_corpus(tmp_path / "new", "conversation")
    asked = former[2].messages[0].content.upper()
    rows = [
        {"half": "held_out", "prompt": "Other words", "documents": list(former[1].source_ids)},
        {"half": "held_out", "prompt": asked, "documents": None},
        {"half": "used", "prompt": former[3].messages[0].content, "documents": []},
    ]
    write_shard(tmp_path / "f" / "cases.parquet", pa.Table.from_pylist(rows, schema=CASE_SCHEMA))
    inputs = {"requested": tmp_path / "new", "former": root / "conversations"}
    inputs |= {"findings": tmp_path / "f"}
    MIXTURE.run(
        MIXTURE.section(replay=1000),
        {name: Artifact(path, {}) for name, path in inputs.items()},
        context(tmp_path / "mixed"),
    )
    mixed = Corpus.open(tmp_path / "mixed")
    assert mixed.manifest["held_out"] == 2
    left = {each.id for each in mixed.records()}
    assert left == {"n", *(each.id for each in former)} - {former[1].id, former[2].id}


def test_what_was_held_out_stays_so_in_the_next_version_and_is_not_learnt_from_requests(
    root, tmp_path
):
    def talk(name, question, split="train"):
        turns = (Message("user", question), Message("assistant", f"As {name} says."))
        return Conversation(name, turns, "s", split=split)

    former = [talk("a", "Who wrote Hamlet?", "test"), talk("b", "Where is the kettle?")]
    new = [talk("c", "who wrote HAMLET"), talk("d", "How far is the moon?")]
    for name, records in (("former", former), ("new", new)):
        write_shard(shard_path(tmp_path / name, "data", 0), table_of(records))
        finish_corpus(tmp_path / name, "conversation")
    rows = [{"half": "held_out", "prompt": "Other words", "documents": None}]
    write_shard(tmp_path / "f" / "cases.parquet", pa.Table.from_pylist(rows, schema=CASE_SCHEMA))
    inputs = {"requested": "new", "former": "former", "findings": "f"}
    MIXTURE.run(
        MIXTURE.section(replay=1000),
        {name: Artifact(tmp_path / folder, {}) for name, folder in inputs.items()},
        context(tmp_path / "mixed"),
    )
    mixed = {each.id: each.split for each in Corpus.open(tmp_path / "mixed").records()}
    assert mixed == {"d": "train", "b": "train", "a": "test"}


LORA = {"rank": 4, "alpha": 8.0, "learning_rate": 0.05}


@pytest.fixture
def speaking(root, tmp_path):
    """The same with a base whose states and head tell tokens apart: both are frozen below."""
    shutil.copytree(root, tmp_path / "root")
    model = load_checkpoint(root / "base")
    with torch.no_grad():
        model.model.embed_tokens.weight *= 30
    save_checkpoint(tmp_path / "root" / "base", model, Tokenizer.load(root / "base"))
    return tmp_path / "root"


def test_an_adapter_learns_and_is_published_merged_and_by_itself(speaking, tmp_path):
    made = finetune(speaking, tmp_path / "sft", lora=LORA, epochs=8.0, precision="float32")
    losses = pq.read_table(tmp_path / "sft" / "metrics.parquet")["loss"].to_numpy()
    assert losses[-3:].mean() < 0.6 * losses[:3].mean()
    assert made.bill["trained_parameters"] < made.bill["parameters"] / 2
    base, sft = load_checkpoint(speaking / "base"), load_checkpoint(tmp_path / "sft")
    assert sft.state_dict().keys() == base.state_dict().keys()
    for name, value in sft.state_dict().items():
        adapted = name.rpartition(".")[0].rpartition(".")[2] in TARGETS
        assert torch.equal(value, base.state_dict()[name]) != adapted, name
    assert load_adapter(base, tmp_path / "sft" / "adapter").rank == 4
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(base(tokens), sft(tokens), rtol=0, atol=1e-4)
    rates = pq.read_table(tmp_path / "sft" / "metrics.parquet")["learning_rate"].to_numpy()
    assert rates.max() == LORA["learning_rate"]


def test_an_adapter_cannot_learn_a_chat_that_the_model_was_just_given(root, tmp_path):
    shutil.copytree(root, tmp_path / "root")
    model, tokenizer = load_checkpoint(root / "base"), Tokenizer.load(root / "base")
    places = [tokenizer.special_id(each) for each in ("<|user|>", "<|end|>")]
    with torch.no_grad():
        weight = model.model.embed_tokens.weight
        weight[places] = weight.mean(0)  # as an import gives them
    save_checkpoint(tmp_path / "root" / "base", model, tokenizer)
    with pytest.raises(DataError, match=r"are new to the model.*lora: off.*base_chat: kept"):
        finetune(tmp_path / "root", tmp_path / "sft", lora=LORA)
    finetune(tmp_path / "root", tmp_path / "sft", epochs=0.1)


@pytest.mark.parametrize(
    ("step", "settings", "told"),
    [
        ("pretrain", {"lora": LORA}, 1),
        ("pretrain", {}, 0),
        ("finetune", {"lora": LORA}, 0),  # it has been taught the chat
        ("import", {"lora": LORA}, 0),  # as above, or it came with one
    ],
)
def test_an_adapter_on_a_base_that_never_saw_a_chat_is_told(
    root, tmp_path, capsys, step, settings, told
):
    shutil.copytree(root, tmp_path / "root")
    meta = {"format": 1, "identity": {"step": step}}
    (tmp_path / "root" / "base" / "artifact.json").write_text(json.dumps(meta))
    finetune(tmp_path / "root", tmp_path / "sft", silent=False, epochs=0.1, **settings)
    said = "finetune: the tokens of the chat are new to this base, and lora freezes"
    assert capsys.readouterr().err.count(said) == told


@pytest.mark.parametrize(
    "setting",
    [
        {"optimiser": "adamw"},
        {"learning_rate": 0.004},  # the default, said: it would still not be read
        {"head_learning_rate": 0.1},
        {"matrix_learning_rate": 0.1},
        {"momentum": 0.9},
        {"weight_decay": 0.1},
    ],
)
def test_what_an_adapter_does_not_read_is_refused(setting):
    [name] = setting
    with pytest.raises(RecipeError, match=rf"finetune: {name}: is of the whole model, and with"):
        FinetuneSection.read({"lora": {"rank": 2}, **setting}, "finetune")
    assert FinetuneSection.read({"lora": "off", **setting}, "finetune").lora is None


def test_the_frozen_base_is_let_go_before_the_merged_model_is_made(speaking, tmp_path):
    model = load_checkpoint(speaking / "base")
    adapter = begin_adapter(model, FinetuneSection(lora=LORA), seed=1)
    merged = end_adapter(model, adapter, speaking / "base", tmp_path)
    assert all(each.device.type == "meta" for each in model.parameters())
    assert not any(getattr(each, "kept", None) for each in model.modules())
    assert torch.equal(merged.head_weight, load_checkpoint(speaking / "base").head_weight)


def test_an_adapter_that_was_stopped_gives_the_bytes_of_one_that_was_not(
    root, tmp_path, monkeypatch
):
    settings = {"lora": LORA | {"dropout": 0.2}, "epochs": 3.0, "checkpoint_steps": 2}
    finetune(root, tmp_path / "straight", **settings)
    real, calls = AnswerObjective.loss, []

    def stops(self, model, batch):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(self, model, batch)

    monkeypatch.setattr(AnswerObjective, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        finetune(root, tmp_path / "again", **settings)
    kept = load_state(tmp_path / "again-scratch")
    assert kept.step == 4
    assert all(".lora_" in name for name in kept.weights)
    finetune(root, tmp_path / "again", **settings)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "metrics.parquet"):
        whole, resumed = (tmp_path / each / name for each in ("straight", "again"))
        assert whole.read_bytes() == resumed.read_bytes()


def test_rows_may_be_shorter_than_the_model_reads_and_not_longer(root, tmp_path):
    made = finetune(root, tmp_path / "short", context=40)
    assert 0 < made.bill["examples_too_long"] + made.bill["examples"] == 24
    assert pq.read_table(tmp_path / "short" / "metrics.parquet")["tokens"][0].as_py() == 2 * 40
    with pytest.raises(RecipeError, match="97 tokens a row, and the model reads 96"):
        finetune(root, tmp_path / "long", context=97)


def test_users_file_becomes_conversations_and_its_bad_lines_are_quarantined(root, tmp_path):
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\nnot json\n")
    section = CONVERSATIONS.section(data=str(path))
    made = context(tmp_path / "c")
    made.listing = CONVERSATIONS.scan(section)
    CONVERSATIONS.run(section, {}, made)
    corpus = Corpus.open(tmp_path / "c")
    assert [each.messages[1].content for each in corpus.records()] == ["Ho"]
    assert corpus.quarantine()["where"].to_pylist() == ["mine.jsonl:2"]


def test_what_a_model_has_seen_of_a_users_file_is_named_by_its_own_ids(root, tmp_path):
    turns = (Message("user", "Hi"), Message("assistant", "Ho"))
    own = [Conversation(f"mine:{n}", turns, "mine.jsonl") for n in range(3)]
    made_of = [Conversation("f:1", turns, "s", source_ids=("p:m.value1",))]
    write_shard(shard_path(tmp_path / "asked", "data", 0), table_of([*own, *made_of]))
    finish_corpus(tmp_path / "asked", "conversation")
    finetune(root, tmp_path / "sft", tmp_path / "asked")
    seen = pq.read_table(tmp_path / "sft" / "seen.parquet")["id"].to_pylist()
    assert set(seen) == {"mine:0", "mine:1", "mine:2", "p:m.value1"}


def test_path_bears_no_identity_but_the_content_does(tmp_path):
    paths = [tmp_path / "a" / "x.jsonl", tmp_path / "b" / "x.jsonl"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("{}")
    sections = [CONVERSATIONS.section(data=str(path)) for path in paths]
    assert sections[0].identity() == sections[1].identity()
    assert sections[0].identity() != CONVERSATIONS.section().identity()
    digests = [CONVERSATIONS.scan(section).digest() for section in sections]
    assert digests[0] == digests[1]
    paths[1].write_text("{ }")
    assert CONVERSATIONS.scan(sections[1]).digest() != digests[0]


def test_recipe_section_hands_its_settings_on_to_the_conversations():
    section = FinetuneSection.read({"max_answer_words": 12, "epochs": 2.0}, "finetune")
    assert section.conversations().max_answer_words == 12
    assert "epochs" not in section.conversations().identity()


def test_of_a_corrected_conversation_only_the_correction_is_learnt(root, tmp_path, monkeypatch):
    turns = [Message(role, text) for text in ("One.", "Two.") for role in ("user", "assistant")]
    both = [Conversation(kind, tuple(turns), "s", kind) for kind in ("edit", "functions")]
    write_shard(shard_path(tmp_path / "asked", "data", 0), table_of(both))
    finish_corpus(tmp_path / "asked", "conversation")
    learnt = []

    def stream(examples, *rest, **options):
        learnt.extend(sum(each.is_answer) for each in examples)
        return AnswerStream(examples, *rest, **options)

    monkeypatch.setattr("volano.finetune.run.AnswerStream", stream)
    finetune(root, tmp_path / "made", tmp_path / "asked")
    corrected, written = learnt
    assert 0 < corrected < written
