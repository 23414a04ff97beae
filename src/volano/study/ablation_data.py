"""What the arms of an ablation learnt from, side by side: how much was left, of what, and which
documents one arm has and the first has not."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, read_shard
from volano.page import plots
from volano.study.ablation_found import FoundAblation, FoundTrial
from volano.study.report_data import excerpt
from volano.study.words import FILTERS, PERCENT, joined
from volano.text.functions import place_in_draw

ALONE_SHOWN, CHANGED_SHOWN = 3, 2  # documents of each arm
MOST_ROWS = 12  # kinds or sources; the rest is told together
CHANGED_CHARACTERS = 220  # around the first letter that differs
SEEN_FILE = "seen.parquet"
Texts = dict[str, bytes]  # id → digest of the text


class Arm(NamedTuple):
    """An arm whose data are in the store: its models, and the documents that were packed."""

    name: str
    letter: str
    trials: Sequence[FoundTrial]
    artifact: Artifact
    corpus: Corpus


def data_of(found: FoundAblation) -> dict[str, Any] | None:
    """The section on data; None where no arm's documents are in the store."""
    arms = _arms(found)
    if not arms:
        return None
    known = {each.name for each in arms}
    return {
        "rows": [_row(each) for each in arms],
        "funnels": _funnels(arms),
        "kinds": _counts(arms, "kinds"),
        "sources": _counts(arms, "sources"),
        "beside": [_beside(arms[:place], arms[place]) for place in range(1, len(arms))],
        "same": len({each.artifact.digest for each in arms}) == 1,
        "unknown": joined([found.letter(each) for each in found.arms if each not in known]),
    }


def funnels_of(found: FoundAblation) -> dict[str, Any]:
    """Arm → documents and bytes after each filter, of those whose documents are in the store."""
    return {
        each.name: each.corpus.manifest["funnel"]
        for each in _arms(found)
        if "funnel" in each.corpus.manifest
    }


def _arms(found: FoundAblation) -> list[Arm]:
    arms = []
    for name in found.arms:
        trials = found.of(name)
        corpus = next((each.corpus for each in trials if each.corpus is not None), None)
        if corpus is not None and corpus.damage() is None:
            arms.append(Arm(name, found.letter(name), trials, corpus, corpus.corpus()))
    return arms


def _row(arm: Arm) -> dict[str, Any]:
    """How much an arm has, and how much of it each of its models has read."""
    trials = arm.trials
    packed = next((each.tokens for each in trials if each.tokens is not None), None)
    bill = {} if packed is None else packed.bill()
    documents = [each for trial in trials if (each := len(_seen(trial)))]
    return {
        "arm": arm.letter,
        "documents": len(arm.corpus),
        "megabytes": f"{arm.corpus.manifest['text_bytes'] / 1e6:.2f}",
        "tokens": f"{bill['tokens']:,}" if "tokens" in bill else "",
        "read": _range([each.tokens_read for each in trials]),
        "epochs": _times([each.epochs for each in trials]),
        "seen": _range(documents),
    }


def _funnels(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """A funnel for each corpus that differs, all to one scale."""
    alike: dict[str, list[Arm]] = {}
    for each in arms:
        if "funnel" in each.corpus.manifest:
            alike.setdefault(each.artifact.digest, []).append(each)
    tables = {digest: those[0].corpus.manifest["funnel"] for digest, those in alike.items()}
    whole = max((table[0]["documents"] for table in tables.values()), default=0)
    filters = _in_one_order([[row["filter"] for row in table] for table in tables.values()])
    drawn = []
    for digest, those in alike.items():
        letters = ", ".join(each.letter for each in those)
        rows = _bars(tables[digest], filters)
        plot = plots.funnel(rows, title=f"{letters}: documents after each filter", whole=whole)
        last = tables[digest][-1]
        said = f"{last['bytes'] / 1e6:.2f} MB left of {tables[digest][0]['bytes'] / 1e6:.2f}."
        kept = those[0].corpus.manifest["text_bytes"]
        if kept != last["bytes"]:
            said += f" What was changed inside documents leaves {kept / 1e6:.2f}."
        drawn.append({"title": letters, "plot": plot, "said": said})
    return drawn


def _in_one_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """Every name once, each behind those that stand before it in its list."""
    merged: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged


def _bars(table: Sequence[Mapping[str, Any]], filters: Sequence[str]) -> list[plots.Kept]:
    """A bar for each filter of any arm; where this one does without, that is said."""
    own = {row["filter"]: row for row in table}
    bars, left = [], table[0]["documents"]
    for name in filters:
        title = FILTERS.get(name, name.replace("_", " "))
        if name in own:
            left = own[name]["documents"]
            bars.append(plots.Kept(title, left, own[name]["documents_dropped"]))
        else:
            bars.append(plots.Kept(title, left, 0, " (off)"))
    return bars


def _counts(arms: Sequence[Arm], group: str) -> dict[str, Any]:
    """Documents of each kind or source, arm by arm, and what share of the tokens read it was."""
    documents = [Counter(each.corpus.manifest[group]) for each in arms]
    tokens = [_tokens_by(each, group.removesuffix("s")) for each in arms]
    total: Counter[str] = sum(documents, Counter())
    names = [name for name, _ in total.most_common()]
    shown, rest = names[:MOST_ROWS], names[MOST_ROWS:]
    rows = [_count_row(name, [name], documents, tokens) for name in shown]
    if rest:
        rows.append(_count_row(f"{len(rest)} others", rest, documents, tokens))
    return {"arms": [each.letter for each in arms], "rows": rows}


def _count_row(
    title: str,
    names: Sequence[str],
    documents: Sequence[Mapping[str, int]],
    tokens: Sequence[Mapping[str, int]],
) -> dict[str, Any]:
    cells = []
    for counted, read in zip(documents, tokens, strict=True):
        whole = sum(read.values())
        share = sum(read.get(each, 0) for each in names) / whole if whole else None
        cells.append(
            {
                "value": f"{sum(counted.get(each, 0) for each in names):,}",
                "interval": "" if share is None else f"{100 * share:.1f}{PERCENT}",
            }
        )
    return {"title": title, "cells": cells}


def _tokens_by(arm: Arm, column: str) -> dict[str, int]:
    """Kind or source → tokens that the arm's first model has read of it."""
    read = _seen(arm.trials[0])
    counted: Counter[str] = Counter()
    if not read:
        return counted
    wanted = pa.array(list(read), pa.string())
    for shard in arm.corpus.shards():
        table = read_shard(shard, ["id", column])
        table = table.filter(pc.is_in(table["id"], wanted.cast(table["id"].type)))
        for row in table.to_pylist():
            counted[row[column]] += read.pop(row["id"], 0)
    if read:
        counted["not in the corpus"] += sum(read.values())
    return dict(counted)


def _beside(former: Sequence[Arm], arm: Arm) -> dict[str, Any]:
    """What only one of two arms has, the first and another, with samples chosen by a hash of their
    ids; or which of the former arms has the same documents."""
    first = former[0]
    same = [each.letter for each in former if each.artifact.digest == arm.artifact.digest]
    if same:
        return {"arm": arm.letter, "first": first.letter, "same": same[0]}
    texts = [_texts(each.corpus) for each in (first, arm)]
    alone = [[each for each in mine if each not in others] for mine, others in (texts, texts[::-1])]
    changed = [each for each, text in texts[0].items() if texts[1].get(each, text) != text]
    sides = []
    for of, names in zip((first, arm), alone, strict=True):
        seen: set[str] = set().union(*(_seen(each) for each in of.trials))
        sides.append(
            {
                "arm": of.letter,
                "documents": len(names),
                "read": len(seen.intersection(names)),
                "samples": _samples(of.corpus, names, ALONE_SHOWN),
            }
        )
    return {
        "arm": arm.letter,
        "first": first.letter,
        "same": "",
        "sides": sides,
        "changed": len(changed),
        "changes": _changes(first.corpus, arm.corpus, changed),
    }


def _texts(corpus: Corpus) -> Texts:
    found: Texts = {}
    for shard in corpus.shards():
        table = read_shard(shard, ["id", "text"])
        for row in table.to_pylist():
            found[row["id"]] = hashlib.blake2b(
                (row["text"] or "").encode(), digest_size=16
            ).digest()
    return found


def _samples(corpus: Corpus, names: Iterable[str], most: int) -> list[dict[str, str]]:
    chosen = sorted(names, key=place_in_draw)[:most]
    rows = _read(corpus, chosen)
    return [
        {"id": name, "kind": rows[name]["kind"] or "", "text": excerpt(rows[name]["text"] or "")}
        for name in chosen
    ]


def _changes(first: Corpus, second: Corpus, names: Iterable[str]) -> list[dict[str, str]]:
    chosen = sorted(names, key=place_in_draw)[:CHANGED_SHOWN]
    ours, theirs = _read(first, chosen), _read(second, chosen)
    shown = []
    for name in chosen:
        one, two = ours[name]["text"] or "", theirs[name]["text"] or ""
        pairs = enumerate(zip(one, two, strict=False))
        apart = next((place for place, (a, b) in pairs if a != b), min(len(one), len(two)))
        shown.append({"id": name, "first": _around(one, apart), "second": _around(two, apart)})
    return shown


def _around(text: str, place: int) -> str:
    begin = max(0, place - CHANGED_CHARACTERS // 3)
    end = begin + CHANGED_CHARACTERS
    return f"{'… ' if begin else ''}{text[begin:end]}{' …' if end < len(text) else ''}"


def _read(corpus: Corpus, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    wanted = pa.array(names, pa.string())
    for shard in corpus.shards() if names else ():
        table = read_shard(shard, ["id", "kind", "text"])
        table = table.filter(pc.is_in(table["id"], wanted.cast(table["id"].type)))
        found |= {row["id"]: row for row in table.to_pylist()}
    return found


def _seen(trial: FoundTrial) -> dict[str, int]:
    """Document → tokens of it that the model's training has read."""
    path = None if trial.base is None else trial.base.folder / SEEN_FILE
    if path is None or not path.is_file():
        return {}
    table = pq.read_table(path, columns=["id", "tokens"])
    return dict(zip(table["id"].to_pylist(), table["tokens"].to_pylist(), strict=True))


def _range(numbers: Sequence[int]) -> str:
    known = [each for each in numbers if each]
    if not known:
        return ""
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _times(numbers: Sequence[float]) -> str:
    most = max(numbers, default=0.0)
    return f"{most:.2g}" if 0 < most < 10 else f"{most:.0f}" if most else ""
