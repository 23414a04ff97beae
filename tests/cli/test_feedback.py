"""`volano feedback`: logs in and out, what is listed, and what is erased."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("sqlalchemy")

from volano.cli.main import run_command

LINES = [
    {
        "id": "r1",
        "messages": [
            {"role": "user", "content": "[bold]hi[/bold]\x1b[31m\nthere"},
            {"role": "assistant", "content": "yo"},
        ],
        "model": "gpt-x",
        "rating": 2,
        "comment": "write to alice.smith@gmail.com",
        "who": "ann",
        "consent": "training",
    },
    {
        "id": "r2",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        "model": "other",
        "thumb": "up",
        "time": "2026-01-01",
    },
]


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))


def run(capsys, *arguments, code=0):
    assert run_command(["feedback", *arguments]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_a_log_is_imported_listed_and_exported_without_personal_data(capsys, tmp_path):
    assert "2 new exchanges, 2 new events" in run(capsys, "import", "log.jsonl")
    assert json.loads(run(capsys, "import", "log.jsonl", "--json"))["known"] == 2
    table = run(capsys, "list")
    assert "[bold]hi[/bold]" in table  # as text, not as markup
    assert "\x1b" not in table
    assert "2 events" in table
    (found,) = json.loads(run(capsys, "list", "--json", "--who", "ann"))
    assert found["comment"] == "write to <EMAIL>"
    for option in (["--checkpoint", "oth"], ["--kind", "thumb"], ["--request", "r2"]):
        assert [e["thumb"] for e in json.loads(run(capsys, "list", "--json", *option))] == ["up"]
    run(capsys, "export", "--out", "out.jsonl")
    exported = (tmp_path / "out.jsonl").read_text()
    assert exported == run(capsys, "export")
    assert "alice" not in exported
    assert "alice.smith@gmail.com" in run(capsys, "export", "--raw")


def test_a_long_list_shows_its_end_and_says_so(capsys):
    run(capsys, "import", "log.jsonl")
    table = run(capsys, "list", "--last", "1")
    assert "2 events, the last 1 shown; all: --last 0" in table
    (found,) = json.loads(run(capsys, "list", "--last", "1", "--json"))
    assert found["request_id"] == json.loads(run(capsys, "list", "--json"))[-1]["request_id"]
    assert len(json.loads(run(capsys, "list", "--last", "0", "--json"))) == 2


def test_an_erased_person_is_gone_and_the_store_remembers_that_somebody_was(capsys, tmp_path):
    run(capsys, "import", "log.jsonl")
    erased = json.loads(run(capsys, "delete", "--person", "ann", "--json"))
    assert (erased["exchanges"], len(erased["events"]), erased["artifacts"]) == (1, 1, [])
    assert json.loads(run(capsys, "list", "--json", "--who", "ann")) == []
    assert "ann" not in (tmp_path / "runs" / "deletions.json").read_text()
    assert run_command(["trace", f"feedback:{erased['events'][0]}"]) == 0
    assert "erased" in capsys.readouterr().out


def test_follow_ups_that_quote_what_is_erased_go_with_it_and_are_counted(capsys, tmp_path):
    first, *_ = LINES
    quoting = {
        "id": "r3",
        "messages": [
            *first["messages"],
            {"role": "user", "content": "and now?"},
            {"role": "assistant", "content": "still yo"},
        ],
        "thumb": "down",
    }
    (tmp_path / "more.jsonl").write_text(json.dumps(quoting))
    run(capsys, "import", "log.jsonl", "more.jsonl")
    said = run(capsys, "delete", "--request", "r1")
    assert "exchanges erased: 2 (1 of them quoted another), events: 2" in said
    assert [each["request_id"] for each in json.loads(run(capsys, "list", "--json"))] == ["r2"]
    assert json.loads(run(capsys, "import", "more.jsonl", "--json"))["erased"] == 1
    (line,) = json.loads((tmp_path / "runs" / "deletions.json").read_text())["deletions"]
    assert line["follow_ups"] == 1
    for event in line["events"]:
        assert run_command(["trace", f"feedback:{event}"]) == 0


def test_a_person_is_found_by_what_a_list_shows_of_them(capsys):
    run(capsys, "import", "log.jsonl")
    shown = next(each["who"] for each in json.loads(run(capsys, "list", "--json")) if "who" in each)
    assert shown != "ann"
    (found,) = json.loads(run(capsys, "list", "--json", "--who", shown))
    assert found["request_id"] == "r1"
    assert '"r1"' in run(capsys, "export", "--who", shown)
    assert json.loads(run(capsys, "delete", "--person", shown, "--json"))["exchanges"] == 1
    assert json.loads(run(capsys, "list", "--json", "--who", "ann")) == []
    assert "no feedback of person" in run(capsys, "delete", "--person", shown, code=2)


def test_a_person_is_erased_by_name_in_a_store_that_knows_them_by_pseudonym(capsys):
    run(capsys, "import", "log.jsonl")
    run(capsys, "export", "--out", "out.jsonl")
    assert "2 known before, 0 erased before, 0 bad" in run(capsys, "import", "out.jsonl")
    run(capsys, "import", "out.jsonl", "--store", "other")
    with open("more.jsonl", "w") as stream:
        json.dump({**LINES[0], "id": "r9"}, stream)
    run(capsys, "import", "more.jsonl", "--store", "other")
    said = run(capsys, "delete", "--person", "ann", "--store", "other")
    assert "exchanges erased: 2, events: 2" in said
    assert len(json.loads(run(capsys, "list", "--json", "--store", "other"))) == 1


def test_the_artifacts_that_hold_erased_events_are_named(capsys):
    from volano.core.store import Store
    from volano.feedback.section import FeedbackSection
    from volano.feedback.step import FEEDBACK

    run(capsys, "import", "log.jsonl")
    store = Store("runs")
    section = FeedbackSection(database_url="runs/feedback.sqlite")
    made = store.make(store.order(FEEDBACK, section, {}, name="mine/feedback")).artifact
    said = run(capsys, "delete", "--request", "r1")
    assert store.path_of(made) in said
    assert "volano clean" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list"], "no feedback there yet"),
        (["export"], "no feedback there yet"),
        (["delete", "--person", "ann"], "no feedback there yet"),
        (["delete"], "Give --person or --request."),
        (["delete", "--person", "a", "--request", "b"], "Give --person or --request."),
        (["import", "absent.jsonl"], "absent.jsonl: no such file"),
        (["import", "log.jsonl", "--database-url", "mysql://h/d"], "in 'mysql'"),
        (["import", "."], ".: this is a folder. Name a file in it."),
        (["import", "log.jsonl", "--store", "log.jsonl"], "log.jsonl: this is no folder. Name"),
        (["list", "--store", "log.jsonl"], "log.jsonl: this is no folder. Name a folder"),
        (["list", "--kind", "ratings"], "Did you mean 'rating'?"),
        (["list", "--since", "noon"], "no time in ISO 8601"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    said = run(capsys, *arguments, code=2)
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_list_says_training_only_of_what_may_be_learnt(capsys, tmp_path):
    asked = {"request_id": "r1", "checkpoint": "c", "messages": [{"role": "user", "content": "q"}]}
    said = [
        {"id": "e1", "kind": "rating", "helpful": 1, "who": "ann"},
        {"id": "e2", "kind": "rating", "helpful": 1, "who": "ben"},
        {"id": "e3", "kind": "rating", "helpful": 1},
    ]
    line = {**asked, "answer": "a", "who": "ann", "consent": "training", "events": said}
    (tmp_path / "said.jsonl").write_text(json.dumps(line))
    run(capsys, "import", "said.jsonl")
    assert run(capsys, "list").count("training") == 1


def test_a_list_says_which_application_said_so_and_which_had_asked(capsys, tmp_path):
    asked = {"checkpoint": "c", "messages": [{"role": "user", "content": "q"}], "answer": "a"}
    said = {"kind": "rating", "helpful": 1, "who": "ann"}
    lines = [
        {**asked, "request_id": "r1", "source": "scripted", "events": [{**said, "id": "e1"}]},
        {**asked, "request_id": "r2", "source": "scripted"},
    ]
    lines[1]["events"] = [{**said, "id": "e2", "source": "shop\x1b[31m"}]
    (tmp_path / "said.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run(capsys, "import", "said.jsonl")
    table = run(capsys, "list")
    assert ", scripted " in table
    assert ", shop [31m (asked: scripted) " in table
    assert "\x1b" not in table


def test_help_imports_no_database():
    program = (
        "import sys; from volano.cli.main import run_command; run_command(['feedback', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'fastapi')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
