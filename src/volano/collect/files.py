"""Users' own files as a corpus, compressed or not, and folders of them; suffixes.py has the kinds.

Files are read in order in worker processes, some megabytes at a time, and each shard of documents
is written as soon as it is full: memory does not grow with the input, and a run that was killed
goes on behind the last shard, also within a file. A bad record is put into the quarantine and
reading goes on.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.collect.batch_progress import BatchProgress
from volano.collect.document_shards import DocumentShards
from volano.collect.formats import read_entries
from volano.collect.listing import check_unchanged
from volano.collect.readers.fields import Cursor, DocumentMaker, Fields, PassedOver
from volano.collect.readers.html import page_of
from volano.collect.readers.sorting import MEMORY_LIMIT
from volano.collect.readers.text import plain_suffix
from volano.collect.section import CollectSection
from volano.collect.sources import list_sources
from volano.collect.suffixes import WEB_SUFFIXES
from volano.core.corpus import finish_corpus, read_shard, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.files import atomic_path, read_json
from volano.core.jsonlines import Problem
from volano.core.records import Document
from volano.core.step import Context, Entry, Listing
from volano.text import kernels

BATCH_BYTES = 8_000_000  # small files that one worker reads in one go


@dataclass(frozen=True)
class FileBatch:
    """The files that one call reads, and how."""

    entries: tuple[Entry, ...]
    settings: CollectSection

    @property
    def bytes(self) -> int:
        """Bytes on disk of all its files."""
        return sum(entry.bytes for entry in self.entries)


def scan_files(settings: CollectSection) -> Listing:
    """What the settings name, with its identity. Raises DataError if that is nothing."""
    return list_sources(settings)


def collect_files(settings: CollectSection, context: Context) -> None:
    """Write the corpus of the listed files into the context's folder. Raises DataError if no file
    holds a document."""
    listing = context.listing or scan_files(settings)
    batches = list(_batches(listing.entries, settings))
    reports = [context.scratch / "read" / f"{place:05d}.json" for place in range(len(batches))]
    total = sum(entry.bytes for entry in listing.entries) / 1e6
    if settings.text_format == "html" or any(
        plain_suffix(entry.key) in WEB_SUFFIXES for entry in listing.entries
    ):
        kernels.warm_up(groups=["pages"])
    with context.progress("collect", total, "MB on disk") as bar:
        context.engine.map(
            read_batch,
            batches,
            reports,
            kind="process",
            bar=bar,
            unit_of=lambda batch: batch.bytes / 1e6,
        )
    splits: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    passed_over: Counter[str] = Counter()
    parts: list[Path] = []
    for report in reports:
        described = read_json(report)
        splits.update(described["splits"])
        problems.update(described["problems"])
        passed_over.update(described["passed_over"])
        parts += sorted((report.with_suffix("") / "data").glob("*.parquet"))
    if not parts:
        raise _nothing_readable(listing.entries, reports)
    repeated, forgotten = _publish(parts, context, listing)
    if forgotten:
        splits -= forgotten
        passed_over["forgotten documents"] = forgotten.total()
    quarantined = [report.with_suffix("") / "quarantine.parquet" for report in reports]
    for place, path in enumerate(path for path in quarantined if path.is_file()):
        _link(path, shard_path(context.folder, "quarantine", place))
    if not splits.total():
        raise DataError("every document was forgotten", "collect", "Name files that hold others.")
    finish_corpus(
        context.folder,
        "document",
        {
            "splits": dict(sorted(splits.items())),
            "problems": dict(problems.most_common()),
            "passed_over": dict(passed_over.most_common()),
            "notes": list(listing.notes),
            "repeated_ids": repeated,
        },
    )
    context.bill["documents"] = sum(splits.values())


def read_batch(batch: FileBatch, output: Path) -> None:
    """Read the files of a batch into shards beside `output`; the output itself, written last, says
    how many. The function that the engine maps. A batch of which a killed attempt has written some
    shards is read from behind the last of them."""
    check_unchanged(batch.entries)
    progress = BatchProgress.of(output.with_suffix(""))
    shutil.rmtree(progress.folder / "reading", ignore_errors=True)
    documents = DocumentShards(progress.folder, progress.shards)
    for read in _records(batch, progress.folder / "reading", progress.cursor):
        if isinstance(read, Document):
            progress.splits[read.split] += 1
            if documents.add(read):
                check_unchanged(batch.entries)  # or a later run would take it for what was listed
                progress.save()
        elif isinstance(read, PassedOver):
            progress.passed_over[read.what] += 1
        else:
            progress.problems[_kind_of(read.reason)] += 1
            progress.keep(read)
    documents.close()
    check_unchanged(batch.entries)
    shutil.rmtree(progress.folder / "reading", ignore_errors=True)
    progress.finish(output)


def _records(
    batch: FileBatch, scratch: Path, cursor: Cursor
) -> Iterator[Document | Problem | PassedOver]:
    maker = DocumentMaker.of(batch.settings)
    pages = batch.settings.text_format == "html"
    for read in read_entries(batch.entries, batch.settings, scratch, cursor):
        found: Fields | Problem | PassedOver = read
        if pages and isinstance(read, Fields) and plain_suffix(read.source) not in WEB_SUFFIXES:
            found = page_of(read, maker.text_field)
        yield maker.document(found) if isinstance(found, Fields) else found


def _batches(entries: Sequence[Entry], settings: CollectSection) -> Iterator[FileBatch]:
    if settings.format == "reddit":  # threads run over files
        yield FileBatch(tuple(entries), settings)
        return
    batch: list[Entry] = []
    for entry in entries:
        if batch and sum(each.bytes for each in batch) + entry.bytes > BATCH_BYTES:
            yield FileBatch(tuple(batch), settings)
            batch = []
        batch.append(entry)
    if batch:
        yield FileBatch(tuple(batch), settings)


def _publish(parts: Sequence[Path], context: Context, listing: Listing) -> tuple[int, Counter[str]]:
    """Number the shards through, tell apart documents of one id, and leave out what was forgotten;
    gives how many were renamed, and how many of each split were left out."""
    repeated, taken = _repeated_ids(parts, context.scratch)
    seen: Counter[str] = Counter()
    changed, gone = 0, Counter[str]()
    for place, part in enumerate(parts):
        target = shard_path(context.folder, "data", place)
        ids = read_shard(part, ["id"])["id"].to_pylist() if repeated or listing.forgotten else []
        if repeated.isdisjoint(ids) and not listing.forgotten:
            _link(part, target)
            continue
        for row, identifier in enumerate(ids):
            if identifier in repeated:
                seen[identifier] += 1
                if seen[identifier] > 1:
                    while (name := f"{identifier}#{seen[identifier]}") in taken:
                        seen[identifier] += 1
                    ids[row] = name
                    changed += 1
        table = read_shard(part)
        table = table.set_column(0, table.schema.field(0), pa.array(ids, pa.string()))
        forgotten = pa.array(listing.forgets(ids, table["text"].to_pylist()), pa.bool_())
        gone.update(table.filter(forgotten)["split"].to_pylist())
        write_shard(target, table.filter(pc.invert(forgotten)))
    return changed, gone


def _repeated_ids(parts: Sequence[Path], scratch: Path) -> tuple[set[str], set[str]]:
    # Ids that several documents have, and others that look like a name made for one of those.
    # DuckDB, because it spills to disk where a Python set of all ids would fill the memory.
    import duckdb

    query = "select id from read_parquet(?) group by id having count(*) > 1"
    alike = (
        "select distinct id from read_parquet(?) where regexp_matches(id, '#[0-9]+$') "
        "and regexp_replace(id, '#[0-9]+$', '') in (select unnest(?))"
    )
    settings: dict[str, Any] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(scratch / "spill"),
    }
    with duckdb.connect(":memory:", config=settings) as database:
        database.execute("set enable_progress_bar = false")
        files = [str(part) for part in parts]
        repeated = {row[0] for row in database.execute(query, [files]).fetchall()}
        if not repeated:
            return set(), set()
        rows = database.execute(alike, [files, sorted(repeated)]).fetchall()
    return repeated, {row[0] for row in rows}


def _link(part: Path, target: Path) -> None:
    if target.exists():
        return
    with atomic_path(target) as unfinished:
        try:
            os.link(part, unfinished)
        except OSError:  # another file system, or one without links
            shutil.copyfile(part, unfinished)


def _nothing_readable(entries: Sequence[Entry], reports: Sequence[Path]) -> DataError:
    where = entries[0].key if len(entries) == 1 else f"{len(entries)} files"
    for report in reports:
        quarantine = report.with_suffix("") / "quarantine.parquet"
        if quarantine.is_file():
            first = pq.read_table(quarantine).slice(0, 1).to_pylist()[0]
            return DataError(
                f"no record can be read (first: {first['where']}: {first['reason']})",
                where,
                "Mend the files, or name others.",
            )
    passed_over = sum((Counter(read_json(each)["passed_over"]) for each in reports), Counter())
    found = ", ".join(f"{count:,} {what}" for what, count in passed_over.most_common(3))
    what = f"no document (passed over: {found})" if found else "empty"
    return DataError(what, where, "Name files that hold documents.")


def _kind_of(reason: str) -> str:
    """A reason without what differs from record to record, so that equal ones are counted."""
    kind = reason.partition(" (")[0]
    for cut in (" at byte ", " at character ", " from here "):
        kind = kind.partition(cut)[0]
    return kind
