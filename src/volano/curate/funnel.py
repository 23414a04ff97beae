"""What each filter took out: documents, bytes, and samples to look at.

Counted from the attributes of a curated corpus, so it can be asked for at any time.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from volano.core.corpus import Corpus, read_shard
from volano.curate.decision import BOILERPLATE, CUT, FILTERS
from volano.curate.quality_section import C4_SWITCHES, QUALITY_RULES

CUT_BYTES = "cut_bytes"
BOILERPLATE_BYTES = "boilerplate_bytes"
LANGUAGE_BYTES = "language_bytes"
# Filter → attribute of `decision`.
CUTTING = {CUT: CUT_BYTES, BOILERPLATE: BOILERPLATE_BYTES, "language": LANGUAGE_BYTES}
SIZE = "text_bytes"
TEXTS_AT_ONCE = 1024


class FunnelRow(NamedTuple):
    """The corpus after one filter; `dropped` is what that filter took out. Bytes of UTF-8 text as
    it was collected, before c4 took lines out and personal data was replaced; but `cut` and
    `boilerplate` count what they cut out of the documents that stay to the end."""

    filter: str  # "input" for the first row
    documents: int
    bytes: int
    documents_dropped: int
    bytes_dropped: int
    bytes_cut: int = 0


class Sample(NamedTuple):
    """One dropped document and why."""

    filter: str
    id: str
    value: float | None
    threshold: float | None
    evidence: str
    text: str


def funnel(corpus: Corpus, filters: Sequence[str] = ()) -> list[FunnelRow]:
    """The input, then one row per filter in the order in which they judged; of a corpus that is
    not finished the caller names them."""
    filters = filters or [row["filter"] for row in corpus.manifest["funnel"][1:]]
    gone: Counter[str | None] = Counter()  # None: what stays
    gone_bytes: Counter[str | None] = Counter()
    cut: Counter[str] = Counter()
    for decisions in corpus.attribute_tables("decision"):  # not all at once: memory stays bounded
        by_filter = decisions.group_by("dropped_by").aggregate([([], "count_all"), (SIZE, "sum")])
        for row in by_filter.to_pylist():
            gone[row["dropped_by"]] += row["count_all"]
            gone_bytes[row["dropped_by"]] += row[f"{SIZE}_sum"] or 0
        stays = decisions.filter(pc.is_null(decisions["dropped_by"]))
        for name, column in CUTTING.items():
            if column in decisions.column_names:
                cut[name] += int(pc.sum(stays[column]).as_py() or 0)
    documents, size = gone.total(), gone_bytes.total()
    rows = [FunnelRow("input", documents, size, 0, 0)]
    for name in filters:
        lost = cut[name]
        documents, size = documents - gone[name], size - gone_bytes[name] - lost
        rows.append(FunnelRow(name, documents, size, gone[name], gone_bytes[name], lost))
    return rows


def funnel_tokens(
    corpus: Corpus, rows: Sequence[FunnelRow], encode: Callable[[list[str]], list[list[int]]]
) -> list[int]:
    """The tokens that each row of the funnel leaves: of what stays as it was written, of what was
    dropped as it was collected. Every text is encoded, which takes a while."""
    gone: Counter[str] = Counter()
    left = 0
    for group in ("dropped", "data"):
        for shard in corpus.shards(group):
            table = read_shard(shard, ["text", *(["dropped_by"] if group == "dropped" else [])])
            for part in table.to_batches(max_chunksize=TEXTS_AT_ONCE):
                counts = [len(ids) for ids in encode([each or "" for each in part[0].to_pylist()])]
                if group == "data":
                    left += sum(counts)
                    continue
                for name, count in zip(part[1].to_pylist(), counts, strict=True):
                    gone[name] += count
    found = [left + gone.total()]
    for row in rows[1:]:
        found.append(found[-1] - gone[row.filter])
    return found


def main_bound(corpus: Corpus, rule: str) -> tuple[str, int]:
    """The setting of a quality rule by which most of its dropped documents went, such as min_words,
    and how many did; "" and 0 for other filters."""
    if rule not in QUALITY_RULES:
        return "", 0
    bounds: Counter[str] = Counter()
    for decisions in corpus.attribute_tables("decision"):
        gone = decisions.filter(pc.equal(decisions["dropped_by"], rule))
        bounds.update(map(bound_of, gone.to_pylist()))
    return bounds.most_common(1)[0] if bounds else ("", 0)


def main_earlier(corpus: Corpus, filter_name: str) -> tuple[str, int]:
    """The earlier corpus whose documents most of a filter's dropped ones are copies of, and how
    many are; "" and 0 where none is."""
    if filter_name not in ("exact", "near"):
        return "", 0
    corpora: Counter[str] = Counter()
    pairs = zip(corpus.attribute_tables("decision"), corpus.attribute_tables("dedup"), strict=True)
    for decisions, copies in pairs:
        if "copy_in" in copies.column_names:
            gone = copies["copy_in"].filter(pc.equal(decisions["dropped_by"], filter_name))
            corpora.update(gone.drop_null().to_pylist())
    return corpora.most_common(1)[0] if corpora else ("", 0)


def rule_of(decision: Mapping[str, Any]) -> str:
    """The filter that dropped a document, of a quality rule with its bound that the document is
    beyond: near, gopher_quality.min_words."""
    name = str(decision["dropped_by"])
    return f"{name}.{bound_of(decision)}" if name in QUALITY_RULES else name


def bound_of(decision: Mapping[str, Any]) -> str:
    """The setting of a quality rule by which it dropped a document, such as min_words."""
    name = str(decision["evidence"])
    if name in C4_SWITCHES:
        return name
    return f"{'min' if decision['value'] < decision['threshold'] else 'max'}_{name}"


def samples(
    corpus: Corpus, *, per_filter: int = 3, filters: Sequence[str] = FILTERS
) -> list[Sample]:
    """Up to `per_filter` dropped documents of each filter, evenly spread over the corpus."""
    decisions = corpus.attributes("decision")
    chosen = []
    for name in filters:
        gone = decisions.filter(pc.equal(decisions["dropped_by"], name))
        step = max(1, gone.num_rows // per_filter)
        chosen += gone.take(
            pa.array(range(0, gone.num_rows, step)[:per_filter], pa.int64())
        ).to_pylist()
    wanted = pa.array([row["id"] for row in chosen], pa.string())
    texts: dict[str, str] = {}
    for shard in corpus.shards("dropped"):
        table = read_shard(shard, ["id", "text"])
        found = table.filter(pc.is_in(table["id"], wanted))
        texts |= dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))
    return [
        Sample(
            row["dropped_by"],
            row["id"],
            row["value"],
            row["threshold"],
            row["evidence"] or "",
            texts.get(row["id"], ""),
        )
        for row in chosen
    ]
