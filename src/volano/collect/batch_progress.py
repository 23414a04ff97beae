"""How far a batch of files has been read: what lets a killed run go on within a large file.

With each shard of documents its folder gets the problems met since the one before, and then
`progress.json`, which counts both and says where to read on. What these count is never made again;
what a killed attempt has left beyond it is overwritten or deleted.

    data/00000.parquet       documents
    problems/00000.parquet   those met while the first shard was gathered, if there were any
    progress.json            where to read on, and what was counted up to there
    quarantine.parquet       all problems, once the batch has been read
"""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from volano.collect.readers.fields import Cursor
from volano.core.corpus import read_shard, shard_path, write_shard
from volano.core.errors import StoreError
from volano.core.files import read_json, remove_unfinished, write_json
from volano.core.jsonlines import Problem, quarantine_table

MAX_PROBLEMS_KEPT = 10_000  # of one batch; the rest are counted
PROGRESS = "progress.json"


@dataclass
class BatchProgress:
    """What a batch has given so far, up to the shard that was written last."""

    folder: Path
    cursor: Cursor = field(default_factory=Cursor)
    shards: int = 0
    problems_kept: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    _unwritten: list[Problem] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> "BatchProgress":
        """The progress of the batch whose shards lie in this folder: none if there is no folder."""
        found = cls(folder)
        kept = _kept(folder)
        if kept is not None:
            found.cursor = Cursor(kept["cursor"])
            found.shards, found.problems_kept = kept["shards"], kept["problems_kept"]
            found.splits.update(kept["splits"])
            found.problems.update(kept["problems"])
            found.passed_over.update(kept["passed_over"])
        for path in (*folder.glob("data/*.parquet"), *folder.glob("problems/*.parquet")):
            if int(path.stem) >= found.shards:  # of a shard that was not finished
                path.unlink()
        remove_unfinished(folder)
        return found

    def keep(self, problem: Problem) -> None:
        """Put a problem on record, unless there are very many."""
        if self.problems_kept < MAX_PROBLEMS_KEPT:
            self._unwritten.append(problem)
            self.problems_kept += 1

    def save(self) -> None:
        """One more shard is written, and `cursor` stands behind its last document."""
        self._write_problems()
        self.shards += 1
        kept = {"shards": self.shards, "problems_kept": self.problems_kept}
        write_json(self.folder / PROGRESS, {"cursor": self.cursor.state, **kept, **self._counts()})

    def finish(self, output: Path) -> None:
        """All is read: the quarantine of the batch, and the report that says so."""
        self._write_problems()
        parts = [read_shard(path) for path in sorted((self.folder / "problems").glob("*.parquet"))]
        if parts:
            write_shard(self.folder / "quarantine.parquet", pa.concat_tables(parts))
        write_json(output, self._counts())

    def _write_problems(self) -> None:
        if self._unwritten:
            path = shard_path(self.folder, "problems", self.shards)
            write_shard(path, quarantine_table(self._unwritten))
            self._unwritten.clear()

    def _counts(self) -> dict[str, dict[str, int]]:
        return {
            "splits": dict(self.splits),
            "problems": dict(self.problems),
            "passed_over": dict(self.passed_over),
        }


def _kept(folder: Path) -> dict[str, Any] | None:
    # None where there is no progress, and where what it tells of is not there: then all of the
    # batch is read again.
    if not (folder / PROGRESS).is_file():
        return None
    try:
        kept: dict[str, Any] = read_json(folder / PROGRESS)
        if all(shard_path(folder, "data", place).is_file() for place in range(kept["shards"])):
            return kept
    except (StoreError, KeyError, TypeError):
        pass
    shutil.rmtree(folder)
    return None
