"""The exact rows of a small tree. If this fails for a good reason, raise the step's version too."""

from small_tree import SETTINGS, WHEEL_TOOLS, rows, write, write_package

from volano.collect.files import collect_files
from volano.collect.installation import Installation
from volano.collect.python_installation import collect_installation
from volano.collect.section import CollectSection
from volano.collect.step import COLLECT, SAFETY
from volano.core.files import json_digest

# Fixed text under the names of the standard library, whose own text is another in each release.
SENTENCE = "Return a {} copy of the string that was given to it first of all."
LIBRARY = {
    "string.py": '"""Strings."""\n'
    + "".join(
        f'def {name}(s):\n    """{SENTENCE.format(name)}"""\n'
        for name in ("lower", "upper", "title", "swapped", "stripped", "doubled", "halved")
    ),
    "pydoc_data/topics.py": "topics = {'if': 'The if statement.'}\n",
}
GOLDEN_INSTALLATION = "46236fde038b60d747fcde157d879828c24ba6754668219bedde161d59c7e34c"
GOLDEN_FILES = "f1884e6ee0b0d38147f31d14b179acb250a75b767c2658d6c52109f13a470ed2"


def test_rows_of_a_fixed_installation_are_these(tmp_path, context):
    write(tmp_path / "lib", LIBRARY)
    write_package(tmp_path / "site", "wheel_tools", "1.2", WHEEL_TOOLS)
    installation = Installation(tmp_path / "lib", (tmp_path / "site",))
    collect_installation(SETTINGS, context, installation)
    found = rows(context.folder)
    assert {row["id"]: row["split"] for row in found if row["split"] != "train"} == {
        "stdlib:string.lower": "pool",
        "stdlib:string.upper": "test",
        "stdlib:string.title": "test",
        "stdlib:string.swapped": "pool",
        "stdlib:string.doubled": "test",
    }
    assert json_digest(found) == GOLDEN_INSTALLATION
    assert COLLECT.version == 2


def test_rows_of_fixed_files_are_these(tmp_path, context):
    write(tmp_path / "in", {"a.jsonl": '{"text": "one", "n": 1}\n[]\n{"text": "two"}', "b.md": "é"})
    settings = CollectSection(source="files", paths=[str(tmp_path / "in")], held_out_fraction=0.5)
    collect_files(settings, context)
    found = rows(context.folder)
    assert {row["id"]: row["split"] for row in found} == {
        "a.jsonl#1": "train",
        "a.jsonl#3": "train",
        "b.md": "train",
    }
    assert json_digest(found) == GOLDEN_FILES


def test_steps_are_named_as_the_store_files_them():
    assert (COLLECT.name, COLLECT.kind, COLLECT.seeded) == ("collect", "corpus", False)
    assert (SAFETY.name, SAFETY.kind, SAFETY.seeded) == ("safety", "corpus", False)
