"""scripts/set_up decides from its record alone whether there is anything to do."""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys

import pytest


@pytest.fixture
def script(root):
    loader = importlib.machinery.SourceFileLoader("set_up", f"{root}/scripts/set_up")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("set_up", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def commands(script, monkeypatch):
    """What pip would have been called with; each call ends well."""
    calls = []

    def run(command, **options):
        calls.append([str(part) for part in command])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", run)
    return calls


def record(script, folder, *extras: str) -> None:
    state = {"digest": script.digest_of(folder), "extras": list(extras)}
    (folder / "installed.json").write_text(json.dumps(state))


def test_a_finished_environment_calls_no_pip(script, commands, tmp_path):
    record(script, tmp_path, "dev", "train")
    script.install_packages(tmp_path, ["train"])
    assert commands == []


@pytest.mark.parametrize("made", [["train"], []])
def test_a_missing_extra_is_added_to_those_that_are_there(script, commands, tmp_path, made):
    record(script, tmp_path, *made)
    script.install_packages(tmp_path, ["dev"])
    wanted = ",".join(sorted(["dev", *made]))
    assert commands[-1][-1] == f"{script.ROOT}[{wanted}]"
    assert json.loads((tmp_path / "installed.json").read_text())["extras"] == wanted.split(",")
    assert not (tmp_path / "unfinished").exists()


def test_another_lock_file_installs_anew(script, commands, tmp_path):
    record(script, tmp_path, "train")
    (tmp_path / "installed.json").write_text('{"digest": "of another lock", "extras": ["train"]}')
    script.install_packages(tmp_path, ["train"])
    assert len(commands) == 2


def test_a_failed_pip_leaves_the_mark_of_an_unfinished_environment(script, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(script.subprocess, "run", lambda *command, **options: failed)
    with pytest.raises(SystemExit, match="pip ended with 1"):
        script.install_packages(tmp_path, ["train"])
    assert (tmp_path / "unfinished").exists()
    assert not (tmp_path / "installed.json").exists()


def test_a_folder_that_is_no_environment_is_never_deleted(script, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(SystemExit, match="something else"):
        script.make_environment(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_half_made_environment_is_made_again(script, tmp_path, monkeypatch):
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    (folder / "pyvenv.cfg").touch()
    (folder / "unfinished").touch()
    made = []
    monkeypatch.setattr(script.venv, "create", lambda where, with_pip: made.append(where))
    script.make_environment(folder)
    assert made == [folder]
    assert not (folder / "bin").exists()


def test_this_environment_is_found_healthy(script, monkeypatch):
    folder = script.Path(sys.prefix)
    if (folder / "unfinished").exists() or not (folder / "pyvenv.cfg").exists():
        pytest.skip("the tests run outside an environment that set_up made")
    monkeypatch.setattr(script.venv, "create", lambda *a, **k: pytest.fail("made again"))
    script.make_environment(folder)
