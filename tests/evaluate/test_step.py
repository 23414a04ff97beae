import json
from itertools import product
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.records import Conversation, Document, Message, table_of
from volano.core.report import Report
from volano.core.step import Context
from volano.evaluate.efficiency import ROUNDS, Speeds, read_efficiency
from volano.evaluate.step import EVALUATE, HELD_OUT_FUNCTIONS
from volano.evaluate.table import report_tables
from volano.model.decoder import Decoder, DecoderConfig, initialise
from volano.model.huggingface import save_checkpoint
from volano.text.tokenizer import Tokenizer, train_tokenizer

VERBS = ("load", "parse", "sort", "merge", "count")
NOUNS = ("file", "tree", "array", "graph")
SMALL = {"choice_items": 30, "bits_documents": 5, "answers": 6, "max_answer_tokens": 8, "seeds": 2}


def function(n, split):
    name = f"m.{VERBS[n % 5]}_{NOUNS[n % 4]}{n}"
    summary = f"{VERBS[n // 2 % 5].title()} the {NOUNS[n // 3 % 4]} number {n}."
    metadata = json.dumps({"qualified_name": name, "signature": "()", "summary": summary})
    text = f"{name}()\n\n{summary}"
    return Document(f"p:{name}", text, "s", "function", split, metadata=metadata)


def prompt(n, kind):
    turns = (Message("user", f"{kind} request {n}"), Message("assistant", "I can't."))
    metadata = json.dumps({"pair": f"{n}", "set": "natural"})
    split = ("train", "test")[n % 2]
    return Conversation(f"{n}{kind}", turns, "s", kind, split, metadata=metadata)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = tmp_path_factory.mktemp("artifacts")
    documents = [function(n, "test") for n in range(40)] + [function(99, "train")]
    write_shard(shard_path(root / "documents", "data", 0), table_of(documents))
    finish_corpus(root / "documents", "document")
    conversations = [prompt(n, kind) for n in range(8) for kind in ("unsafe", "safe")]
    write_shard(shard_path(root / "safety", "data", 0), table_of(conversations))
    finish_corpus(root / "safety", "conversation")
    tokenizer = train_tokenizer((document.text for document in documents), vocabulary=300)
    for seed, name in enumerate(("base", "sft", "aligned")):
        shape = DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 96)
        model = Decoder(shape)
        initialise(model, seed)
        save_checkpoint(root / name, model, tokenizer)
    context = Context(root / "held_out_functions", root / "scratch", seed=1, silent=True)
    inputs = {"documents": Artifact(root / "documents", {})}
    HELD_OUT_FUNCTIONS.run(HELD_OUT_FUNCTIONS.section(), inputs, context)
    return root


def evaluate(root, folder, *names, **settings):
    context = Context(folder, folder / "scratch", seed=1, workers=1, silent=True)
    inputs = {name: Artifact(root / name, {}) for name in names}
    EVALUATE.run(EVALUATE.section(**(SMALL | settings)), inputs, context)
    return context


ALL = ("held_out_functions", "safety", "base", "sft", "aligned")


def test_held_out_corpus_holds_the_test_functions_alone(artifacts):
    corpus = Corpus.open(artifacts / "held_out_functions")
    assert len(corpus) == 40
    assert set(corpus.to_arrow(["split"])["split"].to_pylist()) == {"test"}


def test_every_figure_of_every_stage_has_an_interval_and_an_n(artifacts, tmp_path):
    context = evaluate(artifacts, tmp_path, *ALL)
    report = Report.load(tmp_path / "report.json")
    stages = {m.stage for m in report.measurements}
    assert stages >= {"base", "sft", "aligned", "random", "chance", "lexical", "bag of words"}
    for measurement in report.measurements:
        assert measurement.low <= measurement.value <= measurement.high
        assert measurement.n > 0
    for stage in ("base", "sft", "aligned"):
        for name in ("bits_per_byte", "choice_pmi", "answer_chrf", "answers_end", "refused_safe"):
            assert report.find(name, stage) is not None
    assert report.find("choice_pmi", "base as document") is not None
    assert report.find("win_rate_over_sft_sampled", "aligned") is not None
    assert report.find("choice_pmi", "lexical").value <= 0.25
    assert {each["name"] for each in report.comparisons} >= {"choice_pmi", "refusal_unsafe"}
    for stage, figure in product(("base", "sft", "aligned"), Speeds._fields):
        speed = read_efficiency(context.bill, stage, figure)
        assert speed.low <= speed.value <= speed.high
        assert speed.value > 0
        assert speed.n == ROUNDS
    assert context.bill["efficiency.peak_memory_megabytes"] > 10
    tables = report_tables(report, context.bill)
    assert [table.row_count > 0 for table in tables] == [True, True, True]


def test_items_hold_every_answer_and_two_runs_give_the_same_bytes(artifacts, tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        evaluate(artifacts, folder, *ALL)
    for name in ("report.json", "items.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    items = pq.read_table(first / "items.parquet").to_pylist()
    answered = [item for item in items if item["task"] == "answer_chrf" and item["stage"] == "sft"]
    assert len(answered) == 6
    assert all(item["answer"] is not None and item["score"] >= 0 for item in answered)
    right = [i["correct"] for i in items if (i["task"], i["stage"]) == ("choice_pmi", "sft")]
    measured = Report.load(first / "report.json").find("choice_pmi", "sft")
    assert measured.value == sum(right) / len(right)


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(artifacts, tmp_path, monkeypatch):
    import volano.evaluate.run as run

    asked = []

    def stopping(stage, prompts):
        asked.append(stage.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measured(stage, prompts)

    measured = run.measure_safety
    evaluate(artifacts, tmp_path / "whole", *ALL)
    monkeypatch.setattr(run, "measure_safety", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate(artifacts, tmp_path / "stopped", *ALL)
    again = Mock(side_effect=AssertionError("what was measured is measured again"))
    for name in ("measure_bits", "measure_choice", "measure_answers", "sampled_answers"):
        monkeypatch.setattr(run, name, again)
    evaluate(artifacts, tmp_path / "stopped", *ALL)
    assert asked == ["base", "sft", "sft", "aligned"]
    for name in ("report.json", "items.parquet"):
        of_both = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "stopped")]
        assert of_both[0] == of_both[1]


def test_golden_items_and_figures(artifacts, tmp_path):
    # A change here means another output for equal inputs: raise the step's version with it.
    evaluate(artifacts, tmp_path, *ALL)
    items = pq.read_table(tmp_path / "items.parquet").to_pylist()
    asked = sorted({(each["task"], each["id"]) for each in items})
    assert (EVALUATE.version, json_digest(asked)[:16]) == (4, "79e34c8d9bd79a3c")
    report = Report.load(tmp_path / "report.json")
    figures = [round(report.find(name, stage).value, 3) for name, stage in GOLDEN]
    assert figures == pytest.approx(list(GOLDEN.values()), rel=2e-3)


GOLDEN = {
    ("bits_per_byte", "base"): 3.393,
    ("bits_per_byte", "sft"): 3.394,
    ("choice_pmi", "lexical"): 0.167,
    ("refusal_unsafe", "bag of words"): 1.0,
}


def test_one_stage_alone_is_measured_without_comparisons(artifacts, tmp_path):
    evaluate(artifacts, tmp_path, "held_out_functions", "base", tasks=["held_out_functions"])
    report = Report.load(tmp_path / "report.json")
    assert report.comparisons == ()
    assert report.find("refusal_unsafe", "base") is None


@pytest.mark.parametrize("names", [("held_out_functions",), ("documents_of_no_kind", "base")])
def test_nothing_to_measure_or_to_measure_on_is_refused(artifacts, tmp_path, names):
    if "held_out_functions" not in names:
        empty = tmp_path / "empty"
        write_shard(shard_path(empty, "data", 0), table_of([], Document))
        finish_corpus(empty, "document")
        inputs = {
            "held_out_functions": Artifact(empty, {}),
            "base": Artifact(artifacts / "base", {}),
        }
        context = Context(tmp_path / "r", tmp_path / "s", seed=1, workers=1, silent=True)
        with pytest.raises(DataError, match="0 held-out functions"):
            EVALUATE.run(EVALUATE.section(), inputs, context)
    else:
        with pytest.raises(DataError, match="no checkpoint"):
            evaluate(artifacts, tmp_path, *names)


def test_speed_where_no_question_fits_is_refused_in_words(artifacts, tmp_path):
    tokenizer = Tokenizer.load(artifacts / "base")
    model = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 26))
    initialise(model, 1)
    save_checkpoint(tmp_path / "short", model, tokenizer)
    context = Context(tmp_path, tmp_path / "scratch", seed=1, workers=1, silent=True)
    inputs = {
        "held_out_functions": Artifact(artifacts / "held_out_functions", {}),
        "safety": Artifact(artifacts / "safety", {}),
        "base": Artifact(tmp_path / "short", {}),
    }
    with pytest.raises(DataError, match="no question leaves room for 24 tokens in a context of 26"):
        EVALUATE.run(EVALUATE.section(tasks=["efficiency"]), inputs, context)
