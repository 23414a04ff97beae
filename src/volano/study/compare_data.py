"""What differs in the data behind two models: settings, records, documents read, and the rules.

Which documents only one has read says little as long as nobody says why the other has not: it never
had them, kept them for measuring, or a rule of its curation took them out.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, read_shard
from volano.core.evidence import DECISION
from volano.core.records import Document
from volano.curate.funnel import rule_of
from volano.evaluate.step import HELD_OUT_FUNCTIONS
from volano.study.compare_corpora import Ancestors, of_step
from volano.study.difference import difference

DROPPED, HELD_OUT_RULE = "dropped by ", "held_out"
HELD_OUT, NOT_REACHED, NEVER = "held out", "kept, but not read in training", "never collected"
DECISIONS = ("id", "dropped_by", "value", "threshold", "evidence")


class Apart(NamedTuple):
    """A step behind both models whose artifacts are not the same, and how."""

    step: str
    lines: list[str]


class Seen(NamedTuple):
    """Documents that training has read. Of those that only one has: their sources, and what became
    of them in the other ("dropped by gopher_quality.min_words")."""

    only_first: int
    only_second: int
    both: int
    other_text: int  # of both: documents of one id whose text is another
    only_first_by_source: Mapping[str, int]
    only_second_by_source: Mapping[str, int]
    only_first_because: Mapping[str, int]
    only_second_because: Mapping[str, int]


def apart(one: Ancestors, two: Ancestors) -> list[Apart]:
    """What differs, step by step, in what lies behind two artifacts."""
    here, there = of_step(one), of_step(two)
    found = []
    for step in here:
        lines: list[str] = []
        # Nearest to nearest: where a step is behind a model more than once, its turns pair up.
        for ours, theirs in zip(here[step], there.get(step, []), strict=False):
            lines += [] if ours.digest == theirs.digest else _lines(ours, theirs)
        if lines:
            found.append(Apart(step, lines))
    for whose, mine, others in (("first", here, there), ("second", there, here)):
        alone = [
            f"{step} once more" if step in others else step
            for step, made in mine.items()
            for _ in made[len(others.get(step, ())) or -1 :]
        ]
        if alone:
            found.append(Apart(f"behind the {whose} alone", [", ".join(alone)]))
    return found


def _lines(ours: Artifact, theirs: Artifact) -> list[str]:
    told = difference(ours, theirs)
    lines = [*told.settings, *told.versions]
    if told.only_first is not None:
        lines.append(
            f"records: {told.only_first:,} only in the first, {told.only_second:,} only in "
            f"the second, {told.changed_text:,} with another content"
        )
    return lines


def seen(ancestors: Sequence[Ancestors]) -> Seen:
    """The documents that training behind each has read, and why one has not what the other has."""
    read = [read_ids(each) for each in ancestors]
    only = [read[0] - read[1], read[1] - read[0]]
    by_source = [_sources(ids, found) for ids, found in zip(only, ancestors, strict=True)]
    # What only the first has read is looked for behind the second.
    because = [_because(ids, found) for ids, found in zip(only, ancestors[::-1], strict=True)]
    both = read[0] & read[1]
    counts = len(only[0]), len(only[1]), len(both), _other_text(both, ancestors)
    return Seen(*counts, *by_source, *because)


def _other_text(ids: set[str], ancestors: Sequence[Ancestors]) -> int:
    """How many of these documents have another text behind the second than behind the first, of
    those whose corpora are still there."""
    corpora = [
        [one for one in each.values() if one.kind == "corpus" and one.corpus().record is Document]
        for each in ancestors
    ]
    if not ids or {each.digest for each in corpora[0]} == {each.digest for each in corpora[1]}:
        return 0
    one, other = (_texts(ids, each) for each in corpora)
    return sum(one[each] != other[each] for each in one.keys() & other.keys())


def _texts(ids: set[str], corpora: Sequence[Artifact]) -> dict[str, bytes]:
    """Id → digest of its text, in the nearest corpus that has it."""
    found: dict[str, bytes] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for each in corpora:
        for shard in each.corpus().shards():
            table = read_shard(shard, ["id", "text"])
            table = table.filter(pc.is_in(table["id"], wanted.cast(table["id"].type)))
            for row in table.to_pylist():
                text = (row["text"] or "").encode()
                found.setdefault(row["id"], hashlib.blake2b(text, digest_size=16).digest())
    return found


def read_ids(ancestors: Ancestors) -> set[str]:
    """The documents that a model has read in training, or one that it went on from."""
    found: set[str] = set()
    for each in ancestors.values():
        path = each.folder / "seen.parquet"
        if each.kind == "checkpoint" and path.is_file():
            found |= set(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def _sources(ids: set[str], ancestors: Ancestors) -> dict[str, int]:
    source_of: dict[str, str] = {}
    for each in ancestors.values():
        if each.kind == "corpus" and ids:
            columns = each.corpus().to_arrow(["id", "source"])
            source_of |= dict(
                zip(columns["id"].to_pylist(), columns["source"].to_pylist(), strict=True)
            )
    counted = Counter(source_of.get(each, "not known") for each in ids)
    return dict(counted.most_common())


def _because(ids: set[str], ancestors: Ancestors) -> dict[str, int]:
    """What became of these documents in the corpora of the model that has not read them."""
    wanted = pa.array(sorted(ids), pa.string())
    fate: dict[str, str] = {}
    corpora = [each for each in ancestors.values() if each.kind == "corpus"] if ids else []
    for each in corpora:  # the nearest first, and what it has decided stands
        corpus = each.corpus()
        for name, reason in _decided(corpus, wanted).items():
            fate.setdefault(name, reason)
    kept_back = of_step(ancestors)[HELD_OUT_FUNCTIONS.name]
    for each in [*kept_back, *corpora]:  # what is held out was collected too
        for name in _held(each.corpus(), wanted):
            fate.setdefault(name, HELD_OUT if each in kept_back else NOT_REACHED)
    counted = Counter(fate.get(each, NEVER) for each in ids)
    return dict(counted.most_common())


def _decided(corpus: Corpus, wanted: pa.Array) -> dict[str, str]:
    """Id → what curation did with it, of those that this corpus judged."""
    found: dict[str, str] = {}
    if DECISION not in corpus.groups():
        return found
    for table in corpus.attribute_tables(DECISION, DECISIONS):
        for row in table.filter(pc.is_in(table["id"], wanted)).to_pylist():
            if row["dropped_by"] is None:  # of two documents with one id, the kept one counts
                found[row["id"]] = NOT_REACHED
            else:
                rule = rule_of(row)
                found.setdefault(row["id"], HELD_OUT if rule == HELD_OUT_RULE else DROPPED + rule)
    return found


def _held(corpus: Corpus, wanted: pa.Array) -> set[str]:
    found: set[str] = set()
    for path in corpus.shards():
        ids = read_shard(path, ["id"])["id"]
        found |= set(ids.filter(pc.is_in(ids, wanted)).to_pylist())
    return found
