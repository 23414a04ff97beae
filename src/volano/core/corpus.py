"""A corpus: immutable Parquet shards of one record type, with every attribute beside the text.

    data/00000.parquet              the records; all that the README names to `datasets`
    attributes/GROUP/00000.parquet  an id and derived numbers, also of dropped records
    dropped/00000.parquet           records that a filter took out, and the filter's name
    quarantine/00000.parquet        what could not be read: where, why, the first bytes
    manifest.json                   counts, digests, schema, sources, licences

A threshold is thus re-cut without recomputing anything, and a filter never destroys what it judged.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.core.errors import DataError, did_you_mean
from volano.core.files import atomic_path, file_digest, read_json, write_json
from volano.core.records import RECORDS, Record

FORMAT = 1
ROW_GROUP_ROWS = 8192
DOUBLE_QUOTE = '"'
QUARANTINE_SCHEMA = pa.schema(
    [("where", pa.string()), ("reason", pa.string()), ("excerpt", pa.string())]
)


def shard_path(folder: Path, group: str, place: int) -> Path:
    """Where shard number `place` of `data`, `dropped`, `attributes/NAME` … lies."""
    return folder / group / f"{place:05d}.parquet"


def write_shard(path: Path, table: pa.Table) -> None:
    """Write one shard: zstd, whole or absent, the same bytes for the same rows."""
    # Chunks and field metadata would show in the bytes, and they only tell where a table came from.
    schema = pa.schema([pa.field(each.name, _bare_type(each.type)) for each in table.schema])
    table = table.cast(schema).combine_chunks()
    with atomic_path(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def read_shard(
    path: Path, columns: Sequence[str] | None = None, *, without: Sequence[str] = ()
) -> pa.Table:
    """One shard as a table. Raises DataError where it is absent, truncated or no Parquet."""
    with _opened(path) as file:
        names = file.schema_arrow.names if columns is None else columns
        return file.read(columns=[name for name in names if name not in without])


def shard_rows(path: Path) -> int:
    """How many records a shard has, of which none is read. Raises DataError as `read_shard`."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        # One file: no partition columns guessed from folder names.
        with pq.ParquetFile(path) as file:
            yield file
        return
    except FileNotFoundError:
        problem = "shard missing"
    except (pa.ArrowException, OSError) as failure:
        problem = f"not readable as Parquet ({str(failure).partition(chr(10))[0]})"
    raise DataError(problem, str(path), "Delete the corpus and run again to build it anew.")


def _bare_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _bare_type(kind.value_type)))
    if pa.types.is_struct(kind):
        parts = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([pa.field(part.name, _bare_type(part.type)) for part in parts])
    return kind


def finish_corpus(
    folder: Path,
    record: str,
    extra: dict[str, Any] | None = None,
    *,
    card: str = "",
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write the manifest and the README of a folder whose shards are complete. `card` is what the
    README says beyond its first lines, `header` what hubs read at its head."""
    shards = sorted((folder / "data").glob("*.parquet"))
    sources: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    count = text_bytes = 0
    described = []
    for shard in shards:
        table = read_shard(shard)
        count += table.num_rows
        sources.update(table["source"].to_pylist())
        licences.update(value or "not stated" for value in table["licence"].to_pylist())
        kinds.update(table["kind"].to_pylist())
        text_bytes += _text_bytes(table)
        described.append(
            {"path": f"data/{shard.name}", "records": table.num_rows, "sha256": file_digest(shard)}
        )
    quarantined = sum(
        pq.read_metadata(path).num_rows for path in (folder / "quarantine").glob("*.parquet")
    )
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "record": record,
            "records": count,
            "text_bytes": text_bytes,
            "schema": {field.name: str(field.type) for field in RECORDS[record].schema},
            "shards": described,
            "sources": dict(sorted(sources.items())),
            "licences": dict(sorted(licences.items())),
            "kinds": dict(sorted(kinds.items())),
            "quarantined": quarantined,
            **(extra or {}),
        },
    )
    _write_readme(folder, record, count, card, header or {})


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk, read on demand. Open one with `Corpus.open(folder)`."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path | str) -> "Corpus":
        """The corpus in a folder. Raises DataError where the folder holds none."""
        folder = Path(folder)
        if not (folder / "manifest.json").is_file():
            raise DataError(
                "no corpus here (manifest.json is missing)", str(folder), "Name a corpus folder."
            )
        manifest = read_json(folder / "manifest.json")
        if manifest.get("format", 0) > FORMAT:
            raise DataError(
                f"written by a newer Volano (corpus format {manifest['format']})",
                str(folder),
                "Upgrade Volano to read it.",
            )
        return cls(folder, manifest)

    @property
    def record(self) -> type[Record]:
        """The type of its records."""
        return RECORDS[self.manifest["record"]]

    def __len__(self) -> int:
        return int(self.manifest["records"])

    def shards(self, group: str = "data") -> list[Path]:
        """The shards of `data` (or of `dropped`, `attributes/NAME` …) in order."""
        if group == "data":  # as the manifest has them, or a lost shard would go unnoticed
            return [self.folder / each["path"] for each in self.manifest["shards"]]
        return sorted((self.folder / group).glob("*.parquet"))

    def groups(self) -> list[str]:
        """The names of the attribute groups."""
        return sorted({path.parent.name for path in self.folder.glob("attributes/*/*.parquet")})

    def attributes(self, group: str) -> pa.Table:
        """All rows of one attribute group, those of dropped records included."""
        if group not in self.groups():
            raise DataError(
                f"no attributes '{group}'", str(self.folder), did_you_mean(group, self.groups())
            )
        return pa.concat_tables(self.attribute_tables(group), promote_options="default")

    def attribute_tables(
        self, group: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """The same, one shard after the other; shard n of each group is about the same records."""
        for path in self.shards(f"attributes/{group}"):
            yield read_shard(path, columns)

    def dropped(self) -> pa.Table:
        """The records that filters took out, with `dropped_by`."""
        return self._table(
            "dropped", self.record.schema.append(pa.field("dropped_by", pa.string()))
        )

    def quarantine(self) -> pa.Table:
        """What could not be read: `where`, `reason`, `excerpt`."""
        return self._table("quarantine", QUARANTINE_SCHEMA)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The records; a column "GROUP.NAME" is joined from the attributes by id."""
        own = [field.name for field in self.record.schema]
        wanted = own if columns is None else list(columns)
        groups = {name.split(".", 1)[0] for name in wanted if name not in own and "." in name}
        plain = [name for name in wanted if name in own]
        read = plain if "id" in plain else ["id", *plain]
        table = self._table("data", self.record.schema, read)
        for group in sorted(groups):
            attributes = self.attributes(group)
            # Not Arrow's join: it loses the order of rows, refuses lists, and doubles a row whose
            # id stands twice among the attributes. The first of them counts.
            ids = attributes["id"].cast(table["id"].type).combine_chunks()
            found = attributes.drop_columns(["id"]).take(pc.index_in(table["id"], ids))
            for name in found.column_names:
                table = table.append_column(f"{group}.{name}", found[name])
        for name in wanted:
            if name not in table.column_names:
                known = own + [n for n in table.column_names if n not in own] + self.groups()
                raise DataError(f"no column '{name}'", str(self.folder), did_you_mean(name, known))
        return table.select(wanted)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """The records as a pandas DataFrame (pandas must be installed)."""
        return self.to_arrow(columns).to_pandas()

    def duckdb(self) -> Any:
        """A DuckDB connection with views `data`, `dropped` and one per attribute group."""
        import duckdb

        connection = duckdb.connect()
        names = {"data": "data", "dropped": "dropped"}
        names |= {group: f"attributes/{group}" for group in self.groups()}
        for view, group in names.items():
            shards = ", ".join(_quoted(str(path), "'") for path in self.shards(group))
            if shards:
                # No hive columns: a folder called "id=7" above the store would replace the ids.
                connection.execute(
                    f"create view {_quoted(view, DOUBLE_QUOTE)} as from read_parquet("
                    f"[{shards}], hive_partitioning = false, union_by_name = true)"
                )
        return connection

    def records(self) -> Iterator[Any]:
        """The records one by one, in order; only one shard is in memory."""
        for shard in self.shards():
            for row in read_shard(shard).to_pylist():
                yield self.record.from_row(row)

    def _table(
        self, group: str, schema: pa.Schema, columns: Sequence[str] | None = None
    ) -> pa.Table:
        tables = [read_shard(path, columns) for path in self.shards(group)]
        names = [name for name in schema.names if columns is None or name in columns]
        empty = pa.schema([schema.field(name) for name in names]).empty_table()
        return pa.concat_tables(tables, promote_options="default") if tables else empty


def _quoted(name: str, quote: str) -> str:
    return quote + name.replace(quote, 2 * quote) + quote


def _text_bytes(table: pa.Table) -> int:
    # The offsets know the length of each text; no string is ever made.
    if "text" in table.column_names:
        return int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)
    parts = [
        name for name in ("messages", "prompt", "chosen", "rejected") if name in table.schema.names
    ]
    flat = [pc.struct_field(pc.list_flatten(table[name]), "content") for name in parts]
    return sum(int(pc.sum(pc.binary_length(column)).as_py() or 0) for column in flat)


def _write_readme(
    folder: Path, record: str, count: int, card: str, header: Mapping[str, Any]
) -> None:
    # JSON is YAML, and quotes whatever a source may be called.
    head = "".join(f"{name}: {json.dumps(value)}\n" for name, value in header.items())
    readme = f"""---
{head}configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
---
{count:,} records of type {record}, written by Volano. `manifest.json` has the sources, licences
and digests. Attributes lie beside the records under `attributes/`, joined by `id`.
"""
    readme += f"\n{card}" if card else ""
    with atomic_path(folder / "README.md") as unfinished:
        unfinished.write_text(readme, "utf-8")
