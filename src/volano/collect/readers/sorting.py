"""Rows that come in one order and are needed in another, on disk: a dump does not fit into memory.

Answers stand months behind their questions. DuckDB sorts what is put down in Parquet, and spills
to a folder of ours where memory does not suffice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

RUN_BYTES = 1 << 24  # of text in memory before it is written
RUN_ROWS = 50_000
MEMORY_LIMIT = "512MB"
READ_ROWS = 1000


class SortedRows:
    """Rows of one schema below a folder of their own. First all `add`, then one `read`."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._runs: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Put one row down."""
        self._rows.append(row)
        self._bytes += sum(len(value) for value in row.values() if isinstance(value, str))
        if self._bytes >= RUN_BYTES or len(self._rows) >= RUN_ROWS:
            self._write()

    def read(self, order: str) -> Iterator[dict[str, Any]]:
        """All rows in the order of an ORDER BY."""
        import duckdb

        self._write()
        settings: dict[str, Any] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(self.folder / "spill"),
            "threads": 2,
        }
        with duckdb.connect(":memory:", config=settings) as database:
            database.execute("set enable_progress_bar = false")
            database.execute(f"select * from read_parquet(?) order by {order}", [self._runs])
            while rows := database.fetchmany(READ_ROWS):
                yield from (dict(zip(self.schema.names, row, strict=True)) for row in rows)

    def _write(self) -> None:
        if not self._rows and self._runs:
            return
        path = self.folder / f"{len(self._runs):05d}.parquet"
        table = pa.Table.from_pylist(self._rows, schema=self.schema)
        pq.write_table(table, path, compression="zstd")
        self._runs.append(str(path))
        self._rows, self._bytes = [], 0
