"""Training documents that hold a held-out text are found and named, with the text they hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from volano.core.corpus import Corpus
from volano.core.errors import DataError
from volano.curate.decision import Decisions
from volano.curate.section import DecontaminateSection
from volano.text.overlap import OverlapIndex

FEWEST_WORDS = 5  # of a passage that is compared by itself


@dataclass(frozen=True)
class HeldOut:
    """The held-out texts of all corpora in one index, each with its corpus and id."""

    index: OverlapIndex
    origins: list[tuple[str, str]]


def held_out_of(corpora: Mapping[str, Corpus], section: DecontaminateSection) -> HeldOut | None:
    """The index of these corpora's texts; None where there is nothing to compare with.

    A text is compared whole, and again without its first paragraph: a title or a signature says
    little, and a copy under another name would escape if it weighed as much as the rest.
    """
    texts, origins = [], []
    for name, corpus in corpora.items():
        for record_id, text in _texts_of(name, corpus):
            for passage in _passages(text):
                texts.append(passage)
                origins.append((name, record_id))
    if not texts:
        return None
    index = OverlapIndex.of(
        texts,
        ngram_words=section.ngram_words,
        ngram_fraction=section.ngram_fraction,
        pair_fraction=section.pair_fraction,
    )
    return HeldOut(index, origins)


def measure_and_judge_overlap(
    texts: pa.LargeStringArray,
    held_out: HeldOut,
    section: DecontaminateSection,
    decisions: Decisions,
) -> dict[str, pa.Array]:
    """Columns `against`, `held_out_id`, `fraction`, `run_words`, null where nothing overlaps."""
    overlaps = held_out.index.search(texts)
    origins = [held_out.origins[found.place] if found else (None, None) for found in overlaps]
    for run_words, threshold in (
        (section.ngram_words, section.ngram_fraction),
        (None, section.pair_fraction),
    ):
        decisions.drop(
            [
                row
                for row, found in enumerate(overlaps)
                if found and run_words in (None, found.run_words)
            ],
            "decontaminate",
            value=[found.fraction if found else None for found in overlaps],
            threshold=threshold,
            evidence=[
                f"shares runs of {found.run_words} words with {origin[0]} {origin[1]}"
                if found
                else ""
                for found, origin in zip(overlaps, origins, strict=True)
            ],
        )
    return {
        "against": pa.array([origin[0] for origin in origins], pa.string()),
        "held_out_id": pa.array([origin[1] for origin in origins], pa.string()),
        "fraction": pa.array(
            [found.fraction if found else None for found in overlaps], pa.float64()
        ),
        "run_words": pa.array(
            [found.run_words if found else None for found in overlaps], pa.int64()
        ),
    }


def judge_held_out(splits: list[str], decisions: Decisions) -> None:
    """Drop what collect itself marked as test: a belt beside the braces above."""
    rows = [row for row, split in enumerate(splits) if split == "test"]
    nothing: list[float | None] = [None] * len(splits)
    decisions.drop(rows, "held_out", value=nothing, threshold=None, evidence="split is test")


def _texts_of(name: str, corpus: Corpus) -> Iterator[tuple[str, str]]:
    for record in corpus.records():
        if hasattr(record, "text"):
            yield record.id, record.text
        elif hasattr(record, "messages"):
            for message in record.messages:
                yield record.id, message.content
        else:
            raise DataError(
                f"a corpus of {corpus.manifest['record']} records has no text to hold out",
                f"curate.decontaminate.against: {name}",
                "Name a corpus of documents or conversations.",
            )


def _passages(text: str) -> list[str]:
    rest = text.strip().partition("\n\n")[2]
    return [text, rest] if len(rest.split()) >= FEWEST_WORDS else [text]
