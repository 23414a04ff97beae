"""Each mistake of a user is one clear line, exit code 2, and nothing half-written."""

import errno
import gzip
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

import volano
from volano.cli.main import run_command
from volano.serve.server import listen

# A fixed time stamp: bytes that change by the second would name a different test in each worker.
CUT_GZIP = gzip.compress(b'{"text": "x"}\n' * 1000, mtime=0)[:20]
needs_serve = pytest.mark.skipif(
    find_spec("fastapi") is None, reason="what has a turn or a page needs the extra serve"
)


def fails(capsys, *arguments):
    code = run_command(list(arguments))
    lines = capsys.readouterr().err.strip().splitlines()
    said = [line for line in lines if line.startswith("volano: ")]
    assert len(said) == 1, lines
    assert "Traceback" not in "".join(lines)
    return code, said[0].removeprefix("volano: ")


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe(text, name="mine.yaml"):
    with open(name, "w") as stream:
        stream.write(text)
    return name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\ncurate:\n  langage: {}\n",
            "mine.yaml:3: curate: unknown key 'langage'. Did you mean 'language'?",
        ),
        ("name: a\nseed: one\n", "mine.yaml:2: seed: Input should be a valid integer, got 'one'."),
        ("name: a\n  seed: 1\n", "mine.yaml:2"),
        ("seed: 1\n", "name: value missing"),
        ("", "holds nothing"),
        ("name: a/b\n", "name: String should match pattern"),
        (
            "name: a\ncurate: {quality: {rules: [gofer_quality]}}\n",
            "Did you mean 'gopher_quality'?",
        ),
        (
            "name: a\ncurate:\n  quality:\n    rules: [c4]\n    fineweb: on\n",
            "mine.yaml:5: curate.quality.fineweb: has no effect, as fineweb is not among "
            "quality.rules. Add it there (c4, fineweb), or leave this out.",
        ),
        ("name: a\nfinetune: off\nalign: {}\n", "align: needs finetune"),
        (
            "name: a\nfinetune: {evaluate_steps: 5}\n",
            "mine.yaml:2: finetune.evaluate_steps: is of pre-training",
        ),
        ("name: a\nbase: ggml:model.bin\n", "base: cannot read 'ggml:model.bin'"),
        ("name: a\nbase: gguf:model.gguf\n", "model.gguf: no such file. Name a GGUF file."),
        ("name: a\nbase: hf:model\npretrain: {tokens: 7}\n", "pretrain: needs no base"),
        (
            "name: a\ncurate: {decontaminate: {against: [held_out_function]}}\n",
            "Did you mean 'held_out_functions'?",
        ),
    ],
)
def test_recipe_mistakes_name_file_line_and_key(in_folder, capsys, text, message):
    code, said = fails(capsys, "run", recipe(text))
    assert code == 2
    assert message in said
    assert not (in_folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "laptop/python-doc"], "Did you mean 'laptop/python-docs'?"),
        (["run", "absent.yaml"], "no such recipe file"),
        (["run", "tiny/python-docs", "pretrain.tokns=5"], "Did you mean 'tokens'?"),
        (["run", "tiny/python-docs", "nonsense"], "not an assignment"),
        (["run", "tiny/python-docs", "gate.protects=[answers_ends]"], "'answers_end'"),
        (["run", "tiny/python-docs", "gate.protects=[]"], "gate.protects"),
        pytest.param(
            ["run", "tiny/python-docs", "evaluate.tasks=[safety]"],
            "Add held_out_functions to evaluate.tasks",
            marks=needs_serve,
        ),
        pytest.param(
            ["run", "tiny/python-docs", "--only", "curates"],
            "Did you mean 'curate'?",
            marks=needs_serve,
        ),
        (["run", "tiny/python-docs", "--only", "curate"], "--only collect first"),
        (["curate", "absent.jsonl"], "absent.jsonl"),
        (["show", "nothing"], "no artifact 'nothing'"),
        (["chat", "nothing"], "no artifact 'nothing'"),
        (["trace", "nothing"], "nothing"),
        (["recipes", "copy", "absent"], "no recipe 'absent'"),
        (["run", "tiny/python-docs", "--store", "s3://bucket"], "not supported yet"),
        (["evaluate", "aligned"], "See `volano evaluate --help`."),
        (["feedback", "export", "--rw"], "See `volano feedback export --help`."),
        (["report", "tiny/python-docs", "--out", "."], "--out .: this is a folder. Name a file."),
    ],
)
def test_wrong_words_on_the_command_line_get_one_line(in_folder, capsys, arguments, message):
    code, said = fails(capsys, *arguments)
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "empty.jsonl"),
        ("bad.jsonl", b"not json\n", "JSON"),
        ("latin.txt", b"caf\xe9 au lait", "UTF-8"),
        ("lacks.jsonl", b'{"body": "x"}\n', "text"),
        ("cut.jsonl.gz", CUT_GZIP, "cut.jsonl.gz"),
        ("cut.parquet", b"PAR1....", "cut.parquet"),
    ],
)
def test_a_file_with_nothing_readable_is_refused(in_folder, capsys, name, content, message):
    (in_folder / name).write_bytes(content)
    code, said = fails(capsys, "curate", name, "--out", "clean")
    assert code == 2
    assert message in said
    assert not (in_folder / "clean").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("collect", "pipe.jsonl"),
        ("curate", "pipe.jsonl", "--out", "clean"),
        ("ngrams", "train", "pipe.jsonl", "--out", "model"),
        ("run", "pipe.yaml"),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(in_folder, capsys, monkeypatch, arguments):
    for name in ("pipe.jsonl", "pipe.yaml"):
        os.mkfifo(name)
    # The test must fail, not hang, where the pipe is opened.
    monkeypatch.setattr("volano.collect.listing.file_digest", None)
    code, said = fails(capsys, *arguments)
    assert code == 2
    assert "this is a pipe, not a file" in said
    assert "Write what it gives to a file" in said


def test_a_device_is_refused_and_a_pipe_in_a_folder_is_passed_over(in_folder, capsys):
    assert "/dev/null: this is a device" in fails(capsys, "collect", "/dev/null")[1]
    (in_folder / "texts").mkdir()
    (in_folder / "texts" / "a.txt").write_text("Some text.")
    os.mkfifo("texts/b.txt")
    for place, named in enumerate(("texts", "texts/*.txt")):
        assert run_command(["collect", named, "--out", f"read{place}"]) == 0
        manifest = json.loads((in_folder / f"read{place}" / "manifest.json").read_text())
        assert manifest["notes"] == ["1 files that are a pipe passed over"]


def test_bad_records_among_good_ones_are_quarantined_and_counted(in_folder, capsys):
    good = '{"text": "A sentence that is long enough to be kept by the filters of this test."}'
    (in_folder / "mixed.jsonl").write_text(f'{good}\nnot json\n{{"body": 1}}\n')
    settings = ["-s", "quality=off", "-s", "language=off"]
    assert run_command(["collect", "mixed.jsonl", "--out", "read"]) == 0
    assert run_command(["curate", "mixed.jsonl", *settings, "--out", "clean"]) == 0
    from volano.core.corpus import Corpus

    quarantine = Corpus.open(in_folder / "read").quarantine().to_pylist()
    assert [each["where"].rpartition(":")[2] for each in quarantine] == ["2", "3"]
    assert len(Corpus.open(in_folder / "clean")) == 1


def test_an_output_folder_with_other_things_is_left_alone(in_folder, capsys):
    (in_folder / "clean").mkdir()
    (in_folder / "clean" / "mine.txt").write_text("mine")
    (in_folder / "a.txt").write_text("Some text.")
    code, said = fails(capsys, "curate", "a.txt", "--out", "clean")
    assert (code, "not empty" in said) == (2, True)
    assert (in_folder / "clean" / "mine.txt").read_text() == "mine"


def test_an_output_folder_inside_the_store_is_refused_before_any_work(in_folder, capsys):
    (in_folder / "a.txt").write_text("Some text.")
    code, said = fails(capsys, "collect", "a.txt", "--out", "runs/corpus")
    assert (code, "lies inside the store" in said) == (2, True)
    assert not (in_folder / "runs").exists()


def test_the_folder_that_one_stands_in_may_be_the_output(in_folder, capsys, monkeypatch):
    (in_folder / "a.txt").write_text("Some text.")
    (in_folder / "empty").mkdir()
    monkeypatch.chdir(in_folder / "empty")
    assert run_command(["collect", "../a.txt", "--out", ".", "--store", "../runs"]) == 0
    assert (in_folder / "empty" / "manifest.json").is_file()


def test_a_store_of_a_newer_version_is_refused(in_folder, capsys):
    (in_folder / "runs").mkdir()
    (in_folder / "runs" / "volano-store.json").write_text('{"format": 99}')
    code, said = fails(capsys, "run", "tiny/python-docs")
    assert code == 2
    assert "newer Volano" in said


def curated(text="a.txt", out="clean"):
    with open(text, "w") as stream:
        stream.write("One sentence that is long enough for nobody to drop it. " * 12)
    return run_command(["collect", text, "--out", out])


def test_an_earlier_copy_is_replaced_only_as_it_was_written(in_folder, capsys):
    assert curated() == 0
    assert curated("b.txt") == 0  # another input, the same kind of result
    (in_folder / "clean" / "notes").mkdir()
    (in_folder / "clean" / "notes" / "mine.txt").write_text("precious")
    code, said = fails(capsys, "collect", "a.txt", "--out", "clean")
    assert code == 2
    assert "notes/mine.txt was added, changed or deleted" in said
    assert (in_folder / "clean" / "notes" / "mine.txt").read_text() == "precious"


def test_a_changed_file_of_an_earlier_copy_is_not_overwritten(in_folder, capsys):
    assert curated() == 0
    manifest = in_folder / "clean" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    code, said = fails(capsys, "collect", "a.txt", "--out", "clean")
    assert (code, "manifest.json was added, changed or deleted" in said) == (2, True)


def test_a_result_of_another_kind_or_the_input_itself_is_not_overwritten(in_folder, capsys):
    assert curated() == 0
    code, said = fails(capsys, "tokenizer", "a.txt", "--out", "clean")
    assert (code, "holds another kind of result (mine/collected)" in said) == (2, True)
    code, said = fails(capsys, "collect", "clean", "--out", "clean")
    assert (code, "is what this command reads" in said) == (2, True)
    (in_folder / "afile").write_text("")
    code, said = fails(capsys, "collect", "a.txt", "--out", "afile")
    assert (code, "is a file" in said) == (2, True)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(in_folder, capsys):
    (in_folder / "a.txt").write_text("text")
    code, said = fails(capsys, "collect", "a.txt", "--out", "/proc/nope")
    assert (code, "--out /proc/nope: cannot be written" in said) == (2, True)
    assert not (in_folder / "runs" / "corpus").exists()


def test_a_full_disk_is_named_where_a_copy_has_no_room(in_folder, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "clean/a")

    (in_folder / "a.txt").write_text("Some text.")
    monkeypatch.setattr("shutil.copyfile", full)
    code, said = fails(capsys, "collect", "a.txt", "--out", "clean")
    assert code == 1
    assert "clean: disk full: the copy takes 0.0 MB. Free some space" in said
    assert not (in_folder / "clean").exists()


@needs_serve
def test_what_listens_at_a_port_names_only_options_that_there_are(in_folder, capsys):
    assert curated("a.txt", "read") == 0
    assert run_command(["curate", "a.txt", "-s", "quality=off", "--out", "clean"]) == 0
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        code, said = fails(capsys, "inspect", "mine/curated", "--port", port)
    assert (code, said.endswith("Name another with --port.")) == (2, True)


def test_records_that_could_not_be_read_are_told_at_once(in_folder, capsys):
    (in_folder / "mixed.jsonl").write_text('{"text": "One good line of text."}\nnot json\n')
    assert run_command(["collect", "mixed.jsonl"]) == 0
    told = capsys.readouterr().out
    assert "1 record in quarantine, first mixed.jsonl:2: " in told
    assert "volano show mine/collected" in told


def test_progress_over_packed_files_says_that_it_counts_them_as_they_are(in_folder, capsys):
    (in_folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "One."}\n' * 9, mtime=0))
    arguments = ["curate", "a.jsonl.gz", "-s", "quality=off", "-s", "dedup=off"]
    assert run_command(arguments) == 0
    lines = capsys.readouterr().err.splitlines()
    told = [line.partition(": ")[2] for line in lines if " MB" in line]
    assert len(told) >= 3
    assert all("0 MB on disk in " in line for line in told)


def test_files_passed_over_and_ids_changed_are_told_at_once(in_folder, capsys):
    (in_folder / "texts").mkdir()
    (in_folder / "texts" / "picture.png").write_bytes(b"")
    rows = '{"id": "a", "text": "One."}\n' * 3
    (in_folder / "texts" / "a.jsonl").write_text(rows)
    settings = [f"{each}=off" for each in ("quality", "language", "dedup")]
    arguments = ["curate", "texts", *(word for each in settings for word in ("-s", each))]
    assert run_command(arguments) == 0
    told = capsys.readouterr().out
    assert "1 files .png passed over" in told
    assert "2 documents bear an id that was taken, and got #2, #3 … behind it" in told
    assert run_command([*arguments, "--json"]) == 0
    collected, _ = json.loads(capsys.readouterr().out)
    assert len(collected["notes"]) == 2


def test_a_decontamination_with_nothing_to_compare_with_is_told(in_folder, capsys):
    (in_folder / "a.txt").write_text("One sentence that nobody holds out. " * 12)
    against = "decontaminate.against=[held_out_functions]"
    run_command(["curate", "a.txt", "-s", "quality.rules=[]", "-s", against])
    assert "nothing is held out" in capsys.readouterr().out
    run_command(["curate", "a.txt", "-s", "quality.rules=[]", "--store", "other"])
    assert "nothing is held out" not in capsys.readouterr().out


def test_trace_of_an_unknown_name_knows_artifacts_too(in_folder, capsys):
    assert curated() == 0
    assert "Did you mean 'mine/collected'?" in fails(capsys, "trace", "mine/colected")[1]


def test_help_and_version_end_without_a_complaint(capsys):
    assert run_command([]) == 2
    assert not capsys.readouterr().err.strip()
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.strip() == volano.__version__
    assert "Did you mean 'run'? See" in fails(capsys, "rnu")[1]


@pytest.mark.parametrize(("verb", "resumes"), [("curate", True), ("show", False)])
def test_ctrl_c_promises_to_go_on_only_where_that_is_so(capsys, monkeypatch, verb, resumes):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("volano.core.store.Store", stopped)
    code, said = fails(capsys, verb, "a.txt")
    assert (code, "Run the same command again" in said) == (130, resumes)


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "tiny/python-docs", "--store", LONG),
        ("run", f"{LONG}.yaml"),
        ("show", "--store", LONG),
        ("curate", f"{LONG}.jsonl"),
        ("chat", f"{LONG}/base", "hi"),
        pytest.param(("serve", f"{LONG}/base"), marks=needs_serve),
        ("trace", LONG),
        pytest.param(("feedback", "import", f"{LONG}.jsonl"), marks=needs_serve),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(capsys, arguments):
    code, said = fails(capsys, *arguments)
    assert code == 2
    assert "file name too long" in said or "no artifact" in said


def test_a_folder_that_may_not_be_entered_is_one_line(capsys, monkeypatch):
    def refused(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refused)  # root may enter every folder
    assert fails(capsys, "run", "shut/own.yaml") == (
        2,
        "shut/own.yaml: permission denied. Name another path.",
    )


@needs_serve
def test_a_plan_of_one_phase_is_of_that_phase(capsys):
    code, said = fails(capsys, "run", "tiny/python-docs", "--only", "curat", "--plan")
    assert (code, "Did you mean 'curate'?" in said) == (2, True)
    assert run_command(["run", "tiny/python-docs", "--only", "curate", "--plan", "--json"]) == 0
    assert {each["phase"] for each in json.loads(capsys.readouterr().out)} == {"curate"}
    # What `--only` makes is of the first version where that has the phase.
    assert run_command(["run", "tiny/python-docs", "--only", "align", "--plan", "--json"]) == 0
    told = [each["stage"] for each in json.loads(capsys.readouterr().out)]
    assert told == ["preferences", "aligned"]


@pytest.mark.parametrize(
    ("turn", "key"),
    [
        pytest.param("on", "pretrain", marks=needs_serve),
        ("off", "pretrain"),
        pytest.param("on", "finetune", marks=needs_serve),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_made(in_folder, capsys, turn, key):
    impossible = "pretrain.parallel.tensor=3" if key == "pretrain" else f"{key}.parallel.shard=99"
    # A recipe with a turn makes its first version on another way than one without.
    switches = [] if turn == "on" else ["turn=off", "users=off"]
    arguments = ["run", "tiny/python-docs", impossible, *switches, "--store", "here"]
    code, said = fails(capsys, *arguments)
    assert code == 2
    assert said.startswith("parallel: ")
    assert not list(Path("here").glob("*/*/*"))
