import json
import shutil

import pytest
from small_tree import SETTINGS, file_bytes, new_context, rows, write_package

from volano.collect.installation import Installation
from volano.collect.python_installation import collect_installation, scan_installation
from volano.collect.section import CollectSection
from volano.collect.splits import text_key
from volano.core.corpus import Corpus
from volano.core.errors import DataError, RecipeError


@pytest.fixture
def folder(collected):
    return collected[1]


def test_documents_of_a_package_are_exactly_what_it_says(folder):
    own = {row["id"]: row for row in rows(folder) if row["package"] == "wheel-tools"}
    assert set(own) == {
        "wheel-tools:module:wheel_tools",
        "wheel-tools:module:wheel_tools._turning",
        "wheel-tools:wheel_tools.turn",
        "wheel-tools:wheel_tools.Wheel",
        "wheel-tools:wheel_tools.Wheel.perimeter_m",
        "wheel-tools:wheel_tools/__init__.py",
        "wheel-tools:wheel_tools/_turning.py",
        "wheel-tools:wheel_tools-1.2.dist-info/METADATA",
        "wheel-tools:wheel_tools-1.2.dist-info/licenses/LICENSE",
    }
    turn = own["wheel-tools:wheel_tools.turn"]
    assert turn["text"] == (
        "wheel_tools.turn(wheel, /, times=1, *, backwards=False)\n\n"
        "Turn the given wheel about its own axle a number of times.\n\nArgs:\n    times: how often."
    )
    assert json.loads(turn["metadata"]) == {
        "qualified_name": "wheel_tools.turn",
        "module": "wheel_tools._turning",
        "signature": "(wheel, /, times=1, *, backwards=False)",
        "summary": "Turn the given wheel about its own axle a number of times.",
        "form": "function",
    }
    assert (turn["source"], turn["licence"]) == ("wheel-tools 1.2", "MIT")
    assert turn["path"] == "site/wheel_tools/_turning.py"
    assert own["wheel-tools:wheel_tools.Wheel"]["text"].startswith(
        "wheel_tools.Wheel(radius_m=0.3)"
    )
    assert own["wheel-tools:wheel_tools.Wheel.perimeter_m"]["text"].startswith(
        "wheel_tools.Wheel.perimeter_m\n\n"
    )
    assert own["wheel-tools:wheel_tools-1.2.dist-info/METADATA"]["text"] == (
        "# Wheel tools\n\nReinvented."
    )


def test_standard_library_gives_functions_topics_and_its_licence(folder):
    own = {row["id"]: row for row in rows(folder) if row["package"] == "stdlib"}
    assert own["stdlib:json.dumps"]["text"].startswith("json.dumps(obj, *, skipkeys=False")
    assert {row["licence"] for row in own.values()} == {"PSF-2.0"}
    assert own["stdlib:topic:for"]["text"] == "The for statement."
    assert own["stdlib:LICENSE.txt"]["kind"] == "licence"
    assert not [name for name in own if "sitecustomize" in name or "test" in name]


def test_file_that_is_no_python_is_quarantined_with_its_reason(folder):
    problems = {row["where"]: row for row in Corpus.open(folder).quarantine().to_pylist()}
    assert set(problems) == {"site/wheel_tools/broken.py", "site/wheel_tools/latin.py"}
    assert problems["site/wheel_tools/broken.py"]["reason"].startswith("not Python: ")
    assert problems["site/wheel_tools/broken.py"]["excerpt"] == "def f(:\n"
    assert problems["site/wheel_tools/latin.py"]["reason"] == "not UTF-8 at byte 6"


def test_ids_are_unique(folder):
    ids = [row["id"] for row in rows(folder)]
    assert len(ids) == len(set(ids))


def test_no_docstring_stands_in_two_splits(folder):
    splits: dict[bytes, set[str]] = {}
    for row in rows(folder):
        if row["kind"] == "function":
            documentation = row["text"].partition("\n\n")[2]
            splits.setdefault(text_key(documentation), set()).add(row["split"])
        else:
            assert row["split"] == "train"
    assert {len(each) for each in splits.values()} == {1}
    counts = Corpus.open(folder).manifest["splits"]
    assert counts["test"] == 3
    assert counts["pool"] > 0


def test_code_holds_no_docstring(folder):
    documents = rows(folder)
    code = "\n".join(row["text"] for row in documents if row["kind"] == "code")
    assert "# a comment stays" in code
    for row in documents:
        if row["kind"] in {"function", "module"}:
            lines = [line for line in row["text"].splitlines()[1:] if len(line) > 40]
            assert not [line for line in lines if line.strip() in code]
    assert "Never a document of its own" not in code


@pytest.mark.parametrize("workers", [1, 3])
def test_bytes_depend_neither_on_workers_nor_on_the_place(
    collected, tmp_path, workers, monkeypatch
):
    installation, folder = collected
    monkeypatch.setattr("volano.collect.python_installation.SOURCE_SHARD_BYTES", 2_000)
    moved = Installation(tmp_path / "elsewhere", (tmp_path / "other-site",))
    shutil.copytree(installation.standard_library, moved.standard_library)
    shutil.copytree(installation.site_folders[0], moved.site_folders[0])
    assert (
        scan_installation(SETTINGS, moved).digest()
        == scan_installation(SETTINGS, installation).digest()
    )
    again = new_context(tmp_path / "again", workers)
    collect_installation(SETTINGS, again, moved)
    assert len(list((again.scratch / "findings").iterdir())) > 3  # many shards instead of one
    assert file_bytes(again.folder) == file_bytes(folder)


def test_killed_run_keeps_its_finished_shards(collected, tmp_path, monkeypatch):
    installation, folder = collected
    monkeypatch.setattr("volano.collect.python_installation.SOURCE_SHARD_BYTES", 2_000)
    context = new_context(tmp_path / "killed")
    collect_installation(SETTINGS, context, installation)
    findings = sorted((context.scratch / "findings").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in findings[:2]}
    for path in findings[2:]:
        path.unlink()
    shutil.rmtree(context.folder)
    collect_installation(SETTINGS, context, installation)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert file_bytes(context.folder) == file_bytes(folder)


def test_changed_byte_of_a_file_changes_the_listing(installation):
    before = scan_installation(SETTINGS, installation).digest()
    module = installation.site_folders[0] / "wheel_tools/_turning.py"
    module.write_text(module.read_text().replace("round", "Round"))
    assert scan_installation(SETTINGS, installation).digest() != before


def test_absent_package_is_noted_and_nothing_fails(installation, context):
    settings = CollectSection(
        packages=["wheel.tools", "no-such-package"], held_out_functions=0, kinds=["function"]
    )
    context.listing = scan_installation(settings, installation)
    assert context.listing.notes == ("no-such-package is not installed",)
    collect_installation(settings, context, installation)
    manifest = Corpus.open(context.folder).manifest
    assert manifest["notes"] == ["no-such-package is not installed"]
    assert manifest["packages"] == {"stdlib": "stdlib", "wheel-tools": "wheel-tools 1.2"}
    assert set(manifest["kinds"]) == {"function"}


def test_list_of_packages_of_which_none_is_here_is_refused(installation):
    settings = CollectSection(packages=["wheel-tool"])
    with pytest.raises(DataError, match=r"'wheel-tool' is not installed\. Did you mean 'wheel-to"):
        scan_installation(settings, installation)


def test_more_held_out_functions_than_qualify_are_refused(installation, context):
    settings = CollectSection(packages=["wheel-tools"], held_out_functions=1000)
    with pytest.raises(RecipeError, match="1,000 functions to hold out, but at most"):
        collect_installation(settings, context, installation)


def test_second_docstring_under_one_name_gets_a_number(installation, context):
    content = (
        'try:\n    def f():\n        """First."""\n'
        'except E:\n    def f():\n        """Second."""\n'
        'if x:\n    def f():\n        """First."""\n'
    )
    write_package(installation.site_folders[0], "twice", "1", {"twice.py": content})
    settings = CollectSection(packages=["twice"], held_out_functions=0)
    collect_installation(settings, context, installation)
    texts = {row["id"]: row["text"] for row in rows(context.folder) if row["package"] == "twice"}
    assert texts["twice:twice.f"] == "twice.f()\n\nFirst."
    assert texts["twice:twice.f#2"] == "twice.f()\n\nSecond."
    assert "twice:twice.f#3" not in texts


def test_a_fraction_of_all_but_the_functions_is_held_out(installation, tmp_path):
    settings = SETTINGS.model_copy(update={"held_out_fraction": 0.5})
    context = new_context(tmp_path / "half")
    collect_installation(settings, context, installation)
    splits: dict[str, set[str]] = {}
    for row in rows(context.folder):
        splits.setdefault("function" if row["kind"] == "function" else "other", set()).add(
            row["split"]
        )
    assert splits == {"function": {"train", "pool", "test"}, "other": {"train", "test"}}
    counts = Corpus.open(context.folder).manifest["splits"]
    assert counts["test"] > 3
