"""What of a store's corpora was forgotten: the store keeps digests, so they are looked for."""

from collections.abc import Iterator, Sequence

from volano.core.artifact import Artifact
from volano.core.deletion import Deletion, forgotten
from volano.core.errors import StoreError
from volano.core.evidence import SHARDS, query_shards, shards_of
from volano.core.store import Store


def names_of(store: Store, deletions: Sequence[Deletion]) -> dict[str, str]:
    """Id of a deletion → id of its document, where a collection of the store still holds that."""
    wanted = {each.subject_sha256: each.id for each in deletions}
    found: dict[str, str] = {}
    for artifact in _collected(store):
        rows = query_shards(
            f"select sha256(id), id from {SHARDS} where list_contains(?, sha256(id))",
            [shards_of(artifact, "data"), list(wanted)],
        )
        found |= {wanted[digest]: str(name) for digest, name in rows}
    return found


def refuse_forgotten(store: Store, artifact: Artifact) -> None:
    """Raise StoreError if a corpus still holds documents that were forgotten since it was made:
    what is made of it would hold them once more."""
    digests = list(forgotten(store.folder))
    if artifact.kind != "corpus" or not digests:
        return
    gone = _forgotten_ids(artifact, digests)
    parents = {each["digest"] for each in artifact.parents.values()}
    for collected in _collected(store):  # its text is still the one that was forgotten
        if collected.digest in parents:
            gone |= _forgotten_ids(collected, digests)
    count = _count(artifact, gone)
    if count:
        raise StoreError(
            f"holds {count:,} document{'' if count == 1 else 's'} forgotten since it was made",
            artifact.name,
            "Run again what collected it, or take that back: volano forget --list.",
        )


def _forgotten_ids(artifact: Artifact, digests: list[str]) -> set[str]:
    shards = shards_of(artifact, "data")
    if not shards:
        return set()
    there = {row[0] for row in query_shards(f"describe select * from {SHARDS}", [shards])}
    columns = sorted(there & {"id", "text"})  # a conversation has no text
    tests = " or ".join(f"list_contains(?, sha256({name}))" for name in columns)
    query = f"select id from {SHARDS} where {tests}"
    return {str(row[0]) for row in query_shards(query, [shards, *[digests] * len(columns)])}


def _count(artifact: Artifact, ids: set[str]) -> int:
    shards = shards_of(artifact, "data")
    if not ids or not shards:
        return 0
    query = f"select count(*) from {SHARDS} where list_contains(?, id)"
    return int(query_shards(query, [shards, sorted(ids)])[0][0])


def _collected(store: Store) -> Iterator[Artifact]:
    for artifact in store.artifacts():
        step = artifact.meta["identity"]["step"]
        if artifact.kind == "corpus" and step == "collect" and shards_of(artifact, "data"):
            yield artifact
