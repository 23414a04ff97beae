"""A run of curation in which nothing but deduplication judges, on documents of a test's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from volano.core.corpus import Corpus, finish_corpus, write_shard
from volano.core.records import Document, table_of
from volano.core.step import Context
from volano.curate.section import CurateSection
from volano.curate.step import STEP

OTHERS = dict.fromkeys(("language", "quality", "toxicity", "decontaminate", "pii"), "off")


@dataclass
class Folder:
    """What a step sees of an artifact."""

    folder: Path

    def corpus(self) -> Corpus:
        return Corpus.open(self.folder)


def documents_of(texts: Sequence[str | Document]) -> list[Document]:
    return [
        each if isinstance(each, Document) else Document(id=f"d{place}", text=each, source="test")
        for place, each in enumerate(texts)
    ]


@pytest.fixture
def dedup(tmp_path: Path) -> Callable[..., Corpus]:
    """Curates texts (or documents) under settings of dedup; all else is off unless named."""

    def curated(
        texts: Sequence[str | Document],
        *,
        run: str = "run",
        workers: int = 2,
        per_shard: int = 2,
        others: dict[str, object] = OTHERS,
        earlier: dict[str, Folder] | None = None,
        **settings: object,
    ) -> Corpus:
        documents, folder = documents_of(texts), tmp_path / f"{run}-in"
        for place, start in enumerate(range(0, len(documents), per_shard)):
            part = table_of(documents[start : start + per_shard], Document)
            write_shard(folder / "data" / f"{place:05d}.parquet", part)
        finish_corpus(folder, "document")
        section = CurateSection.read({**others, "dedup": settings}, "test")
        inputs = {"documents": Folder(folder), **(earlier or {})}
        context = Context(tmp_path / run, tmp_path / f"{run}-scratch", 1, workers, silent=True)
        STEP.run(section, inputs, context)
        return Corpus.open(tmp_path / run)

    return curated
