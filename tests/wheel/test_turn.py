"""What the first turn of the wheel promises, seen through the command line and the API."""

import json

import numpy as np
import pytest
from command_line import volano
from two_turns import NAME, TINY

import volano as package
from volano.core.errors import DataError

pytestmark = pytest.mark.xdist_group("two turns")
FIRST = [TINY, "users=off", "turn=off"]


def run_json(turn, *arguments):
    done = volano(*arguments, "--store", "runs", "--json", cwd=turn[0])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_stage_is_made_and_the_table_shows_all_three_models(turn):
    for name in ("collected", "curated", "tokens", "base", "sft", "aligned", "report"):
        assert name in turn[1]
    for words in ("bits per byte", "base", "sft", "aligned", "random"):
        assert words in turn[1]


def test_second_run_reuses_everything(turn):
    outcomes = run_json(turn, "run", *FIRST)
    assert len(outcomes) == 12
    assert all(each["reused"] for each in outcomes)


def test_plan_names_the_changed_threshold_and_what_follows_from_it(turn):
    plan = run_json(
        turn,
        *("run", *FIRST, "--plan"),
        "curate.quality.gopher_quality.min_words=9",
    )
    by_stage = {each["stage"]: each for each in plan}
    assert by_stage["collected"]["reuse"]
    assert by_stage["safety"]["reuse"]
    assert by_stage["curated"]["why"] == "quality.gopher_quality.min_words: 8 → 9"
    for stage in ("tokenizer", "tokens", "base", "sft", "aligned", "report"):
        assert not by_stage[stage]["reuse"]
        assert by_stage[stage]["why"].endswith("made anew")


def test_trace_of_a_held_out_function_finds_no_checkpoint(turn, store):
    held_out = store[f"{NAME}/held_out"].to_arrow(["id"])["id"].to_pylist()
    for document in held_out[:5]:
        sightings = store.trace(document)
        assert [each for each in sightings if each.kind == "checkpoint"] == []
        roles = {each.name.split("/")[1]: each.role for each in sightings}
        assert roles["collected"] == "holds"
        assert roles.get("curated") in {"dropped", None}
        assert "tokens" not in roles


def test_trace_of_a_training_document_finds_every_checkpoint(turn, store):
    import pyarrow.parquet as pq

    seen = pq.read_table(store[f"{NAME}/base"].folder / "seen.parquet")["id"].to_pylist()
    roles = {each.name.split("/")[1]: each.role for each in store.trace(seen[0])}
    assert roles["curated"] == roles["tokens"] == "holds"
    assert roles["base"] == "trained on"
    assert roles["sft"] in {"trained on", "inherits"}
    assert roles["aligned"] in {"trained on", "inherits"}


def test_a_document_that_training_never_reached_is_in_no_checkpoint(turn, store):
    import pyarrow.parquet as pq

    made = [f"{NAME}/{stage}" for stage in ("base", "sft", "aligned", "sft-2", "aligned-2")]
    seen = {
        document
        for name in made
        for document in pq.read_table(store[name].folder / "seen.parquet")["id"].to_pylist()
    }
    packed = pq.read_table(store[f"{NAME}/tokens"].folder / "spans.parquet")["document"].to_pylist()
    unseen = sorted(set(packed) - seen)
    assert unseen, "the tiny recipe must read less than a whole epoch"
    assert all(each.kind != "checkpoint" for each in store.trace(unseen[0]))


def test_trace_of_a_checkpoint_ends_in_sources_and_licences(turn):
    found = run_json(turn, "trace", f"{NAME}/aligned")
    names = {each["name"].split("/")[1] for each in found["made_from"]}
    assert {"sft", "base", "tokens", "curated", "collected", "preferences"} <= names
    assert "PSF-2.0" in found["licences"]
    assert {"stdlib", "volano safety"} <= set(found["sources"])


def test_no_training_shard_holds_the_text_of_a_held_out_function(turn, store):
    from volano.text.stream import TokenShards
    from volano.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(store[f"{NAME}/tokenizer"].folder)
    shards = TokenShards(store[f"{NAME}/tokens"].folder)
    rows = shards.read(np.arange(shards.rows)).tokens_BT
    text = "\n".join(tokenizer.decode(row.tolist()) for row in rows)
    answers = [
        json.loads(each)["summary"]
        for each in store[f"{NAME}/held_out"].to_arrow(["metadata"])["metadata"].to_pylist()
    ]
    long_answers = [each for each in answers if len(each) > 60]
    assert len(long_answers) > 20
    assert [each for each in long_answers if each in text] == []
    trained = store[f"{NAME}/conversations"].corpus().records()
    control = next(each.messages[1].content for each in trained)
    assert control in text, "the same search finds what was trained on"


def test_show_prints_the_funnel_and_samples_that_add_up(turn):
    shown = run_json(turn, "show", f"{NAME}/curated")
    funnel = shown["funnel"]
    assert funnel[0]["filter"] == "input"
    left = funnel[0]["documents"]
    for row in funnel[1:]:
        left -= row["documents_dropped"]
        assert row["documents"] == left
    assert left == shown["manifest"]["records"]
    assert {each["filter"] for each in shown["samples"]} <= {row["filter"] for row in funnel[1:]}
    text = volano("show", f"{NAME}/curated", "--store", "runs", cwd=turn[0]).stdout
    assert "dropped by decontaminate" in text


def test_report_gives_every_figure_an_interval_and_its_count(store):
    report = store[f"{NAME}/report"].report()
    assert {each.stage for each in report.measurements} >= {"random", "base", "sft", "aligned"}
    for each in report.measurements:
        assert each.low <= each.value <= each.high
        assert each.n > 0


def test_evaluate_of_one_checkpoint_trains_nothing_and_measures_it(turn):
    outcomes = run_json(
        turn,
        *("evaluate", f"{NAME}/sft", f"{NAME}/collected", "-s", "choice_items=20"),
        *("-s", "answers=4", "-s", "bits_documents=4", "-s", "safety_prompts=8", "-s", "seeds=0"),
    )
    assert {each["stage"] for each in outcomes} == {"safety", "held_out", "report"}
    measured = outcomes[-1]["report"]["measurements"]
    assert (
        {"base"}
        <= {each["stage"] for each in measured}
        <= {*("base", "random", "chance", "lexical", "base as document", "bag of words")}
    )


def test_the_wheel_on_a_users_own_text_measures_bits_per_byte_on_what_it_held_out(turn):
    from pydoc_data.topics import topics

    pages = [{"id": name, "text": text[:3000]} for name, text in sorted(topics.items())]
    (turn[0] / "pages.jsonl").write_text("".join(json.dumps(each) + "\n" for each in pages))
    (turn[0] / "own.yaml").write_text(
        "name: own\n"
        "collect: {source: files, paths: [pages.jsonl], held_out_fraction: 0.2}\n"
        "curate: {decontaminate: {against: [held_out_functions]}}\n"
        "tokenizer: {vocabulary: 500}\n"
        "pretrain: {model: {parameters: 0.2M}, tokens: 20k}\n"
        "finetune: off\nalign: off\nevaluate: {tasks: [bits_per_byte]}\n"
    )
    outcomes = run_json(turn, "run", "own.yaml")
    (figure,) = outcomes[-1]["report"]["measurements"]
    assert (figure["name"], figure["stage"]) == ("bits_per_byte", "base")
    assert 8 <= figure["n"] <= 30
    assert figure["value"] < 8


def test_chat_answers_a_question(turn):
    done = volano(
        *("chat", f"{NAME}/aligned", "What does `json.dumps` do?", "--max-tokens", "8"),
        *("--store", "runs"),
        cwd=turn[0],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_transformers_loads_the_aligned_model_and_agrees_on_logits(store):
    transformers = pytest.importorskip("transformers")
    import torch

    from volano.model.huggingface import load_checkpoint

    folder = store[f"{NAME}/aligned"].folder
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens_BT = torch.arange(4, 68)[None]
    with torch.no_grad():
        ours_BTV = load_checkpoint(folder).eval()(tokens_BT)
        difference = (ours_BTV - theirs(tokens_BT).logits).abs().max()
    assert difference < 1e-4


def test_the_curated_corpus_is_a_plain_folder_for_datasets_and_duckdb(store, tmp_path):
    datasets = pytest.importorskip("datasets")
    artifact = store[f"{NAME}/curated"]
    loaded = datasets.load_dataset(str(artifact.folder), split="train", cache_dir=str(tmp_path))
    assert len(loaded) == len(artifact.corpus())
    table = artifact.to_arrow(columns=["id", "text", "gopher_quality.passed"])
    assert table["gopher_quality.passed"].to_pylist().count(True) > 0
    counted = artifact.duckdb().execute("select count(*) from data").fetchall()
    assert counted == [(len(artifact.corpus()),)]


def test_api_opens_the_store_and_traces(turn):
    store = package.open(turn[0] / "runs")
    assert store[f"{NAME}/curated"].kind == "corpus"
    with pytest.raises(DataError, match="no artifact has met"):
        store.trace(document="stdlib:json.dumpz")


def test_diff_names_the_setting_and_the_documents(turn):
    done = volano(
        *("run", *FIRST, "--only", "curate", "--store", "runs"),
        *("name=other", "curate.quality.gopher_quality.min_words=20"),
        cwd=turn[0],
    )
    # another name has another label; what `collect` made has the same identity and is reused
    assert done.returncode == 0, done.stderr
    found = run_json(turn, "diff", f"{NAME}/curated", "other/curated")
    assert found["settings"] == ["quality.gopher_quality.min_words: 8 → 20"]
    assert found["only_first"] > 0
    assert found["only_second"] == 0


def test_clean_plan_names_only_what_nothing_refers_to(turn):
    assert all("other" not in each["artifact"] for each in run_json(turn, "clean", "--plan"))
