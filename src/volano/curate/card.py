"""The data card of a curated corpus: what went in, what was kept and why, what is in it.

Counted from manifest and attributes, never written by hand; it stands in the README of the corpus,
where `datasets` and model hubs look for it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard
from volano.core.mixture import Mixture, largest_first
from volano.curate.toxicity import TOXIC

MOST_ROWS = 20  # of a table of sources, licences or languages; the rest is summed
SAMPLES, SAMPLE_CHARACTERS = 3, 300
SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"),
         (1e7, "1M<n<10M"), (1e8, "10M<n<100M"))  # fmt: skip


@dataclass(frozen=True)
class Share:
    """Of the documents that were kept, how many, and how many of all that were collected."""

    name: str
    kept: int
    collected: int


@dataclass
class Card:
    """All that the card says; counts of documents unless they say otherwise."""

    collected: int
    kept: int
    kept_bytes: int
    sources: dict[str, int]
    licences: dict[str, int]
    kinds: dict[str, int]
    languages: list[Share] = field(default_factory=list)
    personal_data: list[Share] = field(default_factory=list)
    toxic: list[Share] = field(default_factory=list)
    funnel: list[dict[str, Any]] = field(default_factory=list)
    samples: list[tuple[str, str]] = field(default_factory=list)
    mixture: Mixture | None = None

    @property
    def duplicate_fraction(self) -> float | None:
        """Of the documents that reached deduplication, the part that were copies."""
        rows = {row["filter"]: row for row in self.funnel}
        copies = [rows[name] for name in ("exact", "near", "semantic") if name in rows]
        if not copies:
            return None
        gone = sum(row["documents_dropped"] for row in copies)
        return float(gone / max(copies[-1]["documents"] + gone, 1))


def card_of(
    corpus: Corpus, funnel: Sequence[dict[str, Any]], toxic_from: float | None = None
) -> Card:
    """The card of a curated corpus whose shards are complete. `toxic_from` is the probability from
    which on a document counts as toxic; without one that is not told."""
    sources: dict[str, int] = {}
    licences: dict[str, int] = {}
    kinds: dict[str, int] = {}
    kept = kept_bytes = 0
    samples: list[tuple[str, str]] = []
    for path in sorted((corpus.folder / "data").glob("*.parquet")):
        table = read_shard(path, ["id", "text", "source", "licence", "kind"])
        kept += table.num_rows
        kept_bytes += int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)
        _count(sources, table["source"])
        _count(licences, table["licence"].fill_null("not stated"))
        _count(kinds, table["kind"])
        if table.num_rows and len(samples) < SAMPLES:
            row = table.slice(table.num_rows // 2, 1).to_pylist()[0]
            samples.append((row["id"], row["text"][:SAMPLE_CHARACTERS]))
    card = Card(
        funnel[0]["documents"], kept, kept_bytes, _top(sources), _top(licences), _top(kinds)
    )
    card.funnel, card.samples = list(funnel), samples
    _add_attributes(card, corpus, toxic_from)
    return card


def _add_attributes(card: Card, corpus: Corpus, toxic_from: float | None) -> None:
    languages = (Counter[str](), Counter[str]())  # of what was kept, of what was collected
    personal = (Counter[str](), Counter[str]())
    toxic = (Counter[str](), Counter[str]())
    groups = [name for name in ("language", "pii", "toxicity") if name in corpus.groups()]
    shards = [corpus.attribute_tables("decision", ["dropped_by"])]
    shards += [corpus.attribute_tables(name) for name in groups]
    for decisions, *tables in zip(*shards, strict=True):  # a shard of each: memory stays bounded
        found = dict(zip(groups, tables, strict=True))
        standing = pc.is_null(decisions["dropped_by"])
        if "language" in found:
            names = found["language"]["language"].cast(pa.string()).fill_null("not told")
            _count(languages[0], names.filter(standing))
            _count(languages[1], names)
        if "pii" in found:
            for name in found["pii"].column_names[1:]:  # behind the id
                _count_both(personal, name, pc.greater(found["pii"][name], 0), standing)
        if (
            toxic_from is not None
            and "toxicity" in found
            and TOXIC in found["toxicity"].schema.names
        ):
            probability = found["toxicity"][TOXIC].cast(pa.float64()).fill_null(0)  # exempt: unread
            beyond = pc.greater_equal(probability, toxic_from)
            _count_both(toxic, f"toxic at {toxic_from:g}", beyond, standing)
    order = sorted(languages[1], key=lambda name: (-languages[0][name], -languages[1][name], name))
    card.languages = _shares(languages, order[:MOST_ROWS])
    card.personal_data = _shares(personal, list(personal[1]))
    card.toxic = _shares(toxic, list(toxic[1]))


def _shares(counts: tuple[Counter[str], Counter[str]], names: Sequence[str]) -> list[Share]:
    kept, collected = counts
    return [Share(name, kept[name], collected[name]) for name in names]


def _count_both(
    counts: tuple[Counter[str], Counter[str]], name: str, some: pa.Array, standing: pa.Array
) -> None:
    kept, collected = counts
    kept[name] += int(pc.sum(pc.and_(some, standing)).as_py() or 0)
    collected[name] += int(pc.sum(some).as_py() or 0)


def _count(counts: dict[str, int], column: pa.ChunkedArray) -> None:
    for row in pc.value_counts(column).to_pylist():
        counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]


def _top(counts: dict[str, int]) -> dict[str, int]:
    order = sorted(counts, key=lambda name: (-counts[name], name))
    found = {name: counts[name] for name in order[:MOST_ROWS]}
    rest = order[MOST_ROWS:]
    if rest:
        found[f"{len(rest):,} others"] = sum(counts[name] for name in rest)
    return found


def header_of(card: Card) -> dict[str, Any]:
    """What model hubs read at the head of a card: languages and size."""
    size = next((name for limit, name in SIZES if card.kept < limit), "100M<n<1B")
    found: dict[str, Any] = {"size_categories": [size]}
    languages = [share.name for share in card.languages if share.kept and share.name.isalpha()]
    return {**found, "language": languages} if languages else found


def markdown(card: Card) -> str:
    """The card as text that a person reads."""
    parts = [
        f"Of {card.collected:,} documents that were collected, {card.kept:,} were kept "
        f"({card.kept_bytes / 1e6:,.1f} MB of text). Written by Volano from its own records: "
        "`manifest.json` has the digests, `attributes/` what was measured of every document, "
        "dropped ones included, and `dropped/` those themselves.",
        "## What was kept\n\n"
        + _table(
            ["filter", "dropped", "documents left", "MB left"],
            [
                (row["filter"], row["documents_dropped"], row["documents"], row["bytes"] / 1e6)
                for row in card.funnel
            ],
        ),
    ]
    for title, counts in (
        ("Sources", card.sources),
        ("Licences", card.licences),
        ("Kinds of document", card.kinds),
    ):
        rows = [(name, count) for name, count in counts.items()]
        parts.append(f"## {title}\n\n" + _table(["", "documents kept"], rows))
    for title, shares, note in (
        ("Languages", card.languages, ""),
        (
            "Personal data",
            card.personal_data,
            "Documents in which some was found, before it was replaced.\n\n",
        ),
        ("Toxicity", card.toxic, ""),
    ):
        if shares:
            table = _table(
                ["", "documents kept", "documents collected"],
                [(share.name, share.kept, share.collected) for share in shares],
            )
            parts.append(f"## {title}\n\n{note}{table}")
    if card.duplicate_fraction is not None:
        parts.append(
            f"## Copies\n\n{100 * card.duplicate_fraction:.1f} % of the documents that passed all "
            "other filters were copies of another."
        )
    if card.mixture is not None:
        parts.append(f"## Mixture\n\n{_mixed(card.mixture)}")
    if card.samples:
        quoted = [f"`{_name(name)}`\n\n{_quote(text)}" for name, text in card.samples]
        parts.append("## Samples\n\n" + "\n\n".join(quoted))
    return "\n\n".join(parts) + "\n"


def _mixed(mixture: Mixture) -> str:
    groups = mixture.plain()["groups"]
    shown = largest_first(groups, "bytes_read", MOST_ROWS)
    rows = [
        (
            each["group"],
            each["documents"],
            each["bytes"] / 1e6,
            *(f"{each[name]:.2%}" for name in ("natural_share", "wanted_share", "got_share")),
            f"{each['epochs']:.2f}",
        )
        for each in shown
    ]
    heads = ["documents", "MB", "natural share", "wanted share", "got share", "epochs"]
    said = [
        f"How often training reads the documents of split train, by {mixture.by}: "
        f"{mixture.bytes_read / 1e6:,.1f} MB in all. `attributes/mix` has the passes of each.",
        _table([mixture.by, *heads], rows),
    ]
    if len(groups) > len(shown):
        said.append(f"{len(groups) - len(shown):,} groups more are in `mixture.json`.")
    said += [f"- {' '.join(note.split())}" for note in mixture.notes]
    return "\n\n".join(said)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _name(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _quote(text: str) -> str:
    # In a fence that the text cannot end: a stranger's text is never read as markup.
    fence = "~" * (3 + max(map(len, re.findall("~+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
