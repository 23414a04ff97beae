"""Training documents that hold a held-out text are found and named, with the text they hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from volano.core.corpus import Corpus
from volano.core.errors import DataError
from volano.curate.decision import Decisions
from volano.curate.section import DecontaminateSection
from volano.text.overlap import OverlapIndex

FEWEST_WORDS = 5  # of a passage that is compared by itself
Origin = tuple[str, str]  # corpus and id
Passage = tuple[Origin, str]


@dataclass(frozen=True)
class HeldOut:
    """The held-out texts of all corpora in one index, each with its corpus and id."""

    index: OverlapIndex
    origins: list[Origin]


def held_out_of(corpora: Mapping[str, Corpus], section: DecontaminateSection) -> HeldOut | None:
    """The index of these corpora's texts; None where there is nothing to compare with."""
    return index_of(
        [each for name, corpus in corpora.items() for each in passages_of(name, corpus)], section
    )


def passages_of(name: str, corpus: Corpus) -> list[Passage]:
    """Every text of a corpus as it is compared: whole, and again without its first paragraph. A
    title or a signature says little, and a copy under another name would escape if it weighed as
    much as the rest."""
    return [
        ((name, record_id), passage)
        for record_id, text in _texts_of(name, corpus)
        for passage in _passages(text)
    ]


def index_of(passages: Sequence[Passage], section: DecontaminateSection) -> HeldOut | None:
    """The index of these passages; None where there are none."""
    if not passages:
        return None
    origins = [origin for origin, _ in passages]
    texts = [text for _, text in passages]
    index = OverlapIndex.of(
        texts,
        ngram_words=section.ngram_words,
        ngram_fraction=section.ngram_fraction,
        pair_fraction=section.pair_fraction,
    )
    return HeldOut(index, origins)


def measure_overlap(texts: pa.LargeStringArray, held_out: HeldOut) -> dict[str, pa.Array]:
    """Columns `against`, `held_out_id`, `fraction`, `run_words`, null where nothing overlaps."""
    overlaps = held_out.index.search(texts)
    origins = [held_out.origins[found.place] if found else (None, None) for found in overlaps]
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


def judge_overlap(
    columns: Mapping[str, pa.Array], section: DecontaminateSection, decisions: Decisions
) -> None:
    """Drop what holds a held-out text, as `measure_overlap` has found it."""
    lengths, fractions = columns["run_words"].to_pylist(), columns["fraction"].to_pylist()
    sources, ids = columns["against"].to_pylist(), columns["held_out_id"].to_pylist()
    evidence = [
        "" if words is None else f"shares runs of {words} words with {source} {identifier}"
        for words, source, identifier in zip(lengths, sources, ids, strict=True)
    ]
    for run_words, threshold in (
        (section.ngram_words, section.ngram_fraction),
        (None, section.pair_fraction),
    ):
        rows = [
            row
            for row, words in enumerate(lengths)
            if words is not None and run_words in (None, words)
        ]
        decisions.drop(
            rows, "decontaminate", value=fractions, threshold=threshold, evidence=evidence
        )


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
