"""Which data made what: from a document up to every checkpoint that saw it, and back down.

Edges between artifacts lie in artifact.json; which documents a shard holds lies in the shards
themselves (`id`, `source_ids`), and is read with DuckDB on demand. A checkpoint says in
`seen.parquet` which documents its training really reached, a diagnosis in `cases.parquet` which
judgements it rests on, and a report or gate in `items.parquet` what it was measured on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from volano.core.artifact import Artifact
from volano.core.deletion import Deletion, forgotten_line, read_deletions
from volano.core.errors import DataError, did_you_mean
from volano.core.evidence import ANY, SHARDS, cut_out, dropped_by, query_shards, shards_of
from volano.core.feedback import FEEDBACK
from volano.core.finding import CASES_FILE
from volano.core.mixture import MIXTURE_FILE, origins_read
from volano.core.store import Store

Role = Literal[
    "holds",
    "dropped",
    "learnt from",
    "trained on",
    "inherits",
    "measured on",
    "judges",  # a checkpoint that saw it
    "erased",
    "taken back",  # forgotten for a time
]


@dataclass(frozen=True)
class Sighting:
    """One artifact that met a document, and how. `detail` is the rule, or the tokens seen."""

    artifact: str
    kind: str
    name: str
    role: Role
    detail: str = ""


@dataclass(frozen=True)
class Ancestor:
    """One artifact below another: `depth` edges down, read as `input` by the one above."""

    artifact: str
    kind: str
    name: str
    input: str
    depth: int


def trace_document(store: Store, document: str) -> list[Sighting]:
    """Every artifact that holds the document, dropped it, trained on it, was measured on it, or
    judges a checkpoint that saw it.

    In the order of making, after the line of its deletion where it was erased. Raises DataError
    where no artifact of the store has met it.
    """
    deleted = [
        Sighting("(erased)", "feedback", each.id, "erased", f"by {each.by}, {each.time}")
        for each in read_deletions(store.folder)
        if document.removeprefix(FEEDBACK) in each.events and document.startswith(FEEDBACK)
    ]
    forgotten = forgotten_line(store.folder, document)
    if forgotten is not None and not forgotten.undone:
        return _after_forgetting(store, document, forgotten)
    if forgotten is not None:
        when = f"forgotten {forgotten.time}, taken back {forgotten.undone}"
        deleted.append(Sighting("(forgotten)", "document", document, "taken back", when))
    sightings = deleted + trace_any(store, [document])
    if not sightings:
        raise DataError(
            f"no artifact has met the document '{document}'",
            str(store.folder),
            _near(document, list(_some_ids(store, document)), store),
        )
    return sightings


def _after_forgetting(store: Store, document: str, line: Deletion) -> list[Sighting]:
    # What met it, and whether that has been made again without it since.
    sightings = trace_any(store, [document])
    met = {each.artifact for each in sightings}
    labels = store.labels()
    settings = {
        store.path_of(each): each.meta["identity"]["settings"] for each in store.artifacts()
    }
    told = []
    for each in sightings:
        now = labels.get(each.name)
        if now is not None and now not in met:
            same = settings.get(now) == settings.get(each.artifact)
            other = "under its name stands one of other settings without it"
            after = f"{'made again without it' if same else other}: {now}"
        else:
            after = (
                "still stands" if now == each.artifact else "no name stands for it: volano clean"
            )
        detail = f"{each.detail}; {after}" if each.detail else after
        told.append(replace(each, detail=detail))
    first = Sighting(
        "(forgotten)", "document", document, "erased", f"{line.time}; not collected since"
    )
    return [first, *told]


def trace_any(store: Store, documents: Sequence[str]) -> list[Sighting]:
    """As `trace_document`, of what met any of several documents; none is no error."""
    documents = list(documents)
    saw: dict[str, bool] = {}  # content digest → the corpus holds, or the training met, it
    records_of: dict[str, list[list[str]]] = {}  # corpus digest → source ids of records by that id
    sightings: list[Sighting] = []
    for artifact in _oldest_first(store):
        path = store.path_of(artifact)

        def sighting(role: Role, detail: str = "", at: Artifact = artifact, p: str = path) -> None:
            sightings.append(Sighting(p, at.kind, at.name, role, detail))

        if artifact.kind == "corpus":
            records = _count(artifact, "data", documents)
            saw[artifact.digest] = bool(records)
            if records:
                records_of[artifact.digest] = _sources_of(artifact, documents)
                gone = cut_out(artifact, documents)
                without = f", without what was cut out: {gone}" if gone else ""
                sighting("holds", f"{records} record{'s' if records > 1 else ''}{without}")
            else:
                rule = dropped_by(artifact, documents)
                if rule:
                    sighting("dropped", rule)
        elif artifact.kind == "tokenizer":
            if any(saw.get(parent["digest"]) for parent in artifact.parents.values()):
                sighting("learnt from", "the corpus that it may have sampled")
        elif artifact.kind == "tokens":
            tokens = _tokens(artifact, "spans.parquet", documents)
            if tokens:
                passes = _passes(artifact, documents)
                often = f" in {passes} passes" if passes > 1 else ""
                sighting("holds", f"{tokens:,} tokens{often}")
        elif artifact.kind == "checkpoint":
            tokens = _tokens(artifact, "seen.parquet", documents)
            inherited = [
                parent["name"]
                for parent in artifact.parents.values()
                if parent["kind"] == "checkpoint" and saw.get(parent["digest"])
            ]
            read = [
                parent["name"]
                for parent in artifact.parents.values()
                if _has_reached(artifact, records_of.get(parent["digest"], []))
            ]
            if tokens:
                sighting("trained on", f"{tokens:,} tokens")
            elif read:
                sighting("trained on", f"a record of {read[0]}")
            elif inherited:
                sighting("inherits", f"from {inherited[0]}")
            saw[artifact.digest] = bool(tokens or read or inherited)
        elif artifact.kind == "report":
            cases = _cases(artifact, documents)
            judged = [
                parent["name"]
                for parent in artifact.parents.values()
                if parent["kind"] == "checkpoint" and saw.get(parent["digest"])
            ]
            if cases:
                halves = ", ".join(sorted(set(cases.values())))
                sighting("holds", f"{len(cases)} case{'s' if len(cases) > 1 else ''}: {halves}")
                documents += [name for name in cases if name not in documents]
            elif _measured_on(artifact, documents):
                sighting("measured on")
            elif judged:
                sighting("judges", f"{', '.join(judged)}")
    return sightings


def collected_text(store: Store, document: str) -> str | None:
    """The text of a document as a collection has taken it; None where none has."""
    for artifact in store.artifacts():
        if artifact.kind == "corpus" and artifact.meta["identity"]["step"] == "collect":
            found = query_shards(
                f"select text from {SHARDS} where id = ? limit 1",
                [shards_of(artifact, "data"), document],
            )
            if found:
                return str(found[0][0])
    return None


def ancestors(store: Store, artifact: Artifact) -> list[Ancestor]:
    """All artifacts that it was made from, nearest first, each once."""
    everything = store.artifacts()
    by_digest = {each.digest: each for each in everything}
    by_fingerprint = {each.fingerprint: each for each in everything}
    found: dict[str, Ancestor] = {}
    layer = [artifact]
    depth = 0
    while layer:
        depth += 1
        below = []
        for each in layer:
            for name, parent in sorted(each.parents.items()):
                if parent["digest"] in found:
                    continue
                # Of two artifacts with equal content, the one that was really read.
                known = by_fingerprint.get(parent["fingerprint"]) or by_digest.get(parent["digest"])
                path = store.path_of(known) if known else "(deleted)"
                found[parent["digest"]] = Ancestor(
                    path, parent["kind"], parent["name"], name, depth
                )
                if known:
                    below.append(known)
        layer = below
    return list(found.values())


def descendants(store: Store, artifact: Artifact) -> list[Ancestor]:
    """All artifacts that were made from it, nearest first, each once."""
    found: dict[str, Ancestor] = {}
    layer = [artifact]
    depth = 0
    everything = store.artifacts()
    while layer:
        depth += 1
        digests = {each.digest for each in layer}
        layer = []
        for each in everything:
            used = [n for n, p in each.parents.items() if p["digest"] in digests]
            path = store.path_of(each)
            if used and path not in found:
                found[path] = Ancestor(path, each.kind, each.name, used[0], depth)
                layer.append(each)
    return list(found.values())


def sources(store: Store, artifact: Artifact) -> dict[str, dict[str, int]]:
    """Sources and licences of all data below an artifact: name → records.

    Counted in the corpora that training or tokenizing read, so that a source that was dropped, or
    that a mixture leaves out, is not named.
    A document counts once as such and once per conversation or preference made of it.
    """
    below = {each.artifact for each in ancestors(store, artifact)} | {store.path_of(artifact)}
    corpora = [
        each for each in store.artifacts() if each.kind == "corpus" and store.path_of(each) in below
    ]
    inputs = {
        parent["digest"]
        for each in store.artifacts()
        if each.kind in {"tokens", "checkpoint", "tokenizer"} and store.path_of(each) in below
        for name, parent in each.parents.items()
        if not name.startswith("held_out")  # measured on while training, never learnt from
    }
    used = [each for each in corpora if each.digest in inputs] or corpora
    totals: dict[str, dict[str, int]] = {"sources": {}, "licences": {}}
    for each in used:
        origins = origins_read(each.corpus())
        for group, counts in totals.items():
            for name, count in origins[group].items():
                counts[name] = counts.get(name, 0) + count
    return totals


def _oldest_first(store: Store) -> list[Artifact]:
    # A child is never made before its parents, and equal contents keep the order of their paths.
    pending = store.artifacts()
    present = {each.digest for each in pending}
    done: set[str] = set()
    ordered: list[Artifact] = []
    while pending:
        ready = [
            each
            for each in pending
            if all(p["digest"] in done or p["digest"] not in present for p in each.parents.values())
        ]
        ordered += ready
        done |= {each.digest for each in ready}
        placed = {each.folder for each in ready}
        pending = [each for each in pending if each.folder not in placed]
        if not ready:
            ordered += pending
            break
    return ordered


def _count(artifact: Artifact, group: str, documents: Sequence[str]) -> int:
    shards = shards_of(artifact, group)
    if not shards:
        return 0
    found = query_shards(
        f"select count(*) from {SHARDS} where {ANY}",
        [shards, list(documents), list(documents)],
    )
    return int(found[0][0])


# file of an artifact → the column with the document's id, the column with its tokens
TOKEN_COLUMNS = {"spans.parquet": ("document", "length"), "seen.parquet": ("id", "tokens")}


def _tokens(artifact: Artifact, file: str, documents: Sequence[str]) -> int:
    path = artifact.folder / file
    if not path.is_file():
        return 0
    name, tokens = TOKEN_COLUMNS[file]
    found = query_shards(
        f"select coalesce(sum({tokens}), 0) from {SHARDS} where list_contains(?, {name})",
        [str(path), list(documents)],
    )
    return int(found[0][0])


def _passes(artifact: Artifact, documents: Sequence[str]) -> int:
    """How often packed tokens hold the one of these documents that they hold most often."""
    if not (artifact.folder / MIXTURE_FILE).is_file():
        return 1
    found = query_shards(
        f'select count(*) as times from {SHARDS} where list_contains(?, document) and "offset" = 0 '
        "group by document order by times desc limit 1",
        [str(artifact.folder / "spans.parquet"), list(documents)],
    )
    return int(found[0][0]) if found else 0


def _sources_of(artifact: Artifact, records: Sequence[str]) -> list[list[str]]:
    """The source ids of the corpus's records that have one of these ids themselves."""
    found = query_shards(
        f"select source_ids from {SHARDS} where list_contains(?, id)",
        [shards_of(artifact, "data"), list(records)],
    )
    return [list(row[0]) for row in found if row[0]]


def _has_reached(artifact: Artifact, records: Sequence[Sequence[str]]) -> bool:
    """Whether the training met all that some record was made of; it counts by these sources."""
    path = artifact.folder / "seen.parquet"
    if not records or not path.is_file():
        return False
    sources = sorted({name for record in records for name in record})
    found = query_shards(
        f"select distinct id from {SHARDS} where list_contains(?, id)", [str(path), sources]
    )
    seen = {str(row[0]) for row in found}
    return any(seen.issuperset(record) for record in records)


def _cases(artifact: Artifact, documents: Sequence[str]) -> dict[str, str]:
    """Id and half of the cases that are made of these judgements, or about these documents."""
    path = artifact.folder / CASES_FILE
    if not path.is_file():
        return {}
    wanted = list(documents)
    found = query_shards(
        f"select id, half from {SHARDS} where list_contains(?, id) "
        "or list_has_any(events, ?) or list_has_any(documents, ?)",
        [str(path), wanted, wanted, wanted],
    )
    return {str(name): str(half) for name, half in found}


def _measured_on(artifact: Artifact, documents: Sequence[str]) -> bool:
    path = artifact.folder / "items.parquet"
    if not path.is_file():
        return False
    found = query_shards(
        f"select count(*) from {SHARDS} where list_contains(?, id)",
        [str(path), list(documents)],
    )
    return int(found[0][0]) > 0


def _near(document: str, ids: list[str], store: Store) -> str:
    names = [each.name for each in store.artifacts()]
    if ids or get_close_matches(document, names, n=1):
        return did_you_mean(document, [*ids, *names])
    return "Name a document's id, as `volano show CORPUS --json` has them, or an artifact."


def _some_ids(store: Store, document: str) -> Iterator[str]:
    # Ids that share the last part of the name: enough for a did-you-mean, without reading all.
    tail = document.replace(":", ".").rsplit(".", 1)[-1]
    for artifact in store.artifacts():
        shards = shards_of(artifact, "data") if artifact.kind == "corpus" else []
        if shards and not artifact.parents:
            rows = query_shards(
                f"select id from {SHARDS} where contains(id, ?) limit 50",
                [shards, tail],
            )
            yield from (str(row[0]) for row in rows)
