"""The report's sections on data: what was collected, which filter took what, from whom it came."""

from collections import Counter
from typing import Any

from volano.core.artifact import Artifact
from volano.core.corpus import read_shard
from volano.page import plots
from volano.study.found import Found
from volano.study.words import FILTERS
from volano.text.functions import place_in_draw

DROPPED_SHOWN, KEPT_SHOWN = 2, 3  # per filter, and in all
MOST_CHARACTERS, MOST_LINES = 420, 9


def funnel_of(found: Found) -> dict[str, Any] | None:
    """The corpus after each filter, with samples; None where nothing was curated."""
    curated = found.of("curated")
    if curated is None or "funnel" not in curated.corpus().manifest:
        return None
    from volano.curate.funnel import samples

    rows = curated.corpus().manifest["funnel"]
    dropped: dict[str, list[dict[str, Any]]] = {}
    for each in samples(curated.corpus(), per_filter=DROPPED_SHOWN):
        shown = {"id": each.id, "why": _reason(each), "text": excerpt(each.text)}
        dropped.setdefault(each.filter, []).append(shown)
    steps = [
        {**row, "title": FILTERS.get(row["filter"], row["filter"].replace("_", " "))}
        for row in rows
    ]
    kept = [plots.Kept(row["title"], row["documents"], row["documents_dropped"]) for row in steps]
    return {
        "rows": [{**row, "samples": dropped.get(row["filter"], [])} for row in steps],
        "plot": plots.funnel(kept, title="Documents left after each filter"),
        "kept": _kept(curated),
        "collected": rows[0]["documents"],
        "left": rows[-1]["documents"],
    }


def counts(found: Found, group: str) -> list[tuple[str, int]]:
    """Sources or licences of all that training read, most records first: name → records."""
    total: Counter[str] = Counter()
    for name in ("curated", "safety"):
        artifact = found.of(name)
        if artifact is not None:
            total.update(artifact.corpus().manifest[group])
    collected = found.of("collected")
    if not total and collected is not None:
        total.update(collected.corpus().manifest[group])
    for artifact in found.versions("requested").values():
        asked = artifact.corpus().manifest
        # What a request takes from the corpus has been counted there.
        total.update({name: n for name, n in asked[group].items() if name not in total})
    return total.most_common()


def excerpt(text: str) -> str:
    """The beginning of a text, its lines kept."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    cut = "\n".join(lines[:MOST_LINES])
    if len(cut) > MOST_CHARACTERS:
        cut = cut[:MOST_CHARACTERS].rstrip()
    return cut if cut == "\n".join(lines) else f"{cut} …"


def _kept(curated: Artifact) -> list[dict[str, str]]:
    # Of the first shard, so that a corpus larger than memory has a report too; of several kinds.
    shards = [path for path in curated.corpus().shards() if path.is_file()]
    if not shards:
        return []
    rows = read_shard(shards[0], ["id", "kind", "text"]).to_pylist()
    rows.sort(key=lambda row: place_in_draw(row["id"]))
    first_of_kind = list({row["kind"]: row for row in reversed(rows)}.values())[::-1]
    chosen = (first_of_kind + [row for row in rows if row not in first_of_kind])[:KEPT_SHOWN]
    return [{**row, "text": excerpt(row["text"])} for row in chosen]


def _reason(sample: Any) -> str:
    said = sample.evidence or ""
    if sample.value is None or sample.threshold is None:
        return said
    figures = f"{sample.value:.3g} where {sample.threshold:.3g} is the limit"
    return f"{said}, {figures}" if said else figures
