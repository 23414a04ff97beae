"""Writes documents to shards as they come; one shard is in memory."""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from volano.core.corpus import shard_path, write_shard
from volano.core.records import DOCUMENT_SCHEMA, Document

SHARD_TEXT_BYTES = 6_000_000
SHARD_DOCUMENTS = 50_000  # short texts: their other columns count as well


class DocumentShards:
    """Numbers the shards of a folder's `data` in the order in which documents arrive; the first
    `written` are there already."""

    def __init__(self, folder: Path, written: int = 0) -> None:
        self.folder = folder
        self.paths = [shard_path(folder, "data", place) for place in range(written)]
        self.count = 0
        self.splits: Counter[str] = Counter()
        self._rows: list[dict[str, object]] = []
        self._bytes = 0

    def add(self, document: Document) -> bool:
        """Keep one document; a full shard is written. Whether all documents so far are."""
        self._rows.append(document.to_row())
        self._bytes += len(document.text.encode())
        self.count += 1
        self.splits[document.split] += 1
        if self._bytes >= SHARD_TEXT_BYTES or len(self._rows) >= SHARD_DOCUMENTS:
            self._write()
        return not self._rows

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        path = shard_path(self.folder, "data", len(self.paths))
        write_shard(path, pa.Table.from_pylist(self._rows, schema=DOCUMENT_SCHEMA))
        self.paths.append(path)
        self._rows, self._bytes = [], 0
