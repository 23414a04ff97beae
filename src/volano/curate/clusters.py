"""Clusters of copies to look at: the largest ones, who is in them, and what sets two apart.

Counted from the attributes of a curated corpus, so it can be asked for at any time.
"""

from difflib import SequenceMatcher
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard
from volano.core.errors import DataError

WORDS_COMPARED = 2000  # of each text; the time of a difference grows with their square
CONTEXT_WORDS = 4
CHANGES = 5


class Member(NamedTuple):
    """A document of a cluster."""

    id: str
    dropped_by: str | None  # exact, near or a filter after them; None if it stays
    copy_of: str | None
    similarity: float | None  # Jaccard similarity with the document it is near


class Cluster(NamedTuple):
    """Documents that count as one. `id` is the first, in `corpus` if that is an earlier one."""

    id: str
    corpus: str | None
    size: int  # documents of this corpus
    members: list[Member]  # the first of them
    compared: tuple[str, str] | None  # ids of two members …
    difference: list[str]  # … and what sets their texts apart


def clusters(corpus: Corpus, *, largest: int = 5, members: int = 5) -> list[Cluster]:
    """The largest clusters, of equal sizes the first. Raises DataError where none were sought.

    The text of a document that stays is compared as it was written: with tags in the place of
    personal data, and without what was cut out.
    """
    if "dedup" not in corpus.groups() or "cluster" not in corpus.attributes("dedup").column_names:
        raise DataError(
            "no clusters: no deduplication was made", str(corpus.folder), "Curate with dedup on."
        )
    table = corpus.attributes("dedup")
    table = table.append_column("dropped_by", corpus.attributes("decision")["dropped_by"])
    if "cluster_in" not in table.column_names:
        table = table.append_column("cluster_in", pa.nulls(table.num_rows, pa.string()))
    table = table.append_column("place", pa.array(range(table.num_rows)))
    table = table.filter(pc.is_valid(table["cluster"]))
    sizes = table.group_by(["cluster", "cluster_in"]).aggregate(
        [("place", "count"), ("place", "min")]
    )
    order = pc.sort_indices(sizes, [("place_count", "descending"), ("place_min", "ascending")])
    chosen = sizes.take(order.slice(0, largest)).to_pylist()
    rows = [_rows_of(table, each) for each in chosen]
    pairs = [_compared(found) for found in rows]
    texts = _texts(corpus, {name for pair in pairs if pair for name in pair})
    return [
        Cluster(
            each["cluster"],
            each["cluster_in"],
            len(found),
            [_member(row) for row in found[:members]],
            pair,
            difference(*(texts.get(name, "") for name in pair)) if pair else [],
        )
        for each, found, pair in zip(chosen, rows, pairs, strict=True)
    ]


def difference(one: str, other: str) -> list[str]:
    """Lines "… before [-gone-] {+new+} behind …" of the first changes, word by word."""
    if one == other:
        return ["the same to the byte"]
    left, right = one.split(), other.split()
    if left == right:
        return ["the same but for white space"]
    left, right = left[:WORDS_COMPARED], right[:WORDS_COMPARED]
    found = []
    for kind, start, stop, first, last in SequenceMatcher(None, left, right, False).get_opcodes():
        if kind != "equal":
            gone, new = " ".join(left[start:stop]), " ".join(right[first:last])
            parts = [
                " ".join(left[max(0, start - CONTEXT_WORDS) : start]),
                f"[-{gone}-]" if gone else "",
                f"{{+{new}+}}" if new else "",
                " ".join(left[stop : stop + CONTEXT_WORDS]),
            ]
            found.append(" ".join(part for part in parts if part))
    more = len(found) - CHANGES
    if not found:
        return [f"the same in their first {WORDS_COMPARED:,} words"]
    return found[:CHANGES] + ([f"and {more:,} more changes"] if more > 0 else [])


def _rows_of(table: pa.Table, cluster: dict[str, Any]) -> list[dict[str, Any]]:
    inside = pc.equal(table["cluster_in"], cluster["cluster_in"])
    if cluster["cluster_in"] is None:
        inside = pc.is_null(table["cluster_in"])
    rows: list[dict[str, Any]] = table.filter(
        pc.and_(inside, pc.equal(table["cluster"], cluster["cluster"]))
    ).to_pylist()
    # Who stays first, then who is near, then exact copies.
    return sorted(
        rows, key=lambda row: (row["dropped_by"] is not None, row["dropped_by"] != "near")
    )


def _compared(rows: list[dict[str, Any]]) -> tuple[str, str] | None:
    return (rows[0]["id"], rows[1]["id"]) if len(rows) > 1 else None


def _member(row: dict[str, Any]) -> Member:
    return Member(row["id"], row["dropped_by"], row["copy_of"], row["similarity"])


def _texts(corpus: Corpus, ids: set[str]) -> dict[str, str]:
    wanted = pa.array(sorted(ids), pa.string())
    texts: dict[str, str] = {}
    for group in ("dropped", "data"):
        for shard in corpus.shards(group):
            table = read_shard(shard, ["id", "text"])
            found = table.filter(pc.is_in(table["id"], wanted))
            texts |= dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))
    return texts
