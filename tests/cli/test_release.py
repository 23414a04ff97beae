"""What the verbs about a store and its releases say: clean, show, promote, rollback."""

import json

import pytest

from volano.cli.main import run_command
from volano.core.artifact import COMMIT
from volano.core.recipe import Section
from volano.core.release import promote
from volano.core.step import Step
from volano.core.store import Store


class Version(Section):
    number: int


def write_version(section, inputs, context):
    (context.folder / "weights").write_text(str(section.number))


TOY = Step("toy-model", "checkpoint", 1, Version, write_version)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Version 1 was released, and then version 2 of the same name."""
    monkeypatch.chdir(tmp_path)
    opened = Store("runs")
    for number in (1, 2):
        order = opened.order(TOY, Version(number=number), {}, name="toy/model")
        made = opened.make(order, silent=True).artifact
        promote(opened, "production", made, reason=f"reason {number}")
    return opened


def run(capsys, *arguments, code=0):
    assert run_command(list(arguments)) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_clean_says_what_a_release_alone_keeps_and_how_to_let_go_of_it(capsys, store):
    now = store["@production"].digest
    (former,) = (each for each in store.artifacts() if each.digest != now)
    path = store.path_of(former)
    said = run(capsys, "clean")
    assert path in said
    assert "@production can go back to it" in said
    assert "volano clean --forget-history" in said
    (row,) = json.loads(run(capsys, "clean", "--json"))
    assert (row["artifact"], row["deleted"]) == (path, False)
    assert row["held_by"] == ["@production can go back to it"]
    assert "would be freed" in run(capsys, "clean", "--forget-history", "--plan")
    assert (former.folder / COMMIT).is_file()
    assert path in run(capsys, "clean", "--forget-history")
    assert not former.folder.exists()
    assert "nothing to go back to" in run(capsys, "rollback", code=2)
    assert store["@production"].name == "toy/model"


def test_show_tells_a_releases_history_with_reason_and_time(capsys, store):
    run(capsys, "rollback")
    for said in (run(capsys, "show"), run(capsys, "show", "@production")):
        assert f"@production stands for {store.path_of(store['@production'])}" in said
        assert said.index("reason 1") < said.index("reason 2") < said.index("rollback")
    told = json.loads(run(capsys, "show", "@production", "--json"))
    assert [each["action"] for each in told["history"]] == ["promote", "promote", "rollback"]
    assert told["artifact"] == told["history"][-1]["checkpoint"]
    released = [each["releases"] for each in json.loads(run(capsys, "show", "--json"))]
    assert sorted(released) == [[], ["@production"]]


def test_show_tells_the_history_of_a_release_whose_checkpoint_is_gone(capsys, store):
    store.delete(store["@production"].folder)
    assert run_command(["show", "@production"]) == 2
    said = capsys.readouterr()
    assert "reason 2" in said.out
    assert "deleted" in said.err
