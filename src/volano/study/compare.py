"""Two base models, document by document: is the second better, and what differs in their data.

Both read the same held-out documents, so the comparison is paired by document. That tells of these
two models. Whether the way in which they were made is better takes several seeds of each
(study/ablation.py): another seed of the same way differs too.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.store import Store
from volano.evaluate.section import DomainsSection
from volano.evaluate.step import DOMAINS, HELD_OUT_FUNCTIONS
from volano.stats.intervals import ratio_interval
from volano.stats.paired import paired_difference
from volano.study.difference import difference

HELD_OUT, BASE, ALL = "held_out", "base", "all"
HELD_OUT_STEP = HELD_OUT_FUNCTIONS.name
DOCUMENTS_FILE = "documents.parquet"  # beside a report of DOMAINS
SEED = 1


class DomainDifference(NamedTuple):
    """Bits per byte of both on one domain, and of second − first with its 95 % interval."""

    domain: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int


class Apart(NamedTuple):
    """A step behind both models whose artifacts are not the same, and how."""

    step: str
    lines: list[str]


class Seen(NamedTuple):
    """Documents that training has read."""

    only_first: int
    only_second: int
    both: int
    only_first_by_source: Mapping[str, int]
    only_second_by_source: Mapping[str, int]


@dataclass(frozen=True)
class Compared:
    """The answer of `volano compare`."""

    first: Artifact
    second: Artifact
    domains: list[DomainDifference]
    apart: list[Apart]
    seen: Seen


def compare(
    store: Store,
    first: Artifact,
    second: Artifact,
    *,
    section: DomainsSection,
    held_out: Artifact | None = None,
    workers: int = 0,
    silent: bool = False,
) -> Compared:
    """Measure both on `held_out`, by default the documents that both were kept from, and compare.

    Raises StoreError where one is no checkpoint, or no held-out documents are the same for both.
    """
    for each in (first, second):
        if each.kind != "checkpoint":
            what = f"this is a {each.kind}, not a checkpoint"
            raise StoreError(what, each.name, "Name two checkpoints.")
    by_digest = {each.digest: each for each in store.artifacts()}
    ancestors = [_ancestors(each, by_digest) for each in (first, second)]
    if held_out is None:
        held_out = _held_out(first, second, ancestors)
    measured = []
    for each in (first, second):
        order = store.order(
            DOMAINS, section, {BASE: each, HELD_OUT: held_out}, name=f"{each.name}-domains"
        )
        measured.append(store.make(order, workers=workers, silent=silent).artifact)
    return Compared(
        first,
        second,
        _by_domain(*measured),
        _apart(*ancestors),
        _seen(ancestors),
    )


def _ancestors(artifact: Artifact, by_digest: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Digest → artifact, of all that one was made of, the nearest first."""
    found: dict[str, Artifact] = {}
    waiting = [artifact]
    while waiting:
        each = waiting.pop(0)
        if each.digest not in found:
            found[each.digest] = each
            parents = (parent["digest"] for parent in each.parents.values())
            waiting += [by_digest[digest] for digest in parents if digest in by_digest]
    return found


def _held_out(first: Artifact, second: Artifact, ancestors: list[dict[str, Artifact]]) -> Artifact:
    known = [_of_step(found)[HELD_OUT_STEP] for found in ancestors]
    both = [each for each in known[0] if each.digest in {other.digest for other in known[1]}]
    if not both:
        raise StoreError(
            "the two were not kept from the same held-out documents",
            f"{first.name} and {second.name}",
            "Name a corpus that neither has read: --on CORPUS.",
        )
    return both[0]


def _by_domain(one: Artifact, two: Artifact) -> list[DomainDifference]:
    tables = [pq.read_table(each.folder / DOCUMENTS_FILE) for each in (one, two)]
    assert tables[0]["id"].equals(tables[1]["id"]), "one section, one corpus"
    domains = np.array(tables[0]["domain"].to_pylist())
    sizes = tables[0]["utf8_bytes"].to_numpy().astype(np.float64)
    bits = [each["bits"].to_numpy() for each in tables]
    names = sorted(set(domains.tolist()))
    found = []
    for name in [ALL, *names] if len(names) > 1 else names:
        chosen = np.ones(len(domains), bool) if name == ALL else domains == name
        if chosen.sum() < 2 or not sizes[chosen].sum():
            continue
        ours, theirs, of = bits[0][chosen], bits[1][chosen], sizes[chosen]
        apart = ratio_interval((theirs - ours).tolist(), of.tolist(), seed=SEED)
        p_value = paired_difference(ours.tolist(), theirs.tolist(), seed=SEED).p_value
        found.append(
            DomainDifference(
                name,
                float(ours.sum() / of.sum()),
                float(theirs.sum() / of.sum()),
                apart.value,
                apart.low,
                apart.high,
                p_value,
                apart.n,
            )
        )
    return found


def _of_step(ancestors: Mapping[str, Artifact]) -> Mapping[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = defaultdict(list)
    for each in ancestors.values():
        found[each.meta["identity"]["step"]].append(each)
    return found


def _apart(one: dict[str, Artifact], two: dict[str, Artifact]) -> list[Apart]:
    here, there = _of_step(one), _of_step(two)
    found = []
    for step in here:
        lines: list[str] = []
        # Nearest to nearest: where a step is behind a model more than once, its turns pair up.
        for ours, theirs in zip(here[step], there.get(step, []), strict=False):
            lines += [] if ours.digest == theirs.digest else _lines(ours, theirs)
        if lines:
            found.append(Apart(step, lines))
    for whose, mine, others in (("first", here, there), ("second", there, here)):
        alone = [step for step in mine if step not in others]
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


def _seen(ancestors: list[dict[str, Artifact]]) -> Seen:
    read = [_read(each) for each in ancestors]
    only = [read[0] - read[1], read[1] - read[0]]
    by_source = [_sources(ids, found) for ids, found in zip(only, ancestors, strict=True)]
    return Seen(len(only[0]), len(only[1]), len(read[0] & read[1]), *by_source)


def _read(ancestors: Mapping[str, Artifact]) -> set[str]:
    """By the model itself, and by those that it went on from."""
    found: set[str] = set()
    for each in ancestors.values():
        path = each.folder / "seen.parquet"
        if each.kind == "checkpoint" and path.is_file():
            found |= set(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return found


def _sources(ids: set[str], ancestors: Mapping[str, Artifact]) -> dict[str, int]:
    source_of: dict[str, str] = {}
    for each in ancestors.values():
        if each.kind == "corpus" and ids:
            columns = each.corpus().to_arrow(["id", "source"])
            source_of |= dict(
                zip(columns["id"].to_pylist(), columns["source"].to_pylist(), strict=True)
            )
    counted = Counter(source_of.get(each, "not known") for each in ids)
    return dict(counted.most_common())
