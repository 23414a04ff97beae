import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from volano.core.artifact import Artifact, describe_files
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError, RecipeError, RunFailed
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.pretrain import step as pretrain_step
from volano.pretrain.section import PackSection, PretrainSection, TokenizerSection
from volano.pretrain.step import PACK, PRETRAIN, TOKENIZER
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import Tokenizer, train_tokenizer

SECRET = "xylophone"  # stands in held-out documents only


def write_corpus(folder, documents):
    folder.mkdir()
    half = len(documents) // 2
    for place, part in enumerate((documents[:half], documents[half:])):
        write_shard(shard_path(folder, "data", place), table_of(part, Document))
    finish_corpus(folder, "document")
    return Artifact(folder, {"kind": "corpus", "name": "test"})


def documents(kind, count, split="train", text="def f{place}(x):\n    return x + {place}\n"):
    return [
        Document(f"{kind}-{split}-{place}", text.format(place=place) * 3, "test", kind, split)
        for place in range(count)
    ]


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "curated"
    held_out = documents("function", 10, "test", SECRET) + documents("function", 10, "pool", SECRET)
    return write_corpus(folder, documents("function", 80) + held_out + documents("code", 30))


def run(step, section, inputs, folder, seed=1):
    (folder / "artifact").mkdir(parents=True, exist_ok=True)
    context = Context(folder / "artifact", folder / "scratch", seed, workers=1, silent=True)
    step.run(section, inputs, context)
    return Artifact(context.folder, {"kind": step.kind, "name": step.name}), context


@pytest.fixture(scope="module")
def tokenizer(curated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    return run(TOKENIZER, TokenizerSection(vocabulary=300), {"documents": curated}, folder)[0]


@pytest.fixture(scope="module")
def packed(curated, tokenizer, tmp_path_factory):
    inputs = {"documents": curated, "tokenizer": tokenizer}
    folder = tmp_path_factory.mktemp("tokens")
    return run(PACK, PackSection(context=16), inputs, folder)[0]


def test_tokenizer_learns_nothing_from_held_out_documents(tokenizer):
    assert len(Tokenizer.load(tokenizer.folder).encode(SECRET)) == len(SECRET)


def test_no_held_out_document_is_packed(packed):
    shards = TokenShards(packed.folder)
    assert len(shards.documents) == 110
    assert not any("-test-" in name or "-pool-" in name for name in shards.documents)


def test_kinds_of_the_mixture_alone_are_packed(curated, tokenizer, tmp_path):
    section = PretrainSection.read({"mixture": {"code": 1, "function": 0}}, "test").packing()
    inputs = {"documents": curated, "tokenizer": tokenizer}
    made, _ = run(PACK, section, inputs, tmp_path)
    assert list(json.loads((made.folder / "meta.json").read_text())["kinds"]) == ["code"]


def test_unknown_kind_is_refused_with_the_nearest(curated, tokenizer, tmp_path):
    inputs = {"documents": curated, "tokenizer": tokenizer}
    with pytest.raises(
        DataError, match=r"no documents of kind 'functon'\. Did you mean 'function'"
    ):
        run(PACK, PackSection(kinds=["functon"]), inputs, tmp_path)
    with pytest.raises(DataError, match="no documents of kind 'functon'"):
        run(TOKENIZER, TokenizerSection(kinds=["functon"]), inputs, tmp_path)


def test_a_large_corpus_is_sampled_evenly(curated, tmp_path, monkeypatch):
    read = {}
    for kinds in ([], ["code"]):
        section = TokenizerSection(vocabulary=300, sample_bytes=1000, kinds=kinds)

        def learn(texts, *, vocabulary, kinds=tuple(kinds)):
            read[kinds] = list(texts)
            return train_tokenizer(read[kinds], vocabulary=vocabulary)

        monkeypatch.setattr(pretrain_step, "train_tokenizer", learn)
        run(TOKENIZER, section, {"documents": curated}, tmp_path / "-".join(["one", *kinds]))
    for kinds, texts in read.items():
        assert 700 < sum(len(each.encode()) for each in texts) <= 1100, kinds
    chosen = [each for each in curated.corpus().records() if each.split == "train"]
    of_code = [each.text for each in chosen if each.kind == "code"]
    places = [of_code.index(text) for text in read["code",]]
    gaps = {b - a for a, b in pairwise(places)}
    assert len(gaps) <= 2
    assert places[-1] >= len(of_code) - max(gaps)


@pytest.mark.parametrize(("held", "count"), [(10, 4), (7, 7), (5, 9), (199, 100), (3, 0)])
def test_what_is_measured_meanwhile_lies_evenly_over_what_is_held_out(held, count, monkeypatch):
    names = [str(n) for n in range(held)]
    corpus = SimpleNamespace(records=lambda: iter(names))
    chosen = pretrain_step._sample(SimpleNamespace(corpus=lambda: corpus), count)
    assert len(chosen) == min(held, count)
    gaps = {int(b) - int(a) for a, b in pairwise(chosen)}
    assert all(held // count <= gap <= held // count + 1 for gap in gaps)


def small(**changes):
    return PretrainSection.read(
        {
            "model": {"parameters": 20_000, "context": 16},
            "tokens": 16 * 4 * 20,
            "batch_rows": 4,
            "mixture": {"function": 0.75, "code": 0.25},
            "evaluate_steps": 10,
        }
        | changes,
        "test",
    )


def test_pretraining_leaves_a_checkpoint_with_metrics_and_what_it_saw(
    curated, tokenizer, packed, tmp_path
):
    inputs = {"tokens": packed, "tokenizer": tokenizer, "held_out": curated}
    made, context = run(PRETRAIN, small(), inputs, tmp_path)
    metrics = pq.read_table(made.folder / "metrics.parquet").to_pylist()
    assert [row["step"] for row in metrics] == list(range(1, 21))
    measured = [row["held_out_bits_per_byte"] for row in metrics if row["step"] in (10, 20)]
    assert measured[1] < measured[0]
    seen = pq.read_table(made.folder / "seen.parquet").to_pylist()
    assert all("-train-" in row["id"] for row in seen)
    # 80 rows, of which 20 are code, less padding
    total = sum(row["tokens"] for row in seen)
    assert 0.9 * 80 * 16 <= total <= 80 * 16
    assert context.bill["threads"] == 1
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (made.folder / name).is_file()


def test_held_out_bits_are_told_by_group_and_add_up(tokenizer, packed, tmp_path):
    corpus = tmp_path / "held_out"
    texts = documents("function", 6, "test", SECRET), documents("topic", 3, "test", "Another one.")
    held_out = write_corpus(corpus, [replace(d, source=d.kind + "s") for two in texts for d in two])
    sizes = {name: sum(len(d.text) for d in two) for name, two in zip("ft", texts, strict=True)}
    inputs = {"tokens": packed, "tokenizer": tokenizer, "held_out": held_out}
    for by, names in (("kind", ("function", "topic")), ("source", ("functions", "topics"))):
        made, _ = run(PRETRAIN, small(evaluate_by=by), inputs, tmp_path / by)
        last = pq.read_table(made.folder / "metrics.parquet").to_pylist()[-1]
        function, topic = (last[f"held_out_bits_per_byte.{name}"] for name in names)
        whole = (function * sizes["f"] + topic * sizes["t"]) / sum(sizes.values())
        assert last["held_out_bits_per_byte"] == pytest.approx(whole)
        assert function > topic + 0.1  # its letters are held out from training


def test_bits_per_byte_are_those_of_the_text_of_the_labels(tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    made, context = run(PRETRAIN, small(mixture={}), inputs, tmp_path)
    first = pq.read_table(made.folder / "metrics.parquet").to_pylist()[0]
    stream = TokenStream(TokenShards(packed.folder), steps=20, batch_rows=4, seed=context.seed)
    labels = stream.batch(0).labels_BT
    learnt = labels[labels >= 0]
    text = Tokenizer.load(tokenizer.folder).decode(learnt.tolist())
    bits = first["loss"] * len(learnt) / np.log(2)
    assert first["bits_per_byte"] == pytest.approx(bits / len(text.encode()))


def test_the_model_speaks_at_its_milestones(curated, tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer, "held_out": curated}
    made, _ = run(PRETRAIN, small(), inputs, tmp_path)
    samples = pq.read_table(made.folder / "samples.parquet").to_pylist()
    assert [each["step"] for each in samples[::3]] == [0, 1, 2, 10, 20]
    assert len({each["prompt"] for each in samples}) == 3
    assert samples[3]["tokens"] == 4 * 16
    assert samples[0]["continuation"] != samples[-3]["continuation"]
    chosen = {"milestones": [1], "milestone_prompts": ["def f"], "milestone_tokens": 9}
    made, _ = run(PRETRAIN, small(tokens=16 * 4 * 150, **chosen), inputs, tmp_path / "chosen")
    (said,) = pq.read_table(made.folder / "samples.parquet").to_pylist()
    assert (said["step"], said["prompt"]) == (150, "def f")
    # Every document goes on like this; the number is any.
    assert re.match(r"\d+\(x\):\n", said["continuation"])


def test_no_milestones_or_nothing_to_begin_with_leave_no_samples(tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    off = run(PRETRAIN, small(milestones=[], milestone_prompts=["a"]), inputs, tmp_path / "off")
    bare = run(PRETRAIN, small(), inputs, tmp_path / "bare")
    for made, _ in (off, bare):
        assert not (made.folder / "samples.parquet").exists()


def test_rates_that_make_it_worse_than_guessing_stop_the_run(tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    wild = {"learning_rate": 3.0, "matrix_learning_rate": 9.0, "schedule": "constant"}
    with pytest.raises(
        RunFailed, match=r"and guessing has 5\.\d+\. It left its course at step"
    ) as failed:
        run(PRETRAIN, small(tokens=16 * 4 * 80, **wild), inputs, tmp_path)
    assert "whose batch holds " in str(failed.value)
    assert failed.value.exit_code == 1


def test_a_milestone_beyond_the_end_is_refused():
    with pytest.raises(RecipeError, match="a fraction of the steps, from 0 to 1, not 2"):
        small(milestones=[0, 2])


def test_equal_seed_gives_equal_weights_and_another_seed_others(tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    files = [
        describe_files(run(PRETRAIN, small(), inputs, tmp_path / name, seed)[0].folder)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    ]
    assert files[0] == files[1]
    assert files[0]["model.safetensors"] != files[2]["model.safetensors"]


def test_golden_loss_curve(tokenizer, packed, tmp_path):
    # A change here means another output for equal inputs: raise the step's version with it.
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    made, _ = run(PRETRAIN, small(precision="float32"), inputs, tmp_path)
    losses = pq.read_table(made.folder / "metrics.parquet")["loss"].to_numpy()
    assert PRETRAIN.version == 4
    np.testing.assert_allclose(losses[[0, 4, 9, 19]], GOLDEN, rtol=2e-3)


GOLDEN = [5.6491, 4.5993, 3.0877, 2.1431]


def test_z_loss_is_part_of_the_loss_and_told_apart_from_the_likelihood(tokenizer, packed, tmp_path):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    made, _ = run(PRETRAIN, small(z_loss=0.01, precision="float32"), inputs, tmp_path)
    metrics = pq.read_table(made.folder / "metrics.parquet")
    loss, nll, squared = (metrics[name].to_numpy() for name in ("loss", "nll", "squared_log_z"))
    np.testing.assert_allclose(loss, nll + 0.01 * squared, rtol=1e-5)
    assert nll[0] == pytest.approx(GOLDEN[0], rel=1e-3)  # before the first update
    assert squared[-1] < squared[0]


def test_section_counts_steps_in_whole_batches():
    section = PretrainSection.read({"tokens": "2.5M", "batch_rows": 32}, "test")
    assert section.steps == round(2_500_000 / (32 * 128))
    assert PretrainSection.read({"tokens": 1}, "test").steps == 1


def test_runtime_settings_bear_no_identity():
    identity = PretrainSection().identity()
    assert not {"threads", "checkpoint_steps", "checkpoint_seconds"} & identity.keys()
    assert {"tokens", "mixture", "learning_rate", "compile"} <= identity.keys()


def test_loading_the_steps_loads_no_torch():
    code = "import sys, volano.pretrain.step; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_best_weights_are_refused_where_nothing_held_out_tells_them(
    curated, tokenizer, packed, tmp_path
):
    inputs = {"tokens": packed, "tokenizer": tokenizer}
    empty = write_corpus(tmp_path / "held_out", [])
    for number, given in enumerate((inputs, inputs | {"held_out": empty})):
        with pytest.raises(RecipeError, match=r"pretrain\.weights: nothing is held out"):
            run(PRETRAIN, small(weights="best"), given, tmp_path / str(number))
    run(PRETRAIN, small(weights="best"), inputs | {"held_out": curated}, tmp_path / "told")
