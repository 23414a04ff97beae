"""What a collect step reads of the outside world, with the digest of every file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from volano.core.errors import DataError
from volano.core.files import file_digest
from volano.core.step import Entry, Listing

# Files that were touched and found to hold what they held, and when they were.
_TOUCHED: dict[Entry, int] = {}
THREADS = 4  # hashing and opening let go of the interpreter


def listing_of(files: Mapping[str, Path], notes: Sequence[str] = ()) -> Listing:
    """The listing of files given by key, in order of the keys. Raises DataError if one is gone."""
    keys = sorted(files)
    with ThreadPoolExecutor(THREADS) as pool:
        entries = pool.map(_entry, keys, [files[key] for key in keys])
        return Listing(tuple(entries), tuple(notes))


def _entry(key: str, path: Path) -> Entry:
    try:
        state = path.stat()  # first: whoever writes to it from here on is noticed
        digest = file_digest(path)
    except OSError as problem:
        remedy = "Make it readable, or leave it out."
        raise DataError(f"cannot be read ({problem.strerror})", str(path), remedy) from None
    return Entry(key, path, state.st_size, digest, modified_ns=state.st_mtime_ns)


def check_unchanged(entries: Sequence[Entry]) -> None:
    """Raise DataError where a file of this machine is no longer what was listed: what is read of
    it would go under the name of something else."""
    for entry in entries:
        if entry.modified_ns is None:
            continue
        state = entry.path.stat()
        same = {entry.modified_ns, _TOUCHED.get(entry)}
        if state.st_size == entry.bytes and state.st_mtime_ns in same:
            continue
        if state.st_size == entry.bytes and file_digest(entry.path) == entry.sha256:
            _TOUCHED[entry] = state.st_mtime_ns
        else:
            raise DataError(
                "changed while it was read", str(entry.path), "Run again: it is read anew."
            )
