"""Two checkpoints or reports of a small store: what is measured, paired, refused and told."""

import json

import pyarrow as pa
import pytest
from toy_wheel import checkpoint, corpus, said, write_items
from toy_wheel import make as make_stage

from volano.cli.main import run_command
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import RecipeError, StoreError
from volano.core.records import Conversation, Document, Message, table_of
from volano.core.report import Report
from volano.core.store import Store
from volano.evaluate.section import DomainsSection
from volano.model.config import DecoderConfig
from volano.model.decoder import Decoder, initialise
from volano.model.huggingface import save_checkpoint
from volano.study.compare import compare, compare_reports, evaluation_of, tasks_named
from volano.text.tokenizer import train_tokenizer

VERBS = ("load", "parse", "sort", "merge", "count")
NOUNS = ("file", "tree", "array", "graph")
DOMAINS = DomainsSection(documents=20)
FEW = ["choice_items=20", "answers=6", "max_answer_tokens=8", "safety_prompts=8"]
BOTH = ("held_out_functions", "safety")


def make(store, stage, kind, write, **inputs):
    """As the toy wheel's, of settings of its own: other content is another artifact."""
    number = float(stage.rpartition("-")[2]) if stage[-1].isdigit() else 1.0
    return make_stage(store, stage, kind, write, epochs=number, **inputs)


def function(n, split="test"):
    name = f"m.{VERBS[n % 5]}_{NOUNS[n % 4]}{n}"
    summary = f"{VERBS[n // 2 % 5].title()} the {NOUNS[n // 3 % 4]} number {n}."
    metadata = json.dumps({"qualified_name": name, "signature": "()", "summary": summary})
    text = f"{name}()\n\n{summary}"
    return Document(f"p:{name}", text, "s", "function", split, metadata=metadata)


def request(n, kind):
    turns = (Message("user", f"{kind} request {n}"), Message("assistant", "I can't."))
    metadata = json.dumps({"pair": f"{n}", "set": "natural"})
    split = ("train", "test")[n % 2]
    return Conversation(f"{n}{kind}", turns, "s", kind, split, metadata=metadata)


FUNCTIONS = [function(n) for n in range(40)]
REQUESTS = [request(n, kind) for n in range(8) for kind in ("unsafe", "safe")]


def model(seed, read=(), vocabulary=300):
    """A model of random weights that says it has read these documents."""

    def write(folder):
        tokenizer = train_tokenizer((each.text for each in FUNCTIONS), vocabulary=vocabulary)
        decoder = Decoder(DecoderConfig(tokenizer.vocabulary, 16, 1, 1, 1, 24, 96))
        initialise(decoder, seed)
        save_checkpoint(folder, decoder, tokenizer)
        write_seen(folder, read)

    return write


def write_seen(folder, read):
    seen = {"id": pa.array(read, pa.string()), "tokens": pa.array([1] * len(read), pa.int64())}
    write_shard(folder / "seen.parquet", pa.table(seen))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three models of the same corpora, one of others, and one that came from elsewhere."""
    store = Store(tmp_path_factory.mktemp("compared") / "runs")
    held = make(store, "held_out_functions", "corpus", corpus(FUNCTIONS, "document"))
    safety = make(store, "safety", "corpus", corpus(REQUESTS, "conversation"))
    behind = {"held_out": held, "safety": safety}
    for seed in (1, 2):
        make(store, f"align-{seed}", "checkpoint", model(seed), **behind)
    make(store, "pretrain", "checkpoint", model(3), held_out=held)
    make(store, "import", "checkpoint", model(4, vocabulary=290))
    others = [function(n) for n in range(40, 60)]
    other = make(store, "held_out_functions-2", "corpus", corpus(others, "document"))
    make(store, "pretrain-2", "checkpoint", model(5), held_out=other)
    return store


def compared(store, first, second, *tasks, **options):
    chosen = tasks or BOTH
    others = [each for each in chosen if each != "bits_per_byte"]
    return compare(
        store,
        store[f"toy/{first}"],
        store[f"toy/{second}"],
        section=DOMAINS,
        tasks=chosen,
        evaluation=evaluation_of(others, FEW),
        silent=True,
        **options,
    )


def test_checkpoints_are_measured_on_the_same_items_once(store):
    found = compared(store, "align-1", "align-2", "bits_per_byte", *BOTH)
    rows = {each.task: each for each in found.rows}
    assert rows.keys() == {
        "bits_per_byte", "choice_pmi", "choice_normalised", "answer_chrf", "answers_end",
        "answers_repeat", "answered_safe", "refusal_unsafe", "refused_safe",
    }  # fmt: skip
    assert (rows["answer_chrf"].n, rows["refusal_unsafe"].n) == (6, 4)
    assert rows["bits_per_byte"].of == "function"
    assert all(each.adjusted >= each.p_value for each in found.rows)
    assert [each.why for each in found.measured_on] == ["both were kept from it"] * 2
    made = len(store.artifacts())
    again = compared(store, "align-1", "align-2", "bits_per_byte", *BOTH)
    assert (again.rows, len(store.artifacts())) == (found.rows, made)


def test_a_model_beside_itself_differs_in_no_item(store):
    found = compared(store, "align-1", "align-1")
    assert {(each.difference, each.p_value) for each in found.rows} == {(0, 1)}
    assert (found.changes, found.missing) == ([], [])


def test_models_that_may_never_have_seen_a_chat_are_asked_as_documents_too(store):
    found = compared(store, "pretrain", "align-1")
    assert {each.of for each in found.rows} == {"", "as document"}
    why = {each.need: each.why for each in found.measured_on}
    assert why["safety"] == "it lies behind the second alone"
    of_chats = compared(store, "align-1", "align-2")
    assert {each.of for each in of_chats.rows} == {""}


def test_a_model_from_elsewhere_is_measured_on_what_the_other_was_kept_from(store):
    found = compared(store, "import", "pretrain", "held_out_functions")
    assert found.rows
    assert [each.why for each in found.measured_on] == [
        "it lies behind the second alone, and what the first had read before it was imported is "
        "not known"
    ]
    with pytest.raises(StoreError, match="no held-out documents lie behind either"):
        compared(store, "import", "import", "held_out_functions")
    shipped = compared(store, "import", "import", "safety")
    assert [each.why for each in shipped.measured_on] == [
        "it comes with Volano, and lies behind neither"
    ]


def test_other_held_out_documents_are_refused_until_one_corpus_is_named(store):
    with pytest.raises(StoreError, match=r"same held-out documents.*--on CORPUS"):
        compared(store, "pretrain", "pretrain-2", "held_out_functions")
    named = [store["toy/held_out_functions"]]
    found = compared(store, "pretrain", "pretrain-2", "held_out_functions", on=named)
    assert found.rows
    with pytest.raises(StoreError, match="none of the tasks reads it"):
        compared(store, "align-1", "align-2", "safety", on=named)
    with pytest.raises(StoreError, match="stands in for the same as"):
        compared(store, "align-1", "align-2", on=named * 2)


def test_a_corpus_that_a_model_has_read_is_no_measure_and_that_is_said(tmp_path):
    store = Store(tmp_path / "runs")
    held = make(store, "held_out_functions", "corpus", corpus(FUNCTIONS, "document"))
    read = [each.id for each in FUNCTIONS[:7]]
    make(store, "pretrain-1", "checkpoint", model(1, read), held_out=held)
    make(store, "pretrain-2", "checkpoint", model(2), held_out=held)
    found = compared(store, "pretrain-1", "pretrain-2", "bits_per_byte")
    assert [each.why for each in found.measured_on] == [
        "both were kept from it; of its 40 records training has read 7 by the first, so figures "
        "tell of memory too"
    ]


def test_tasks_and_settings_that_compare_nothing_are_refused():
    assert tasks_named(["safety", "safety"]) == ["safety"]
    with pytest.raises(StoreError, match="Did you mean 'safety'"):
        tasks_named(["saftey"])
    with pytest.raises(StoreError, match="efficiency is measured on no items"):
        tasks_named(["efficiency"])
    assert evaluation_of(["safety"], ["evaluate.answers=7"]).answers == 7
    for setting, said_of_it in (("seeds=2", "greedy"), ("bits_documents=5", "--documents")):
        with pytest.raises(RecipeError, match=said_of_it):
            evaluation_of(["safety"], [setting])


def test_the_command_shows_what_was_lost_and_refuses_what_has_no_effect(store, capsys):
    where = ["--store", str(store.folder)]
    names = ["toy/align-1", "toy/align-2"]
    asked = ["compare", *names, *FEW, "--tasks", ",".join(BOTH), *where]
    assert run_command([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    change = next(each for each in found["changes"] if each["task"] == "choice_pmi")
    values = "first right, second wrong" if change["lost"] else "first wrong, second right"
    assert run_command([*asked, "--show", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"    {change['id']}\n        {values}\n" in printed
    for wrong, complaint in (
        (["toy/align-1", "toy/safety"], "this is a corpus, not a checkpoint"),
        ([*names, "--tasks", "safety", "--by", "source"], "--by: has no effect"),
        ([*names, "answers=3"], "answers=3: has no effect"),
        ([*names, "--tasks", "safty"], "Did you mean 'safety'"),
    ):
        assert run_command(["compare", *wrong, *where]) == 2
        assert complaint in capsys.readouterr().err


def items(task, outcomes, stage="aligned"):
    return [
        {"task": task, "id": f"i{n}", "stage": stage, "answer": f"{stage} {each}", "correct": each}
        for n, each in enumerate(outcomes)
    ]


def evaluated(*rows):
    def write(folder):
        write_items(folder, [each for several in rows for each in several])
        Report(()).save(folder / "report.json")

    return write


@pytest.fixture
def reports(tmp_path):
    """Two reports of models, of which the second lost five of ten answers."""
    store = Store(tmp_path / "runs")
    asked = [said(f"i{n}", f"Question {n}?", "Yes.", "safe") for n in range(10)]
    safety = make(store, "safety", "corpus", corpus(asked, "conversation"))
    rights = [True] * 8 + [False] * 2, [True] * 3 + [False] * 7
    for number, outcomes in enumerate(rights, start=1):
        aligned = make(store, f"aligned-{number}", "checkpoint", checkpoint(number))
        beside = [items("answered_safe", [True] * 4, "sft")] * (number == 1)
        write = evaluated(items("answered_safe", outcomes), *beside)
        make(store, f"report-{number}", "report", write, aligned=aligned, safety=safety)
    make(store, "other", "report", evaluated(items("answered_safe", [True] * 9, "former")))
    make(store, "verdict", "report", lambda folder: Report(()).save(folder / "report.json"))
    return store


def test_reports_are_paired_by_task_stage_and_id(reports):
    found = compare_reports(reports, reports["toy/report-1"], reports["toy/report-2"])
    (row,) = found.rows
    assert (row.p_value, row.n, row.only_first, row.only_second) == (2 / 32, 10, 5, 0)
    assert [(each.of, each.only_first) for each in found.missing] == [("sft", 4)]
    assert found.asked["i3"] == "Question 3?"
    assert [each.step for each in found.apart] == ["report", "aligned"]


def test_reports_with_nothing_in_common_or_without_items_are_refused(reports):
    one = reports["toy/report-1"]
    with pytest.raises(StoreError, match=r"stages aligned, sft beside former\. Compare the two"):
        compare_reports(reports, one, reports["toy/other"])
    with pytest.raises(StoreError, match=r"a report without items\. Name two reports"):
        compare_reports(reports, one, reports["toy/verdict"])


def test_the_command_takes_reports_and_shows_question_and_answers(reports, capsys):
    where = ["--store", str(reports.folder)]
    names = ["toy/report-1", "toy/report-2"]
    assert run_command(["compare", *names, "--show", "1", *where]) == 0
    printed = capsys.readouterr().out
    assert "safe answered (aligned): 5 items better in the first\n    i3: Question 3?\n" in printed
    assert "        first yes: aligned True\n        second no: aligned False\n" in printed
    assert "Not paired, as only the first has them: sft: 4 items of 1 task." in printed
    for wrong, complaint in (
        ([*names, "--tasks", "safety"], "--tasks: has no effect"),
        (["toy/report-1", "toy/aligned-1"], "a report beside a checkpoint"),
    ):
        assert run_command(["compare", *wrong, *where]) == 2
        assert complaint in capsys.readouterr().err


RULES = {
    "short": ("gopher_quality", 40.0, 50.0, "words"),
    "brief": ("gopher_quality", 30.0, 50.0, "words"),
    "wordy": ("gopher_quality", 12.0, 10.0, "mean_word_length"),
    "copy": ("near", 0.9, 0.7, "short"),
    "test": ("held_out", None, None, None),
    "kept": (None, None, None, None),
}


def curated(rules):
    """A corpus of curation that dropped these documents, and keeps "all"."""

    def write(folder):
        kept = [name for name, (rule, *_) in rules.items() if rule is None]
        documents = [Document(name, name, "toy") for name in [*kept, "all"]]
        write_shard(shard_path(folder, "data", 0), table_of(documents))
        columns = zip(*rules.values(), strict=True)
        names = ("dropped_by", "value", "threshold", "evidence")
        kinds = (pa.string(), pa.float64(), pa.float64(), pa.string())
        table = {"id": pa.array(rules, pa.string())} | {
            name: pa.array(column, kind)
            for name, column, kind in zip(names, columns, kinds, strict=True)
        }
        write_shard(shard_path(folder, "attributes/decision", 0), pa.table(table))
        finish_corpus(folder, "document")

    return write


def test_documents_of_one_id_whose_text_is_another_are_not_the_same(tmp_path, capsys):
    """As files of one name in two folders are, or documents whose words were shuffled."""
    store = Store(tmp_path / "runs")
    held = make(store, "held_out_functions", "corpus", corpus(FUNCTIONS, "document"))
    ids = ["a", "b", "c"]
    for number, texts in ((1, ids), (2, ["a", "other", "another"])):
        documents = [Document(name, text, "toy") for name, text in zip(ids, texts, strict=True)]
        read = make(store, f"collect-{number}", "corpus", corpus(documents, "document"))
        behind = {"documents": read, "held_out": held}
        make(store, f"pretrain-{number}", "checkpoint", model(number, ids), **behind)
    found = compared(store, "pretrain-1", "pretrain-2", "bits_per_byte")
    assert (found.seen.both, found.seen.other_text) == (3, 2)
    same = compared(store, "pretrain-1", "pretrain-1", "bits_per_byte")
    assert (same.seen.both, same.seen.other_text) == (3, 0)
    command = ["compare", "toy/pretrain-1", "toy/pretrain-2", "--documents", "20"]
    assert run_command([*command, "--store", str(store.folder)]) == 0
    assert "3 by both (2 of them with another text)" in capsys.readouterr().out


def test_why_one_has_not_read_what_the_other_has_is_told_by_rule(tmp_path, capsys):
    store = Store(tmp_path / "runs")
    documents = [Document(name, name, "toy") for name in (*RULES, "all", "mine")]
    collected = make(store, "collect", "corpus", corpus(documents, "document"))
    fewer = [each for each in documents if each.id != "mine"]
    other = make(store, "collect-2", "corpus", corpus(fewer, "document"))
    held = make(store, "held_out_functions", "corpus", corpus(FUNCTIONS, "document"))
    everything = dict.fromkeys((*RULES, "mine"), (None,) * 4)
    for number, rules, raw, read in (
        (1, everything, collected, [*RULES, "all", "mine"]),
        (2, RULES, other, ["all"]),
    ):
        cut = make(store, f"curate-{number}", "corpus", curated(rules), documents=raw)
        behind = {"documents": cut, "held_out": held}
        make(store, f"pretrain-{number}", "checkpoint", model(number, read), **behind)
    found = compared(store, "pretrain-1", "pretrain-2", "bits_per_byte")
    assert found.seen.only_first_because == {
        "dropped by gopher_quality.min_words": 2,
        "dropped by gopher_quality.max_mean_word_length": 1,
        "dropped by near": 1,
        "held out": 1,
        "kept, but not read in training": 1,
        "never collected": 1,
    }
    assert found.seen.only_second_because == {}
    command = ["compare", "toy/pretrain-1", "toy/pretrain-2", "--documents", "20"]
    assert run_command([*command, "--store", str(store.folder)]) == 0
    assert (
        "of the first's alone: 2 dropped by gopher_quality.min_words in the second"
        in capsys.readouterr().out
    )
