"""Parquet and Arrow files: one record a row, read a batch at a time."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from volano.collect.readers.fields import Cursor, Fields, Read
from volano.core.jsonlines import Problem

BATCH_ROWS = 1024
FILE_MARK = b"ARROW1"


def read_parquet(path: Path, name: str, cursor: Cursor) -> Read:
    """The rows of a file. A damaged row group is one problem, a file without its end another."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as failure:
        yield Problem(name, f"not Parquet, or truncated ({_first_line(failure)})", "")
        return
    with file:
        begin, done = cursor.state or (0, 0)  # row group, and rows of it that have been read
        first_row = sum(file.metadata.row_group(group).num_rows for group in range(begin))
        for group in range(begin, file.num_row_groups):
            row = first_row
            try:
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group]):
                    unread = batch.slice(min(done, batch.num_rows))
                    row += batch.num_rows - unread.num_rows
                    done -= batch.num_rows - unread.num_rows
                    for read in _rows(unread, name, row + 1):
                        row += 1
                        cursor.state = [group, row - first_row]
                        yield read
            except (pa.ArrowException, OSError) as failure:
                cursor.state = [group + 1, 0]
                reason = f"damaged from here to the end of row group {group}"
                yield Problem(f"{name}:{row + 1}", f"{reason} ({_first_line(failure)})", "")
            done = 0
            first_row += file.metadata.row_group(group).num_rows


def read_arrow(path: Path, name: str) -> Read:
    """The rows of a file as Arrow itself stores them, as a stream (so `datasets` does) or as a file
    (Feather). Damage ends the reading; what stood before it counts."""
    row = 0
    try:
        with pa.memory_map(str(path)) as source:
            for batch in _arrow_batches(source):
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from _checked_rows(batch.slice(start, BATCH_ROWS), name, row + 1)
                    row += min(BATCH_ROWS, batch.num_rows - start)
    except (pa.ArrowException, OSError) as failure:
        yield Problem(f"{name}:{row + 1}", f"not Arrow, or truncated ({_first_line(failure)})", "")


def _checked_rows(batch: pa.RecordBatch, name: str, first: int) -> Read:
    # Arrow believes the offsets in its own files; wrong ones would lead beyond the memory.
    try:
        batch.validate(full=True)
    except pa.ArrowException as failure:
        if batch.num_rows == 1:
            yield Problem(f"{name}:{first}", f"damaged ({_first_line(failure)})", "")
            return
        for place in range(batch.num_rows):
            yield from _checked_rows(batch.slice(place, 1), name, first + place)
        return
    yield from _rows(batch, name, first)


def _arrow_batches(source: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    if source.size() == 0:
        raise pa.ArrowInvalid("empty")
    if source.read(len(FILE_MARK)) == FILE_MARK:
        file = pa.ipc.open_file(source)
        yield from (file.get_batch(place) for place in range(file.num_record_batches))
        return
    source.seek(0)
    yield from pa.ipc.open_stream(source)


def _rows(batch: pa.RecordBatch, name: str, first: int) -> Read:
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        # Some writers call bytes a string; only their own rows are lost.
        for place in range(batch.num_rows):
            where = f"{name}:{first + place}"
            try:
                yield Fields(where, name, batch.slice(place, 1).to_pylist()[0])
            except UnicodeDecodeError as failure:
                yield Problem(where, f"not UTF-8 at byte {failure.start}", "")
        return
    for place, values in enumerate(rows):
        yield Fields(f"{name}:{first + place}", name, values)


def _first_line(failure: Exception) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0]
