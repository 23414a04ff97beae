"""Files written into a folder, collected, and what came of them."""

from pathlib import Path
from typing import Any, NamedTuple

from small_tree import rows, write

from volano.collect.files import collect_files
from volano.collect.section import CollectSection
from volano.core.corpus import Corpus
from volano.core.step import Context


class Here:
    """Reads in this process: starting another takes longer than the small files of a test."""

    def map(self, function: Any, items: Any, outputs: Any, **_: object) -> None:
        for item, output in zip(items, outputs, strict=True):
            output.parent.mkdir(parents=True, exist_ok=True)
            function(item, output)


class ContextHere(Context):
    engine = property(lambda self: Here())  # type: ignore[assignment]


class Collected(NamedTuple):
    documents: list[dict[str, Any]]
    problems: list[tuple[str, str]]
    passed_over: dict[str, int]
    manifest: dict[str, Any]


def collect(folder: Path, files: dict[str, str | bytes], **settings: Any) -> Collected:
    """What the files give, written into `folder`/in and read as a folder."""
    write(folder / "in", files)
    return collect_paths(folder, str(folder / "in"), **settings)


def collect_paths(folder: Path, *paths: str, **settings: Any) -> Collected:
    (folder / "run/artifact").mkdir(parents=True)
    context = ContextHere(folder / "run/artifact", folder / "run/scratch", seed=1, silent=True)
    collect_files(CollectSection(source="files", paths=list(paths), **settings), context)
    corpus = Corpus.open(context.folder)
    problems = [(row["where"], row["reason"]) for row in corpus.quarantine().to_pylist()]
    manifest = corpus.manifest
    return Collected(rows(context.folder), problems, manifest["passed_over"], manifest)
