"""Every command and example that the documents print is run, in order, as a reader would."""

import json
import re
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from documents import Block, blocks_of, in_miniature
from two_turns import copy_of_two_turns
from warm_command import environment
from written_gguf import model, write

from volano.core.recipe import load_yaml
from volano.study.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/tour.md"]
DOCUMENTS += sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "docs").rglob("*.md")
    if path.name != "tour.md" and "decisions" not in path.parts
)
RUNNABLE = {"sh", "console", "python", "yaml"}
NOT_RUN = {
    "CONTRIBUTING.md": 1,
    "README.md": 1,
    "docs/curation.md": 1,
    "docs/feedback.md": 1,
    "docs/own-model.md": 3,
    "docs/parallel.md": 2,
    "docs/quality.md": 1,
    "docs/scale.md": 1,
    "docs/sources.md": 1,
}  # each with its reason beside it
TIMEOUT_SECONDS = 900
RUN = "volano run tiny/python-docs"  # what `make run` does once all is installed


@pytest.fixture(scope="session")
def desk(tmp_path_factory) -> Path:
    """A folder with a reader's own data, in which all documents are followed. What `make run` makes
    lies there: the commands of the documents find it or make it."""
    folder = copy_of_two_turns(tmp_path_factory, "desk")
    (folder / "texts").mkdir()
    # Real prose: what is made up in a loop falls to the repetition filter.
    pages = sorted((name, text) for name, text in topics.items() if len(text) > 1000)
    documents = [{"id": name, "text": text[:4000]} for name, text in pages]
    ask = [{"role": "user", "content": "What does the river do?"}]
    answers = [f"It carries the rain of day {n} to the sea." for n in range(40)]
    chats = [{"messages": [*ask, {"role": "assistant", "content": each}]} for each in answers]
    pairs = [
        {
            "prompt": ask,
            "chosen": [{"role": "assistant", "content": each}],
            "rejected": [{"role": "assistant", "content": f"Day {n} is a day among days."}],
        }
        for n, each in enumerate(answers)
    ]
    # A model of seconds under the name of the real one, which is a download of 93 MB.
    (folder / "models").mkdir()
    write(folder / "models/SmolLM2-135M-Instruct.Q4_1.gguf", model(context=1024))
    opening = [
        [
            {"role": "user", "content": f"When does gate {n} open?"},
            {"role": "assistant", "content": f"At {n % 12}."},
        ]
        for n in range(60)
    ]
    mine = [{"messages": each} for each in opening]
    for name, records in (
        ("mine.jsonl", mine),
        ("texts/notes.jsonl", documents),
        ("chats.jsonl", chats),
        ("preferences.jsonl", pairs),
    ):
        (folder / name).write_text("".join(f"{json.dumps(each)}\n" for each in records))
    return folder


# One desk for a group: each document finds what the one before made. These need nothing of others.
ALONE = {"docs/ablation.md", "docs/own-model.md", "docs/training-plan.md"}
FIRST_READ = {"README.md", "CONTRIBUTING.md", "docs/tour.md", "docs/concepts.md"}


def marks_of(document):
    if document in FIRST_READ:  # where those are who else begins with two turns: nobody waits
        return [pytest.mark.xdist_group("two turns")]
    return [
        pytest.mark.xdist_group(document if document in ALONE else "documents"),
        pytest.mark.whole,
    ]


GROUPED = [pytest.param(each, marks=marks_of(each)) for each in DOCUMENTS]


@pytest.mark.parametrize("document", GROUPED)
def test_every_command_of_the_document_works(document, desk):
    for block in blocks_of(ROOT / document):
        if block.reason is None and block.language in RUNNABLE:
            follow(block, desk)


def follow(block: Block, desk: Path) -> None:
    if block.language == "python":
        expect(block, [sys.executable, "-c", in_miniature(block.text)], desk, 0)
    elif block.language == "yaml":
        path = desk / "fence.yaml"
        path.write_text(block.text)
        values, lines = load_yaml(path)
        assert read_recipe(values, lines, (), where=block.where).name
        expect(block, ["volano", "run", str(path)], desk, 0)
    else:
        commands = block.commands()
        assert commands, f"{block.where} holds no command"
        for command in commands:
            if command.startswith("make "):
                assert_targets_exist(block, command)
                if command.split()[:2] == ["make", "run"]:
                    expect(block, ["/bin/sh", "-c", RUN], desk, 0)
                continue
            code = block.exit_code if command == commands[-1] else 0
            expect(block, ["/bin/sh", "-c", in_miniature(command)], desk, code)


def expect(block: Block, command: list[str], desk: Path, exit_code: int) -> None:
    done = subprocess.run(
        command,
        cwd=desk,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    said = f"{block.where}: {command[-1]}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    assert done.returncode == exit_code, said
    assert "Traceback" not in done.stderr, said


def assert_targets_exist(block: Block, command: str) -> None:
    """The suite does not start itself; that `make` knows the target is all that can be shown."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = command.partition("#")[0].split()[1:]
    asked = {word for word in words if "=" not in word}
    assert asked, f"{block.where}: {command}"
    assert asked <= targets, f"{block.where}: make knows no {asked - targets}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_fence_names_its_language(document):
    known = RUNNABLE | {"text", "json"}
    strangers = [each.where for each in blocks_of(ROOT / document) if each.language not in known]
    assert strangers == []


def test_what_is_not_run_is_counted():
    unrun = {
        document: sum(block.reason is not None for block in blocks_of(ROOT / document))
        for document in DOCUMENTS
    }
    assert {name: count for name, count in unrun.items() if count} == NOT_RUN


def test_readme_shows_the_two_commands_first():
    first = blocks_of(ROOT / "README.md")[1]
    assert [command.split("#")[0].strip() for command in first.commands()] == [
        "make run",
        "make test",
    ]


def test_every_link_between_documents_leads_somewhere():
    broken = []
    for document in DOCUMENTS + [
        f"docs/decisions/{p.name}" for p in (ROOT / "docs/decisions").iterdir()
    ]:
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / document).read_text("utf-8")):
            if "://" not in target and not ((ROOT / document).parent / target).exists():
                broken.append(f"{document}: {target}")
    assert broken == []


def test_ci_runs_what_the_readme_tells_a_newcomer():
    assert "step test" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
