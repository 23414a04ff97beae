"""Plant copies and canaries among documents, and keep a list of them to ask a model about.

What a filter is for shows where one knows what was there: of documents that occur 100 times, how
many does the model say by heart, with duplicates removed and without?

    planted.parquet    what (document or canary), id, copies, prompt, secret, kind
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from volano.collect.plant_section import PlantSection
from volano.core.corpus import Corpus, finish_corpus, read_shard, shard_path, write_shard
from volano.core.errors import DataError, RecipeError
from volano.core.files import json_digest
from volano.core.mixture import TRAIN
from volano.core.records import DOCUMENT_SCHEMA
from volano.core.step import Context, Inputs, Step
from volano.text.canaries import Canary, draw_canaries
from volano.text.planted import CANARY, DOCUMENT, PLANTED_FILE, PLANTED_SCHEMA

SHARD_ROWS = 20_000  # of copies
SHUFFLE = "shuffle"  # salt of the draw


class _Chosen(NamedTuple):
    """Documents to copy, by id; and for each document the sentences to add."""

    copies: dict[str, int]
    added: dict[str, list[str]]
    canaries: list[tuple[Canary, int]]


def run_plant(section: PlantSection, inputs: Inputs, context: Context) -> None:
    """Write the corpus with what was planted. Raises DataError where there are too few documents,
    RecipeError for more canaries than there are names."""
    corpus = inputs["documents"].corpus()
    chosen = _choose(section, corpus, section.seed)
    shards = corpus.shards()
    copied: list[dict[str, object]] = []
    with context.progress("plant", len(shards), "shards") as bar:
        for place, path in enumerate(shards):
            rows = read_shard(path).to_pylist()
            for row in rows:
                row["text"] = _changed(row, chosen, section.shuffled, section.seed)
                copied += _copies(row, chosen.copies.get(row["id"], 1))
            table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
            write_shard(shard_path(context.folder, "data", place), table)
            bar.advance()
    for extra, begin in enumerate(range(0, len(copied), SHARD_ROWS)):
        table = pa.Table.from_pylist(copied[begin : begin + SHARD_ROWS], schema=DOCUMENT_SCHEMA)
        write_shard(shard_path(context.folder, "data", len(shards) + extra), table)
    listed = [
        *({"what": DOCUMENT, "id": each, "copies": n} for each, n in chosen.copies.items()),
        *(
            {"what": CANARY, "id": canary.prompt, "copies": copies, **canary._asdict()}
            for canary, copies in chosen.canaries
        ),
    ]
    write_shard(context.folder / PLANTED_FILE, pa.Table.from_pylist(listed, PLANTED_SCHEMA))
    finish_corpus(context.folder, "document")
    context.bill |= {"documents_copied": len(copied), "canaries": len(chosen.canaries)}


def _choose(section: PlantSection, corpus: Corpus, seed: int) -> _Chosen:
    groups = section.copies
    wanted = section.documents * len(groups)
    sites = section.canaries * sum(groups)
    fitting: list[str] = []
    others: list[str] = []
    occurs = Counter(json_digest(text) for _, text in _training_texts(corpus))
    for identity, text in _training_texts(corpus):
        fits = section.min_characters <= len(text) <= section.max_characters
        # A text that occurs more than once by itself would spoil the count.
        (fitting if fits and occurs[json_digest(text)] == 1 else others).append(identity)
    fitting.sort(key=lambda each: json_digest([seed, each]))
    if len(fitting) < wanted:
        raise DataError(
            f"{wanted} documents of {section.min_characters:,} to {section.max_characters:,} "
            f"characters are to be copied, and {len(fitting)} are there",
            "plant.documents",
            "Lower it, or widen plant.min_characters and plant.max_characters.",
        )
    copies = {
        identity: copies
        for place, copies in enumerate(groups)
        for identity in fitting[place * section.documents : (place + 1) * section.documents]
    }
    free = sorted([*fitting[wanted:], *others], key=lambda each: json_digest([seed, CANARY, each]))
    if len(free) < sites:
        raise DataError(
            f"canaries are to be written into {sites:,} documents, and {len(free):,} are there",
            "plant.canaries",
            "Lower it, or plant.copies.",
        )
    try:
        canaries = draw_canaries(section.canaries * len(groups), seed)
    except ValueError as problem:
        raise RecipeError(str(problem), "plant.canaries", "Lower it.") from None
    # Kinds alternate, so each number of copies has both.
    counted = [(each, groups[place // section.canaries]) for place, each in enumerate(canaries)]
    added: dict[str, list[str]] = {}
    for canary, times in counted:
        for _ in range(times):
            added.setdefault(free.pop(), []).append(f"{canary.prompt}{canary.secret}.")
    return _Chosen(copies, added, counted)


def _training_texts(corpus: Corpus) -> Iterator[tuple[str, str]]:
    for path in corpus.shards():
        table = read_shard(path, ["id", "text", "split"])
        for identity, text, split in zip(
            *(each.to_pylist() for each in table.columns), strict=True
        ):
            if split == TRAIN:
                yield identity, text


def _changed(row: dict[str, str], chosen: _Chosen, shuffled: float, seed: int) -> str:
    text = row["text"]
    if row["split"] != TRAIN:
        return text
    if shuffled and _drawn(seed, row["id"]) < shuffled:
        text = _words_shuffled(text, int(json_digest([seed, row["id"]])[:12], 16))
    return (
        "\n\n".join([text.rstrip(), *chosen.added[row["id"]]])
        if row["id"] in chosen.added
        else text
    )


def _drawn(seed: int, identity: str) -> float:
    return float(int(json_digest([seed, SHUFFLE, identity])[:12], 16) / 16**12)


def _words_shuffled(text: str, seed: int) -> str:
    # Line by line, so that a document keeps its form and only the order of words is lost.
    draw = np.random.default_rng(seed)
    words = text.split()
    order: Sequence[int] = draw.permutation(len(words)).tolist()
    mixed = iter([words[place] for place in order])
    return "\n".join(" ".join(next(mixed) for _ in line.split()) for line in text.splitlines())


def _copies(row: dict[str, object], copies: int) -> list[dict[str, object]]:
    return [
        {**row, "id": f"{row['id']}#copy-{number}", "source_ids": [row["id"]]}
        for number in range(2, copies + 1)
    ]


PLANT = Step(name="plant", kind="corpus", version=3, section=PlantSection, run=run_plant)
