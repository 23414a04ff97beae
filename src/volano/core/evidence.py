"""What a corpus has recorded of one document: why it was dropped, what was cut out of it.

The measurements lie beside the text, under `attributes/`, a group of columns per measurement.
"""

from collections.abc import Sequence
from typing import Any

from volano.core.artifact import Artifact
from volano.core.errors import DataError

# A folder called "id=7" above the store must not replace the ids.
SHARDS = "read_parquet(?, hive_partitioning = false)"
ANY = "list_contains(?, id) or list_has_any(source_ids, ?)"
DECISION = "decision"
CUT_BYTES = "cut_bytes"  # of a group: what it has cut out of the text, in bytes of UTF-8


def evidence(artifact: Artifact, document: str) -> dict[str, Any]:
    """All attributes that a corpus recorded of one document, group by group."""
    found: dict[str, Any] = {}
    for folder in sorted((artifact.folder / "attributes").glob("*/")):
        shards = [str(each) for each in sorted(folder.glob("*.parquet"))]
        if not shards:
            continue
        import duckdb

        with duckdb.connect() as connection:
            cursor = connection.execute(
                f"select * from {SHARDS} where id = ?",
                [shards, document],
            )
            names = [column[0] for column in cursor.description or ()]
            row = cursor.fetchone()
        if row is not None:
            found[folder.name] = dict(zip(names, row, strict=True))
    return found


def cut_out(artifact: Artifact, documents: Sequence[str]) -> str:
    """What was cut out of the first of these documents that the corpus holds, and by what:
    "237 bytes by language (1 paragraph)"; "" where nothing was, or nothing is recorded."""
    if not (artifact.folder / "attributes").is_dir():
        return ""
    found = query_shards(
        f"select id from {SHARDS} where {ANY} limit 1",
        [shards_of(artifact, "data"), list(documents), list(documents)],
    )
    told = []
    for group, values in evidence(artifact, str(found[0][0])).items() if found else ():
        if group == DECISION or not values.get(CUT_BYTES):  # the decision repeats the groups' own
            continue
        parts = []
        for name, count in values.items():  # cut_lines, paragraphs_cut
            what = name.removeprefix("cut_").removesuffix("_cut")
            if what != name and name != CUT_BYTES and count:
                parts.append(f"{count:,} {what.removesuffix('s') if count == 1 else what}")
        which = f" ({', '.join(parts)})" if parts else ""
        told.append(f"{values[CUT_BYTES]:,} bytes by {group}{which}")
    return ", ".join(told)


def dropped_by(artifact: Artifact, documents: Sequence[str]) -> str | None:
    """By which rule the corpus has dropped the first of these documents that it met, and why."""
    shards = shards_of(artifact, "dropped")
    if not shards:
        return None
    found = query_shards(
        f"select id, dropped_by from {SHARDS} where {ANY}",
        [shards, list(documents), list(documents)],
    )
    if not found:
        return None
    identifier, rule = found[0]
    decision = evidence(artifact, identifier).get(DECISION, {})
    why = decision.get("evidence") or ""
    if decision.get("value") is not None and decision.get("threshold") is not None:
        why += f" {decision['value']:.4g} against {decision['threshold']:.4g}"
    return f"by {rule}: {why.strip()}" if why else f"by {rule}"


def shards_of(artifact: Artifact, group: str) -> list[str]:
    """The paths of the shards of a group of files, such as data or dropped, in order."""
    return [str(path) for path in sorted((artifact.folder / group).glob("*.parquet"))]


def query_shards(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """The rows of a query over shards. Raises DataError where one cannot be read."""
    import duckdb

    with duckdb.connect() as connection:
        try:
            return list(connection.execute(sql, values).fetchall())
        except duckdb.Error as problem:
            what = f"not readable ({str(problem).splitlines()[0]})"
            raise DataError(what, str(values[0]), "Delete its artifact and make it anew.") from None
