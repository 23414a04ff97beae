"""`volano ngrams`, as a user types it: trained, scored, exchanged, and every mistake one line."""

import json

import pytest

from volano.cli.main import run_command

LINES = ["The cat sat on the mat.", "A dog ran to the cat.", "The mat was on the floor."]


@pytest.fixture
def trained(tmp_path, capsys):
    data, out = tmp_path / "rows.jsonl", tmp_path / "model.safetensors"
    data.write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES * 5))
    assert run_command(["ngrams", "train", str(data), "--out", str(out), "--order", "2"]) == 0
    return data, out, capsys.readouterr().out


def test_training_says_what_was_made_and_equal_rows_give_equal_bytes(trained, capsys):
    data, out, said = trained
    before = out.read_bytes()
    assert "from 120 words in 15 lines; n-grams: 15 of 1, 18 of 2" in said
    command = ["ngrams", "train", str(data), "--out", str(out), "--order", "2", "--json"]
    assert run_command(command) == 0
    assert json.loads(capsys.readouterr().out)["ngrams"] == [15, 18]
    assert out.read_bytes() == before


def test_scores_are_shown_and_written(trained, tmp_path, capsys):
    _, out, _ = trained
    (tmp_path / "new.jsonl").write_text('{"text": "The cat sat."}\n{"text": "Zzz qqq."}\n{}\n')
    command = ["ngrams", "score", str(tmp_path / "new.jsonl"), "--model", str(out)]
    assert run_command([*command, "--out", str(tmp_path / "scores.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").open()]
    assert [row["where"] for row in rows] == ["new.jsonl:1", "new.jsonl:2"]
    assert 1 < rows[0]["perplexity"] < rows[1]["perplexity"] / 3
    told = capsys.readouterr()
    assert "Of 2 rows, a third is below" in told.out
    assert "1 line was left out; the first, new.jsonl:3: no field 'text'" in told.err


def test_a_model_goes_out_as_arpa_and_comes_back(trained, tmp_path):
    _, out, _ = trained
    arpa, back, again = (str(tmp_path / name) for name in ("m.arpa", "back", "again.arpa"))
    assert run_command(["ngrams", "export", "--model", str(out), "--out", arpa]) == 0
    assert run_command(["ngrams", "import", arpa, "--out", back]) == 0
    assert run_command(["ngrams", "export", "--model", back, "--out", again]) == 0
    assert (tmp_path / "m.arpa").read_bytes() == (tmp_path / "again.arpa").read_bytes()


def test_mistakes_are_one_line_each(trained, tmp_path, capsys):
    data, out, _ = trained
    for command, told in (
        (["train", str(data), "--out", str(data)], "exists and is no n-gram model"),
        (["train", str(tmp_path / "none"), "--out", str(out)], "no such file"),
        (["train", str(data), "--text-field", "body", "--out", str(out)], "no words to learn"),
        (["score", str(data), "--model", str(data)], "not readable as safetensors"),
        (["import", str(data), "--out", str(out)], "not ARPA"),
    ):
        assert run_command(["ngrams", *command]) == 2
        said = capsys.readouterr().err
        assert told in said
        assert "Traceback" not in said
