"""`volano classifier`, as a user types it: trained, scored, and every mistake one line."""

import json
import random

import pytest

from volano.cli.main import run_command

WORDS = {"sea": ["wave", "boat", "tide", "gull"], "hill": ["rock", "goat", "peak", "path"]}


def rows_of(count, *, text="text", label="label"):
    draw = random.Random(0)
    names = [draw.choice(list(WORDS)) for _ in range(count)]
    return [
        {text: " ".join(draw.choices(WORDS[name], k=4)) + f" {place}", label: name}
        for place, name in enumerate(names)
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def weights(tmp_path, capsys):
    data, out = write(tmp_path / "rows.jsonl", rows_of(300)), tmp_path / "weights.safetensors"
    assert run_command(["classifier", "train", data, "--out", str(out), "--bucket-bits", "10"]) == 0
    return data, out, capsys.readouterr().out


def test_training_prints_its_curve_and_what_the_held_out_rows_say(weights):
    _, out, said = weights
    assert out.is_file()
    assert "pass 1: training loss" in said
    assert "rows held out, accuracy 1.000" in said
    assert "labels hill, sea" in said


def test_json_is_one_value_with_curve_counts_and_the_digest_of_equal_weights(weights, capsys):
    data, out, _ = weights
    before = out.read_bytes()
    command = ["classifier", "train", data, "--out", str(out), "--bucket-bits", "10", "--json"]
    assert run_command(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert out.read_bytes() == before
    assert sum(found["rows"].values()) == 300
    assert found["rows"]["test"] == found["held_out"]["rows"] > 10
    assert found["curve"][0]["epoch"] == 1
    assert found["held_out"]["labels"]["sea"]["roc_auc"] == 1


def test_other_fields_are_named_and_a_bad_line_is_told(tmp_path, capsys):
    rows = [*rows_of(200, text="body", label="kind"), {"body": " ", "kind": "sea"}]
    data, out = write(tmp_path / "rows.jsonl", rows), str(tmp_path / "w")
    fields = ["--text-field", "body", "--label-field", "kind"]
    assert run_command(["classifier", "train", data, "--out", out, *fields]) == 0
    assert "1 line was left out; the first, rows.jsonl:201: field 'body' is no text" in (
        capsys.readouterr().err
    )


def test_scores_go_to_a_file_line_by_line_and_to_json(weights, tmp_path, capsys):
    data, model, _ = weights
    out = tmp_path / "scores.jsonl"
    command = ["classifier", "score", data, "--model", str(model)]
    assert run_command([*command, "--out", str(out), "--json"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert json.loads(capsys.readouterr().out) == rows
    assert [row["label"] for row in rows] == [row["label"] for row in rows_of(300)]
    assert rows[2]["where"] == "rows.jsonl:3"
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert run_command(command) == 0
    assert "Most likely, of 300 rows" in capsys.readouterr().out


def test_without_a_model_the_toxicity_of_texts_is_told(tmp_path, capsys):
    data = write(tmp_path / "rows.jsonl", [{"text": "shut up you bitch"}, {"text": "a fine day"}])
    assert run_command(["classifier", "score", data, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["probabilities"]["neither"] < 0.1 < second["probabilities"]["neither"]


@pytest.mark.parametrize(
    ("rows", "extra", "words"),
    [
        ([], [], "empty"),
        ([{"text": "a", "label": "x"}] * 9, [], "every row has the label 'x'"),
        (rows_of(30), ["--label-field", "lable"], "no field 'lable' (Did you mean 'label'?)"),
        (rows_of(30), ["--text-field", "body"], "no field 'body'"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], [], "no row of label"),
        ([{"text": "a", "label": None}], [], "field 'label' is no label"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(tmp_path, capsys, rows, extra, words):
    data, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "w"
    assert run_command(["classifier", "train", data, "--out", str(out), *extra]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_file_that_is_no_classifier_is_neither_overwritten_nor_read(tmp_path, capsys):
    data = write(tmp_path / "rows.jsonl", rows_of(30))
    for command in (
        ["classifier", "train", data, "--out", data],
        ["classifier", "score", data, "--model", data],
    ):
        assert run_command(command) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 30
