"""What is told of an artifact without being asked."""

from types import SimpleNamespace

import pytest

from volano.cli.main import run_command
from volano.cli.notes import notes

INPUT = {"filter": "input", "documents": 100, "bytes": 1000, "documents_dropped": 0,
         "bytes_dropped": 0, "bytes_cut": 0}  # fmt: skip


def corpus(*rows):
    manifest = {"funnel": [INPUT, *rows], "records": rows[-1]["documents"], "record": "document"}
    opened = SimpleNamespace(manifest=manifest, groups=list)
    return SimpleNamespace(kind="corpus", name="mine/curated", corpus=lambda: opened)


def row(name, left, dropped, cut=0):
    """A filter that leaves so many documents and bytes, and drops so many."""
    return {
        "filter": name,
        "documents": left[0],
        "bytes": left[1],
        "documents_dropped": dropped[0],
        "bytes_dropped": dropped[1],
        "bytes_cut": cut,
    }


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row("language", (50, 500), (50, 500))], None),
        (
            [row("language", (90, 900), (10, 100)), row("near", (49, 880), (41, 20))],
            "keeps 49 of 100 documents (49%); 'near' dropped most, 41",
        ),
        (
            [row("language", (97, 900), (3, 100)), row("cut", (96, 499), (1, 1), cut=400)],
            "keeps 499 of 1,000 bytes (50%); 'cut' dropped most, 401",
        ),
    ],
)
def test_a_curation_that_keeps_less_than_half_names_what_dropped_most(monkeypatch, rows, told):
    monkeypatch.setattr("volano.cli.notes.mixture_notes", lambda artifact: [])
    found = notes(corpus(*rows))
    assert found == ([] if told is None else [f"{told}; why: volano show mine/curated"])


@pytest.mark.parametrize(
    ("bill", "told"),
    [
        ({"epochs.text": 4.0, "epochs.anneal.text": 9.0, "epochs.stage 1.text": 9.0}, None),
        ({"epochs.text": 12.6}, "reads its text 12.6 times: give more text, or fewer pretrain.tok"),
        ({"epochs.code": 5.0, "epochs.topic": 7.0}, "reads its text of 'topic' 7.0 times"),
        ({"most_group_epochs": 5, "max_epochs": 4, "epochs.text": 5.0}, "mixture: the run goes"),
    ],
)
def test_text_that_a_run_has_read_more_than_four_times_is_told(bill, told):
    found = notes(SimpleNamespace(kind="checkpoint", bill=lambda: bill))
    assert len(found) == (told is not None)
    assert told is None or found[0].startswith(told)


def test_pretraining_says_before_it_begins_that_it_reads_its_text_often(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for place in range(4):
        (tmp_path / "texts" / f"{place}.txt").write_text(f"Number {place} is a short text. " * 9)
    small = ["tokens=4k", "model.parameters=0.02M", "model.context=16", "tokenizer.vocabulary=261"]
    settings = [word for each in small for word in ("-s", each)]
    assert run_command(["pretrain", "texts", *settings]) == 0
    told = capsys.readouterr()
    before, trained = told.err.index("pretrain: reads its text "), told.err.index("4,096 tokens in")
    assert before < trained
    assert "    reads its text " in told.out
    assert "-s collect.held_out_fraction=0.1" in told.out
    assert run_command(["pretrain", "texts", *settings, "-s", "collect.held_out_fraction=0.5"]) == 0
    assert "nothing is held out" not in capsys.readouterr().out
