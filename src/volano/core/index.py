"""The index of a store: which artifacts there are and what they were made from.

Only the folders are the truth. The SQLite file saves reading every artifact.json each time; it is
brought up to date whenever a store is opened, and built anew when it is damaged or lost.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from volano.core.artifact import COMMIT
from volano.core.errors import StoreError
from volano.core.files import read_json

KINDS = ("corpus", "classifier", "tokenizer", "tokens", "checkpoint", "report")
INDEX_FORMAT = 1
LOCK_SECONDS = 30.0
SCHEMA = """
create table if not exists artifacts (
    path text primary key, modified integer, kind text, name text, fingerprint text, digest text,
    meta text);
create index if not exists by_fingerprint on artifacts (fingerprint);
create table if not exists edges (child text, input text, parent_digest text);
"""


class Index:
    """The artifacts of one store folder, by path, fingerprint and parent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.connection = self._open(root / "index.sqlite")
        self.refresh()

    def refresh(self) -> None:
        """Bring the index up to date with the folders."""
        try:
            self._refresh()
        except sqlite3.Error:  # deleted or damaged meanwhile, locked, disk full: memory will do
            self.connection = _prepared(sqlite3.connect(":memory:"))
            self._refresh()

    def _refresh(self) -> None:
        found = dict(_commits(self.root))
        known = dict(self.connection.execute("select path, modified from artifacts"))
        for path in known.keys() - found.keys():
            self._forget(path)
        for path, modified in found.items():
            if known.get(path) != modified:
                self._forget(path)
                self._add(path, modified)
        self.connection.commit()

    def find(self, fingerprint: str) -> str | None:
        """The path of the artifact with that fingerprint."""
        row = self.connection.execute(
            "select path from artifacts where fingerprint = ? order by path", [fingerprint]
        ).fetchone()
        return None if row is None else str(row[0])

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        """Path and artifact.json of each artifact, by path."""
        rows = self.connection.execute("select path, meta from artifacts order by path")
        return [(path, json.loads(meta)) for path, meta in rows]

    def children(self, digest: str) -> list[tuple[str, str]]:
        """Paths of the artifacts made from the one with that content, and as which input."""
        return list(
            self.connection.execute(
                "select child, input from edges where parent_digest = ? order by child", [digest]
            )
        )

    def _open(self, path: Path) -> sqlite3.Connection:
        for _ in range(2):
            try:
                return _prepared(sqlite3.connect(path, timeout=LOCK_SECONDS))
            except sqlite3.OperationalError:
                break  # read-only store, or a full disk
            except sqlite3.DatabaseError:
                with suppress(OSError):
                    path.unlink()  # damaged: the folders have it all
        return _prepared(sqlite3.connect(":memory:"))

    def _forget(self, path: str) -> None:
        self.connection.execute("delete from artifacts where path = ?", [path])
        self.connection.execute("delete from edges where child = ?", [path])

    def _add(self, path: str, modified: int) -> None:
        try:
            meta = read_json(self.root / path / COMMIT)
            row = [meta[key] for key in ("kind", "name", "fingerprint", "digest")]
            parents = [(name, each["digest"]) for name, each in meta["parents"].items()]
        except (StoreError, KeyError, TypeError, AttributeError):
            return  # damaged: as good as absent; the step makes it again
        self.connection.execute(
            "insert or replace into artifacts values (?, ?, ?, ?, ?, ?, ?)",
            [path, modified, *row, json.dumps(meta)],
        )
        self.connection.executemany(
            "insert into edges values (?, ?, ?)", [[path, *parent] for parent in parents]
        )


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    if connection.execute("pragma quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")
    (version,) = connection.execute("pragma user_version").fetchone()
    if version not in {0, INDEX_FORMAT}:
        raise sqlite3.DatabaseError("of another Volano")
    if version == 0:
        connection.executescript(f"{SCHEMA} pragma user_version = {INDEX_FORMAT};")
    return connection


def has_artifacts(root: Path) -> bool:
    """Whether a folder holds an artifact where a store would have it."""
    return next(_commits(root), None) is not None


def _commits(root: Path) -> Iterator[tuple[str, int]]:
    for kind in KINDS:
        stack = [root / kind]
        while stack:
            folder = stack.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                continue
            commit = next((each for each in entries if each.name == COMMIT), None)
            if commit is not None:
                try:
                    modified = commit.stat().st_mtime_ns
                except FileNotFoundError:
                    continue  # another run is deleting it
                yield folder.relative_to(root).as_posix(), modified
            else:
                stack.extend(Path(each.path) for each in entries if each.is_dir())
